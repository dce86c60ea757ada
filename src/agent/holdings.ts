/**
 * The partitions this agent holds, and how a lease that was granted becomes one: its log is brought up to date, its producer state
 * unpacked. Filled by the balancer, emptied by hand-over and lost leases; read by gate, fetcher, lag and retention.
 */
import type { Clock } from "../core/clock.ts";
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { partitionKey, type Topic } from "../core/topic.ts";
import type { LeaseGrant } from "../metadata/metadata-store.ts";
import type { AgentInstruments } from "./agent-instruments.ts";
import { HeldPartition } from "./held-partition.ts";
import type { LogIndex } from "./log-index.ts";
import type { PartitionLog } from "./partition-log.ts";
import type { Hold, PendingBatch } from "./pending-batch.ts";
import { ProducerStates } from "./producer-state.ts";
import type { WriteLedger } from "./write-ledger.ts";

export interface HoldingsComponents {
  readonly index: LogIndex;
  readonly instruments: AgentInstruments;
  readonly ledger: WriteLedger;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Holdings implements Iterable<Hold> {
  readonly #parts: HoldingsComponents;
  readonly #holds = new Map<string, Hold>();

  constructor(components: HoldingsComponents) {
    this.#parts = components;
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
    // Whoever waits here for its next commit must look for another agent's.
    hold.log.stir();
  }

  /**
   * A lease was granted. False: nothing may be written on what is stored, or the run is over by now. `isCurrent` says whether the
   * run of the grant is still the agent's.
   */
  async take(grant: LeaseGrant, topic: Topic, isCurrent: () => boolean): Promise<boolean> {
    const { index, logger } = this.#parts;
    const { topicId, partition, nextOffset, logStartOffset } = grant;
    const log = index.ensure(topicId, partition, logStartOffset);
    log.raise(grant);
    if (log.highWatermark < nextOffset) await index.refresh();
    if (!isCurrent() || index.get(topicId, partition) !== log) return false;
    const name = `${topic.name}/${partition}`;
    try {
      if (log.highWatermark !== nextOffset) throw disagreement(name, log.highWatermark, nextOffset);
      this.#hold(grant, topic, log);
      return true;
    } catch (thrown) {
      // The lease is ours, but nothing may be written on such a ground: the partition is refused until somebody looks.
      const error = asStreamHouseError(thrown, `taking over ${name}`);
      logger.error("a partition cannot be served", { partition: name, error: error.message });
      return false;
    }
  }

  #hold(grant: LeaseGrant, topic: Topic, log: PartitionLog): void {
    const { clock, instruments, ledger } = this.#parts;
    const { topicId, partition, epoch, nextOffset } = grant;
    const name = `${topic.name}/${partition}`;
    const producers = new ProducerStates<PendingBatch>(name, grant.producerState);
    producers.expire(clock.now());
    const cells = instruments.partition(topic.name, partition);
    cells.highWatermark.set(nextOffset);
    cells.logStart.set(log.logStart);
    const hold = new HeldPartition<PendingBatch>({
      ...{ topicId, partition, topic: topic.name, epoch, nextOffset, log, producers, cells },
    });
    this.#holds.set(hold.key, hold);
    ledger.held(hold);
  }
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
