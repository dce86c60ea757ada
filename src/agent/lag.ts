/**
 * What a group's lag in a partition is: pure arithmetic over one row of the consistent cut and the append times of the flush index.
 * No record is decoded for it. Called by the lag monitor.
 */
import type { TopicPartition } from "../core/topic.ts";
import type { LagRow } from "../metadata/metadata-store.ts";

/** What is counted of one row. None of it is ever negative. */
export interface LagCount {
  /** First record that counts: the first uncommitted one that is still there. */
  readonly from: number;
  readonly records: number;
  /** Records that retention took before the group read them. */
  readonly lost: number;
  /** Records between the log start and what the group reads next: retention takes those first. */
  readonly lead: number;
}

/** `begin`: where a group that has committed nothing would start. Default: at the log start. */
export function countLag(
  row: Pick<LagRow, "committedOffset" | "nextOffset" | "logStartOffset">,
  begin?: number,
): LagCount {
  const { committedOffset, nextOffset, logStartOffset } = row;
  const start = committedOffset >= 0 ? committedOffset : (begin ?? logStartOffset);
  const from = Math.max(start, logStartOffset);
  return {
    from,
    records: Math.max(0, nextOffset - from),
    lost: Math.max(0, logStartOffset - start),
    lead: Math.max(0, start - logStartOffset),
  };
}

/** What is not committed yet is at least this old: 0 would say that there is no lag. */
const SECONDS_MIN = 0.001;

/** Seconds since `appendedMs`, by a clock that may have gone back meanwhile. Undefined: nothing is uncommitted. */
export function lagSeconds(appendedMs: number | undefined, nowMs: number): number {
  if (appendedMs === undefined) return 0;
  return Math.max(SECONDS_MIN, (nowMs - appendedMs) / 1_000);
}

/** A group's lag in a partition, as of the cut. */
export interface GroupLag extends LagCount {
  readonly group: string;
  readonly committedAtMs: number;
  /** When the oldest uncommitted record was appended; undefined exactly when there is none. */
  readonly appendedMs: number | undefined;
}

/** The groups that committed in a partition. */
export interface PartitionLags extends TopicPartition {
  readonly topic: string;
  readonly lags: readonly GroupLag[];
  /** Groups that have no partition before this one: its holder, and nobody else, reports their members. */
  readonly firstOf: readonly string[];
}
