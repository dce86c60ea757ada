/**
 * Lag, from one consistent snapshot of metadata and the append times of the flush index; no record is decoded for it and no
 * consumer need be alive. Exports `streamhouse.group.*` for the partitions this agent leads, and answers `DescribeGroup`. A
 * failed refresh keeps the old values and is counted. METRICS rule 1. Run by the agent's ticker and before each collection.
 */
import { partitionKey } from "../core/topic.ts";
import type {
  GroupAssignment,
  GroupState,
  LagRow,
  MetadataStore,
} from "../metadata/metadata-store.ts";
import type {
  DescribeGroupRequest,
  DescribeGroupResponse,
  GroupMember,
  PartitionLag,
  ReadPosition,
} from "../rpc/gen/streamhouse/v1/group.ts";
import { toErrorDetail } from "../rpc/status.ts";
import { countLag, type LagCount, lagSeconds, type PartitionLags } from "./lag.ts";
import { type LagCutComponents, LagCutter } from "./lag-cut.ts";
import type { LagGauges } from "./lag-gauges.ts";
import { topicNotFound } from "./topics.ts";

export interface LagMonitorComponents extends LagCutComponents {
  readonly metadata: MetadataStore;
  readonly gauges: LagGauges;
  /** Whether this agent holds the partition's lease: only the holder exports a group's lag. */
  readonly holds: (topicId: string, partition: number) => boolean;
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
  readonly #cutter: LagCutter;
  #cut: Cut | undefined;
  /** Those of the cut that are shown; undefined before it is. */
  #held: readonly PartitionLags[] | undefined;

  constructor(components: LagMonitorComponents) {
    this.#parts = components;
    this.#cutter = new LagCutter(components);
  }

  /** Takes a new snapshot. @throws StreamHouseError `METADATA_UNAVAILABLE`, after counting it */
  async refresh(): Promise<void> {
    const { clock, gauges, metadata } = this.#parts;
    const takenAt = clock.monotonic();
    try {
      const snapshot = await metadata.lagSnapshot();
      const partitions = await this.#cutter.cut(snapshot.rows);
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
    await this.#cutter.catchUp(rows);
    const now = clock.now();
    const lags = rows.map((row) => {
      const count = countLag(row, begins.get(keyOf(row)));
      return toPartitionLag(row, count, lagSeconds(this.#cutter.appendedMs(row, count), now));
    });
    const known = new Set(rows.map(keyOf));
    for (const it of positions) if (!known.has(keyOf(it))) lags.push(notThere(it));
    const groupEpoch = state?.groupEpoch ?? 0;
    const phase = state?.state ?? "empty";
    return { group, groupEpoch, state: phase, members: toMembers(state), lags, asOfMs };
  }
}

function keyOf(it: { readonly topicId: string; readonly partition: number }): string {
  return partitionKey(it.topicId, it.partition);
}

function toMembers(state: GroupState | undefined): GroupMember[] {
  const partitionsOf = (all: readonly GroupAssignment[]) =>
    all.map(({ topicId, topic, partition }) => ({ topicId, topic, partition }));
  return (state?.members ?? []).map(
    ({ memberId, instanceId, clientId, memberEpoch, topics, expiresInMs, ...its }) => ({
      ...{ memberId, instanceId, clientId, memberEpoch, topics: [...topics] },
      sessionLeftMs: Math.max(0, Math.floor(expiresInMs)),
      assigned: partitionsOf(its.assigned),
      revoking: partitionsOf(its.revoking),
    }),
  );
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
