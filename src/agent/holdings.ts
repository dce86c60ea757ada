/**
 * The partitions this agent holds, and the round that compares them with what it should hold: takes what is missing, hands
 * over what is another agent's by now, after its batches are settled. Called by the lease manager; read by gate,
 * fetcher, lag and retention.
 */

import type { Clock } from "../core/clock.ts";
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { partitionKey, type Topic, type TopicPartition } from "../core/topic.ts";
import type { AgentRun, LeaseGrant, MetadataStore } from "../metadata/metadata-store.ts";
import type { AgentInstruments } from "./agent-instruments.ts";
import { partitionsOf } from "./assigner.ts";
import { HeldPartition } from "./held-partition.ts";
import type { LogIndex } from "./log-index.ts";
import type { Hold, PendingBatch } from "./pending-batch.ts";
import { ProducerStates } from "./producer-state.ts";
import type { Reachability } from "./reachability.ts";
import type { Topics } from "./topics.ts";
import type { WriteLedger } from "./write-ledger.ts";

export interface HoldingsComponents {
  readonly metadata: MetadataStore;
  readonly topics: Topics;
  readonly index: LogIndex;
  readonly instruments: AgentInstruments;
  readonly ledger: WriteLedger;
  readonly reachability: Reachability;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Leases taken or released in one transaction. */
const STEP = 1_000;

export class Holdings implements Iterable<Hold> {
  readonly #parts: HoldingsComponents;
  readonly #holds = new Map<string, Hold>();
  /** Where others hold what: run ids by partition, addresses by run. Only kept while there are others. */
  #holders: ReadonlyMap<string, string> = new Map();
  #addresses: ReadonlyMap<string, string> = new Map();
  #currentRun: () => string = () => "";
  readonly #releasing = new Set<Promise<void>>();

  constructor(components: HoldingsComponents) {
    this.#parts = components;
  }

  /** Grants that come in when the run is another one by now are not for us. */
  followRun(currentRun: () => string): void {
    this.#currentRun = currentRun;
  }

  get size(): number {
    return this.#holds.size;
  }

  [Symbol.iterator](): IterableIterator<Hold> {
    return this.#holds.values();
  }

  get(topicId: string, partition: number): Hold | undefined {
    return this.#holds.get(partitionKey(topicId, partition));
  }

