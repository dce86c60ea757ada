/**
 * From the rows of a snapshot to lag in records and append times. The snapshot may have many rows (partitions times groups), so
 * they are gone through in slices, and what is the same for all groups of a partition is looked up once. Called by the lag
 * monitor.
 */
import type { Clock } from "../core/clock.ts";
import { TimeSlice } from "../core/time-slice.ts";
import type { LagRow } from "../metadata/metadata-store.ts";
import { countLag, type GroupLag, type LagCount, type PartitionLags } from "./lag.ts";
import type { LogIndex } from "./log-index.ts";
import type { PartitionLog } from "./partition-log.ts";
import type { Topics } from "./topics.ts";

export interface LagCutComponents {
  readonly index: LogIndex;
  readonly topics: Topics;
  readonly clock: Clock;
}

/** Rows between two looks at the clock. */
const STRIDE = 64;

/** All rows of one partition: its bounds are the same in each. */
interface Gathered {
  readonly first: LagRow;
  readonly rows: LagRow[];
}

export class LagCutter {
  readonly #parts: LagCutComponents;

  constructor(components: LagCutComponents) {
    this.#parts = components;
  }

  /**
   * The lags of each partition, in the order of topic ids and partitions, so that every agent finds the same first partition of a group.
   * @throws StreamHouseError `METADATA_UNAVAILABLE` where the index had to be read on
   */
  async cut(rows: readonly LagRow[]): Promise<readonly PartitionLags[]> {
    const gathered = await this.#gather(rows);
    await this.catchUp(gathered.map((it) => it.first));
    const { clock, index } = this.#parts;
    const slice = new TimeSlice(clock);
    const met = new Set<string>();
    const partitions: PartitionLags[] = [];
    for (const { first, rows: own } of gathered) {
      if (slice.over) await slice.rest();
      const { topicId, topic, partition } = first;
      const log = index.get(topicId, partition);
      const lags: GroupLag[] = [];
      const firstOf: string[] = [];
      for (const row of own) {
        if (met.size !== met.add(row.group).size) firstOf.push(row.group);
        // Where a group without a commit would start is known to its consumers only: no series rather than a guess.
        if (row.committedOffset >= 0) lags.push(this.#lagOf(row, log));
      }
      partitions.push({ topicId, topic, partition, lags, firstOf });
    }
    return partitions;
  }

  /**
   * The snapshot can be ahead of the index: by a commit whose answer is still on its way, or where another agent writes. Without
   * this, what is newest would have no append time. Takes a row of each partition.
   */
  async catchUp(rows: Iterable<LagRow>): Promise<void> {
    const { index } = this.#parts;
    for (const { topicId, partition, nextOffset, logStartOffset } of rows) {
      const known = index.get(topicId, partition)?.highWatermark ?? 0;
      if (nextOffset > known && nextOffset > logStartOffset) return index.refresh();
    }
  }

  /** When the oldest of the records that are counted was appended; undefined if there are none. After `catchUp`. */
  appendedMs(row: LagRow, count: LagCount): number | undefined {
    return this.#appendedMs(row, count, this.#parts.index.get(row.topicId, row.partition));
  }

  #lagOf(row: LagRow, log: PartitionLog | undefined): GroupLag {
    const count = countLag(row);
    const { from, records, lost, lead } = count;
    const { group, committedAtMs } = row;
    const appendedMs = this.#appendedMs(row, count, log);
    return { from, records, lost, lead, group, committedAtMs, appendedMs };
  }

  /** If the index has lost something, lag is rather too old than too young: then it is as old as the topic. */
  #appendedMs(
    row: LagRow,
    { from, records }: LagCount,
    log: PartitionLog | undefined,
  ): number | undefined {
    if (records === 0) return undefined;
    return log?.oldestAppendFrom(from) ?? this.#parts.topics.byId(row.topicId)?.createdAtMs ?? 0;
  }

  async #gather(rows: readonly LagRow[]): Promise<readonly Gathered[]> {
    const slice = new TimeSlice(this.#parts.clock);
    const byTopic = new Map<string, Map<number, Gathered>>();
    for (const [i, row] of rows.entries()) {
      if (i % STRIDE === 0 && slice.over) await slice.rest();
      let partitions = byTopic.get(row.topicId);
      if (partitions === undefined) {
        partitions = new Map();
        byTopic.set(row.topicId, partitions);
      }
      const known = partitions.get(row.partition);
      if (known === undefined) partitions.set(row.partition, { first: row, rows: [row] });
      else known.rows.push(row);
    }
    const topics = [...byTopic].sort(([a], [b]) => (a < b ? -1 : 1));
    return topics.flatMap(([, it]) =>
      [...it].sort(([a], [b]) => a - b).map(([, gathered]) => gathered),
    );
  }
}
