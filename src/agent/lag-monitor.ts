/**
 * Lag, from one consistent snapshot of metadata and the append times of the flush index; no record is decoded for it and no
 * consumer need be alive. Exports `streamhouse.group.*` for the partitions this agent leads, and answers `DescribeGroup`. A
 * failed refresh keeps the old values and is counted. METRICS rule 1. Run by the agent's ticker and before each collection.
 */
import type { Clock } from "../core/clock.ts";
import { TimeSlice } from "../core/time-slice.ts";
import { partitionKey } from "../core/topic.ts";
import type { GroupState, LagRow, MetadataStore } from "../metadata/metadata-store.ts";
import type {
  DescribeGroupRequest,
  DescribeGroupResponse,
  GroupMember,
  PartitionLag,
  ReadPosition,
} from "../rpc/gen/streamhouse/v1/group.ts";
import { toErrorDetail } from "../rpc/status.ts";
import { countLag, type GroupLag, type LagCount, lagSeconds, type PartitionLags } from "./lag.ts";
import type { LagGauges } from "./lag-gauges.ts";
import type { LogIndex } from "./log-index.ts";
import { type Topics, topicNotFound } from "./topics.ts";

export interface LagMonitorComponents {
  readonly metadata: MetadataStore;
  readonly index: LogIndex;
  readonly topics: Topics;
  readonly gauges: LagGauges;
  /** Whether this agent holds the partition's lease: only the holder exports a group's lag. */
  readonly holds: (topicId: string, partition: number) => boolean;
  readonly clock: Clock;
}

/** What is shown until the next refresh. */
interface Cut {
  readonly partitions: readonly PartitionLags[];
  readonly members: ReadonlyMap<string, number>;
  /** By the monotonic clock: not later than the moment it is of. */
  readonly takenAt: number;
}

export class LagMonitor {
  readonly #parts: LagMonitorComponents;
  #cut: Cut | undefined;
  /** Those of the cut that are shown; undefined before it is. */
  #held: readonly PartitionLags[] | undefined;

  constructor(components: LagMonitorComponents) {
    this.#parts = components;
  }

  /** Takes a new snapshot. @throws StreamHouseError `METADATA_UNAVAILABLE`, after counting it */
  async refresh(): Promise<void> {
    const { clock, gauges, metadata } = this.#parts;
    const takenAt = clock.monotonic();
    try {
      const snapshot = await metadata.lagSnapshot();
      await this.#catchUp(snapshot.rows);
      const partitions = await this.#lagsOf(snapshot.rows);
      this.#cut = { partitions, members: snapshot.members, takenAt };
    } catch (error) {
      gauges.refreshErrors.add(1);
      throw error;
    }
    this.#held = undefined;
    this.observe();
  }

  /** Called before each collection: seconds go on growing between refreshes, and what is not held any more is gone. */
  observe(): void {
    const { clock, gauges, holds } = this.#parts;
    const cut = this.#cut;
    if (cut === undefined) return;
    gauges.showAge((clock.monotonic() - cut.takenAt) / 1_000);
    const held = cut.partitions.filter((it) => holds(it.topicId, it.partition));
    const before = this.#held;
    this.#held = held;
    const same = before?.length === held.length && held.every((it, i) => it === before[i]);
    if (same) gauges.moveOn(clock.now());
    else gauges.show(held, cut.members, clock.now());
  }

  /** What the gauges show. For the audit. */
  get shown(): readonly PartitionLags[] {
    return this.#held ?? [];
  }