  remove(hold: Hold): void {
    if (this.#holds.get(hold.key) !== hold) return;
    this.#holds.delete(hold.key);
    this.#parts.ledger.left(hold);
    this.#parts.instruments.partitionReleased(hold.topic, hold.partition);
  }

  /** `host:port` of the agent that holds the partition, as far as is known; empty otherwise. */
  holderAddress(topicId: string, partition: number): string {
    const runId = this.#holders.get(partitionKey(topicId, partition));
    return runId === undefined ? "" : (this.#addresses.get(runId) ?? "");
  }

  /** One round. @throws StreamHouseError `METADATA_UNAVAILABLE` */
  async balance(runId: string): Promise<void> {
    if (runId === "") return;
    const { metadata, topics, reachability, clock } = this.#parts;
    await topics.refresh();
    const runs = await reachability.watch(metadata.listRuns());
    const now = clock.now();
    const live = runs.filter((it) => it.runId === runId || it.expiresAtMs > now);
    await this.#lookAtOthers(runId, live);
    const wanted = partitionsOf(runId, live, allPartitions(topics.all()));
    const missing = wanted.filter((it) => this.get(it.topicId, it.partition) === undefined);
    for (let i = 0; i < missing.length; i += STEP) {
      await this.#acquire(runId, missing.slice(i, i + STEP));
    }
    this.#handOver(runId, wanted);
  }

  /** Gives back everything. */
  async releaseAll(runId: string): Promise<void> {
    await Promise.all(this.#releasing);
    const holds = [...this.#holds.values()];
    for (const hold of holds) hold.phase = "releasing";
    for (let i = 0; i < holds.length; i += STEP) {
      const step = holds.slice(i, i + STEP);
      await this.#parts.metadata.releaseLeases(runId, step.map(toTopicPartition));
      for (const hold of step) this.remove(hold);
    }
  }

  async #lookAtOthers(runId: string, live: readonly AgentRun[]): Promise<void> {
    this.#addresses = new Map(live.map((it) => [it.runId, it.address]));
    if (live.length < 2) {
      this.#holders = new Map();
      return;
    }
    const leases = await this.#parts.metadata.listLeases();
    this.#holders = new Map(
      leases
        .filter((it) => it.runId !== runId)
        .map((it) => [partitionKey(it.topicId, it.partition), it.runId]),
    );
    // What others commit is served from here too.
    await this.#parts.index.refresh();
  }

  async #acquire(runId: string, partitions: readonly TopicPartition[]): Promise<void> {
    const { metadata, reachability } = this.#parts;
    const grants = await reachability.watch(metadata.acquireLeases(runId, partitions));
    for (const grant of grants) {
      if (this.#currentRun() !== runId) return;
      const topic = this.#parts.topics.byId(grant.topicId);
      if (topic !== undefined) await this.#take(runId, grant, topic);
    }
  }

  async #take(runId: string, grant: LeaseGrant, topic: Topic): Promise<void> {
    const { index, instruments, logger } = this.#parts;
    const { topicId, partition, epoch, nextOffset, logStartOffset } = grant;
    const log = index.ensure(topicId, partition, logStartOffset);
    log.raise(grant);
    if (log.highWatermark < nextOffset) await index.refresh();
    if (this.#currentRun() !== runId || index.get(topicId, partition) !== log) return;
    const name = `${topic.name}/${partition}`;
    try {
      if (log.highWatermark !== nextOffset) throw disagreement(name, log.highWatermark, nextOffset);
      const producers = new ProducerStates<PendingBatch>(name, grant.producerState);
      producers.expire(this.#parts.clock.now());
      const cells = instruments.partition(topic.name, partition);
      cells.highWatermark.set(nextOffset);
      cells.logStart.set(log.logStart);
      const init = {
        topicId,
        partition,
        topic: topic.name,
        epoch,
        nextOffset,
        log,
        producers,
        cells,
      };
      const hold = new HeldPartition<PendingBatch>(init);
      this.#holds.set(hold.key, hold);
      this.#parts.ledger.held(hold);
    } catch (thrown) {
      // The lease is ours, but nothing may be written on such a ground: the partition is refused until somebody looks.
      const error = asStreamHouseError(thrown, `taking over ${name}`);
      logger.error("a partition cannot be served", { partition: name, error: error.message });
    }
  }

  /** Those that another agent should hold: finish what was accepted, then let go. */
  #handOver(runId: string, wanted: readonly TopicPartition[]): void {
    const same = wanted.length === this.#holds.size;
    if (same && wanted.every((it) => this.get(it.topicId, it.partition) !== undefined)) return;
    const keep = new Set(wanted.map((it) => partitionKey(it.topicId, it.partition)));
    for (const hold of this.#holds.values()) {
      if (keep.has(hold.key) || hold.phase !== "held") continue;
      hold.phase = "releasing";
      const release = this.#release(runId, hold).catch((error: unknown) => {
        const { message } = asStreamHouseError(error, `handing over ${hold.name}`);
        this.#parts.logger.warn("handing over a partition failed", { error: message });
        // It is tried again: for metadata it is still ours, so nobody else can take it.
        if (hold.phase === "releasing") hold.phase = "held";
      });
      this.#releasing.add(release);
      void release.finally(() => this.#releasing.delete(release));
    }
  }

  async #release(runId: string, hold: Hold): Promise<void> {
    await hold.whenIdle();
    if (this.#currentRun() !== runId) return;
    await this.#parts.metadata.releaseLeases(runId, [toTopicPartition(hold)]);
    this.remove(hold);
  }
}

function toTopicPartition(it: TopicPartition): TopicPartition {
  return { topicId: it.topicId, partition: it.partition };
}

function allPartitions(topics: Iterable<Topic>): TopicPartition[] {
  const all: TopicPartition[] = [];
  for (const topic of topics) {
    for (let partition = 0; partition < topic.partitions; partition++) {
      all.push({ topicId: topic.id, partition });
    }
  }
  return all;
}

function disagreement(name: string, index: number, metadata: number): StreamHouseError {
  return new StreamHouseError({
    code: "CORRUPT_SEGMENT",
    kind: "corrupt",
    message:
      `${name}: the flush table ends at offset ${index}, the partition's next offset is ${metadata}: ` +
      "metadata is damaged; restore it, or recover it from the store",
  });
}
