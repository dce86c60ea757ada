/**
 * Lag, from one consistent snapshot of metadata and the append times of the flush index; no record is decoded for it and no
 * consumer need be alive. Exports `streamhouse.group.lag.*` for the partitions this agent leads, and answers
 * `DescribeGroup`. A failed refresh keeps the old values and is counted. METRICS rule 1.
 */
import type { Clock } from "../core/clock.ts";
import { partitionKey } from "../core/topic.ts";
import type { LagRow, MetadataStore } from "../metadata/metadata-store.ts";
import type { DescribeGroupResponse, PartitionLag } from "../rpc/gen/streamhouse/v1/group.ts";
import type { AgentInstruments } from "./agent-instruments.ts";
import type { LogIndex } from "./log-index.ts";
import type { PartitionLog } from "./partition-log.ts";

export interface Lag {
  readonly records: number;
  /** 0 exactly when `records` is. */
  readonly seconds: number;
  /** Records below the log start that the group never read. */
  readonly lost: number;
}

/** What is not committed yet is at least this old: 0 would say that there is no lag. */
const SECONDS_MIN = 0.001;

/** The lag of one row. `log` tells when the first uncommitted record was appended; without it the least is assumed. */
export function lagOf(
  row: Pick<LagRow, "committedOffset" | "nextOffset" | "logStartOffset">,
  log: PartitionLog | undefined,
  nowMs: number,
): Lag {
  const from = Math.max(row.committedOffset, row.logStartOffset);
  const records = Math.max(0, row.nextOffset - from);
  const lost = row.committedOffset < 0 ? 0 : Math.max(0, row.logStartOffset - row.committedOffset);
  if (records === 0) return { records, seconds: 0, lost };
  const appended = log?.appendTimeAt(from) ?? nowMs;
  return { records, seconds: Math.max(SECONDS_MIN, (nowMs - appended) / 1_000), lost };
}

export interface LagMonitorComponents {
  readonly metadata: MetadataStore;
  readonly index: LogIndex;
  readonly instruments: AgentInstruments;
  /** Whether this agent holds the partition's lease: only the holder exports a group's lag. */
  readonly holds: (topicId: string, partition: number) => boolean;
  readonly clock: Clock;
}

interface Exported {
  readonly topic: string;
  readonly partition: number;
  readonly group: string;
}

export class LagMonitor {
  readonly #parts: LagMonitorComponents;
  #exported = new Map<string, Exported>();
  #rows: readonly LagRow[] = [];
  #refreshedAt: number | undefined;

  constructor(components: LagMonitorComponents) {
    this.#parts = components;
  }

  /** Takes a new snapshot. @throws StreamHouseError `METADATA_UNAVAILABLE`, after counting it */
  async refresh(): Promise<void> {
    const { clock, instruments, metadata } = this.#parts;
    const at = clock.monotonic();
    try {
      this.#rows = (await metadata.lagSnapshot()).rows;
    } catch (error) {
      instruments.lagRefreshErrors.add(1);
      throw error;
    }
    this.#refreshedAt = at;
    this.observe();
  }

  /** Sets the gauges from the last snapshot. Called before each collection, so that seconds go on growing between refreshes. */
  observe(): void {
    const { clock, holds, index, instruments } = this.#parts;
    if (this.#refreshedAt !== undefined) {
      instruments.lagAge.set((clock.monotonic() - this.#refreshedAt) / 1_000);
    }
    const now = clock.now();
    const exported = new Map<string, Exported>();
    for (const row of this.#rows) {
      const { group, topic, topicId, partition } = row;
      // Where a group without a commit would start is known to its consumers only: no series rather than a guess.
      if (row.committedOffset < 0 || !holds(topicId, partition)) continue;
      const lag = lagOf(row, index.get(topicId, partition), now);
      instruments.groupLag(topic, partition, group, lag.records, lag.seconds);
      exported.set(`${partitionKey(topicId, partition)} ${group}`, { topic, partition, group });
    }
    for (const [key, it] of this.#exported) {
      if (!exported.has(key)) instruments.groupLagReleased(it.topic, it.partition, it.group);
    }
    this.#exported = exported;
  }

  /** Members and lag of one group, fresh. A group that nobody ever used has none of either. */
  async describe(group: string): Promise<DescribeGroupResponse> {
    const { clock, index, metadata } = this.#parts;
    const [state, snapshot] = await Promise.all([
      metadata.describeGroup(group),
      metadata.lagSnapshot(group),
    ]);
    const now = clock.now();
    return {
      group,
      groupEpoch: state?.groupEpoch ?? 0,
      members: (state?.members ?? []).map((it) => ({
        memberId: it.memberId,
        clientId: it.clientId,
        memberEpoch: it.memberEpoch,
        assigned: it.assigned.map(({ topicId, topic, partition }) => ({
          topicId,
          topic,
          partition,
        })),
      })),
      lags: snapshot.rows.map((row) =>
        toPartitionLag(row, lagOf(row, index.get(row.topicId, row.partition), now)),
      ),
      asOfMs: snapshot.asOfMs,
    };
  }
}

function toPartitionLag(row: LagRow, lag: Lag): PartitionLag {
  return {
    topicId: row.topicId,
    topic: row.topic,
    partition: row.partition,
    committedOffset: row.committedOffset,
    highWatermark: row.nextOffset,
    logStartOffset: row.logStartOffset,
    lagRecords: lag.records,
    lagSeconds: lag.seconds,
    lostRecords: lag.lost,
    error: undefined,
  };
}