  /** Members and lag of one group, fresh. A group that nobody ever used has none of either. */
  async describe(request: DescribeGroupRequest): Promise<DescribeGroupResponse> {
    const { clock, metadata } = this.#parts;
    const { group, positions } = request;
    const [state, { asOfMs, rows }] = await Promise.all([
      group === "" ? undefined : metadata.describeGroup(group),
      metadata.lagSnapshot(group, positions),
    ]);
    const begins = new Map(positions.map((it) => [keyOf(it), it.offset]));
    const begin = (row: LagRow) => begins.get(keyOf(row));
    await this.#catchUp(rows, begin);
    const now = clock.now();
    const lags = rows.map((row) => {
      const count = countLag(row, begin(row));
      return toPartitionLag(row, count, lagSeconds(this.#appendedMs(row, count), now));
    });
    const known = new Set(rows.map(keyOf));
    for (const it of positions) if (!known.has(keyOf(it))) lags.push(notThere(it));
    const groupEpoch = state?.groupEpoch ?? 0;
    return { group, groupEpoch, members: toMembers(state), lags, asOfMs };
  }

  /**
   * The snapshot can be ahead of the index: by a commit whose answer is still on its way, or where another agent writes. Without
   * this, what is newest would have no append time.
   */
  async #catchUp(
    rows: readonly LagRow[],
    begin: (row: LagRow) => number | undefined = () => undefined,
  ): Promise<void> {
    const { clock, index } = this.#parts;
    const slice = new TimeSlice(clock);
    for (const [i, row] of rows.entries()) {
      if (i % STRIDE === 0 && slice.over) await slice.rest();
      const { from, records } = countLag(row, begin(row));
      const log = index.get(row.topicId, row.partition);
      if (records > 0 && (log === undefined || log.highWatermark <= from)) return index.refresh();
    }
  }

  /** In the order of topic ids and partitions, so that every agent finds the same first partition of a group. */
  async #lagsOf(rows: readonly LagRow[]): Promise<readonly PartitionLags[]> {
    const slice = new TimeSlice(this.#parts.clock);
    const byPartition = new Map<string, Growing>();
    for (const [i, row] of rows.entries()) {
      if (i % STRIDE === 0 && slice.over) await slice.rest();
      const { topicId, topic, partition, group } = row;
      const key = keyOf(row);
      let into = byPartition.get(key);
      if (into === undefined) {
        into = { topicId, topic, partition, lags: [], groups: [] };
        byPartition.set(key, into);
      }
      into.groups.push(group);
      // Where a group without a commit would start is known to its consumers only: no series rather than a guess.
      if (row.committedOffset >= 0) into.lags.push(this.#lagOf(row));
    }
    const sorted = [...byPartition.values()].sort(inOrder);
    const met = new Set<string>();
    return sorted.map(({ groups, ...rest }) => {
      const firstOf = groups.filter((it) => !met.has(it));
      for (const group of firstOf) met.add(group);
      return { ...rest, firstOf };
    });
  }

  #lagOf(row: LagRow): GroupLag {
    const count = countLag(row);
    const { group, committedAtMs } = row;
    return { ...count, group, committedAtMs, appendedMs: this.#appendedMs(row, count) };
  }

  /**
   * When the oldest of the records that are counted was appended. After `catchUp` the index knows; if it has lost something, lag
   * is rather too old than too young: then it is as old as the topic.
   */
  #appendedMs(row: LagRow, { from, records }: LagCount): number | undefined {
    if (records === 0) return undefined;
    const { index, topics } = this.#parts;
    const { topicId, partition } = row;
    const known = index.get(topicId, partition)?.oldestAppendFrom(from);
    return known ?? topics.byId(topicId)?.createdAtMs ?? 0;
  }
}

/** Rows between two looks at the clock. */
const STRIDE = 64;

interface Growing extends Omit<PartitionLags, "lags" | "firstOf"> {
  readonly lags: GroupLag[];
  readonly groups: string[];
}

function keyOf(it: { readonly topicId: string; readonly partition: number }): string {
  return partitionKey(it.topicId, it.partition);
}

function inOrder(a: Growing, b: Growing): number {
  if (a.topicId !== b.topicId) return a.topicId < b.topicId ? -1 : 1;
  return a.partition - b.partition;
}

function toMembers(state: GroupState | undefined): GroupMember[] {
  return (state?.members ?? []).map(({ memberId, clientId, memberEpoch, assigned }) => ({
    ...{ memberId, clientId, memberEpoch },
    assigned: assigned.map(({ topicId, topic, partition }) => ({ topicId, topic, partition })),
  }));
}

function toPartitionLag(row: LagRow, count: LagCount, seconds: number): PartitionLag {
  return {
    topicId: row.topicId,
    topic: row.topic,
    partition: row.partition,
    committedOffset: row.committedOffset,
    highWatermark: row.nextOffset,
    logStartOffset: row.logStartOffset,
    lagRecords: count.records,
    lagSeconds: seconds,
    lostRecords: count.lost,
    error: undefined,
  };
}

/** A position in a partition that does not exist (any more). */
function notThere({ topicId, partition }: ReadPosition): PartitionLag {
  return {
    ...{ topicId, topic: "", partition, committedOffset: -1, highWatermark: 0, logStartOffset: 0 },
    ...{ lagRecords: 0, lagSeconds: 0, lostRecords: 0 },
    error: toErrorDetail(topicNotFound({ name: "", topicId })),
  };
}
