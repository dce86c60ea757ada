/**
 * From a partition as a request names it to its log. What this agent does not know it asks metadata for, once, before it says that
 * something is not there; a question that is not answered in time is an error that can be tried again. Called by fetcher and
 * list-offsets.
 */
import type { Clock } from "../core/clock.ts";
import { StreamHouseError } from "../core/errors.ts";
import { checkPartition, type Topic, type TopicPartition } from "../core/topic.ts";
import { ANSWER_MS, type LogFollower } from "./log-follower.ts";
import type { LogIndex } from "./log-index.ts";
import type { PartitionLog } from "./partition-log.ts";
import type { Topics } from "./topics.ts";

export interface PartitionFinderComponents {
  readonly topics: Topics;
  readonly index: LogIndex;
  readonly follower: LogFollower;
  /** Whether a partition's lease is held here and valid: its bounds in memory are then the newest there are. */
  readonly holds: (topicId: string, partition: number) => boolean;
  readonly clock: Clock;
}

/** A partition and its log as it is now. */
export interface Found {
  readonly topic: Topic;
  readonly log: PartitionLog;
}

export class PartitionFinder {
  readonly #parts: PartitionFinderComponents;

  constructor(parts: PartitionFinderComponents) {
    this.#parts = parts;
  }

  holds({ topicId, partition }: TopicPartition): boolean {
    return this.#parts.holds(topicId, partition);
  }

  /**
   * The log as this agent knows it, be it old; asked for only if it is not known at all.
   * @throws StreamHouseError `TOPIC_NOT_FOUND`, `PARTITION_OUT_OF_RANGE`, `METADATA_UNAVAILABLE`
   */
  async find(asked: TopicPartition): Promise<Found> {
    const topic = await this.#topic(asked);
    const log = this.#parts.index.get(asked.topicId, asked.partition);
    if (log !== undefined) return { topic, log };
    await this.lookAgain(asked);
    return { topic, log: this.#log(asked) };
  }

  /** The log with bounds that are true: what is held here is, anything else is asked for. @throws as `find` */
  async findNewest(asked: TopicPartition): Promise<Found> {
    const topic = await this.#topic(asked);
    if (!this.holds(asked)) await this.lookAgain(asked);
    return { topic, log: this.#log(asked) };
  }

  /** Reads what metadata says of the partition now. @throws StreamHouseError `METADATA_UNAVAILABLE` */
  lookAgain({ topicId, partition }: TopicPartition): Promise<void> {
    return this.#inTime(this.#parts.follower.ask({ topicId, partition }));
  }

  #log({ topicId, partition }: TopicPartition): PartitionLog {
    return this.#parts.index.ensure(topicId, partition, 0);
  }

  async #topic({ topicId, partition }: TopicPartition): Promise<Topic> {
    const { topics } = this.#parts;
    const ref = { name: "", topicId };
    const known = topics.known(ref) ?? (await this.#inTime(topics.find(ref)));
    if (partition < known.partitions) {
      checkPartition(known, partition);
      return known;
    }
    // It may have been given more partitions through another agent.
    await this.#inTime(topics.refresh());
    const now = await this.#inTime(topics.find(ref));
    checkPartition(now, partition);
    return now;
  }

  async #inTime<T>(answer: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    const timer = this.#parts.clock.schedule(ANSWER_MS, () => late.reject(unanswered()), {
      background: true,
    });
    try {
      return await Promise.race([answer, late.promise]);
    } finally {
      timer.cancel();
    }
  }
}

function unanswered(): StreamHouseError {
  return new StreamHouseError({
    code: "METADATA_UNAVAILABLE",
    kind: "unavailable",
    outcome: "none",
    message: `metadata did not answer within ${ANSWER_MS} ms: ask another agent, or try again`,
  });
}
