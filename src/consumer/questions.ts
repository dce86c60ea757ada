/**
 * What an application asks about its group's progress: committed offsets and lag. Asks agents, changes nothing. Called by `consumer.ts`;
 * made by `consumer-rooms.ts`.
 */
import type { Cluster } from "../client/cluster.ts";
import { checkPartition, partitionKey } from "../core/topic.ts";
import type { Assignment } from "./assignment.ts";
import type { CallComponents, Persistence } from "./calls.ts";
import type { Lag, LagMonitor } from "./lag.ts";
import { committedOffsets } from "./offsets.ts";
import type { PartitionRef } from "./options.ts";

export interface QuestionComponents {
  readonly group: string | undefined;
  readonly cluster: Pick<Cluster, "topic">;
  readonly assignment: Pick<Assignment, "find">;
  readonly lag: LagMonitor;
  /** For what the application asks for. */
  readonly asked: CallComponents;
  readonly patience: () => Persistence;
  /** Joins the group if that was not done yet. */
  readonly ready: () => Promise<void>;
}

export class Questions {
  readonly #parts: QuestionComponents;

  constructor(parts: QuestionComponents) {
    this.#parts = parts;
  }

  async committed(topic: string, partition: number): Promise<number | undefined> {
    const { group, asked, patience } = this.#parts;
    if (group === undefined) return undefined;
    const at = await this.#find(topic, partition);
    const offsets = await committedOffsets(asked, group, [at], patience());
    return offsets.get(partitionKey(at.topicId, partition));
  }

  async lag(topic: string, partition: number): Promise<Lag> {
    const { assignment, lag } = this.#parts;
    const cursor = assignment.find(topic, partition);
    return cursor === undefined
      ? lag.elsewhere(await this.#find(topic, partition))
      : lag.of(cursor);
  }

  async lags(): Promise<readonly (PartitionRef & Lag)[]> {
    await this.#parts.ready();
    return this.#parts.lag.ofAll();
  }

  /** @throws StreamHouseError `TOPIC_NOT_FOUND`, `PARTITION_OUT_OF_RANGE` */
  async #find(topic: string, partition: number): Promise<{ topicId: string; partition: number }> {
    const found = await this.#parts.cluster.topic(topic);
    checkPartition(found, partition);
    return { topicId: found.id, partition };
  }
}
