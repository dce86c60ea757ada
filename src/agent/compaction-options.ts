/**
 * Settings of the log's upkeep: merging flush shares into segments of one partition, deleting dead objects, sweeping orphans. A part
 * of `AgentOptions`; resolved by `resolveAgentOptions`.
 */
import { whole } from "./whole-option.ts";

/** What a user may set. Durations in ms, sizes in bytes. */
export interface CompactionOptions {
  /**
   * Merge the flush shares of held partitions in the background. Default true on S3; false on a folder, where the chunks of a run
   * share a file already, and in memory.
   */
  readonly merge?: boolean | undefined;
  /** A partition with so many bytes that are not merged is merged. Also about the longest segment. Default 16 MiB. */
  readonly mergeBytes?: number | undefined;
  /** A partition with a record that has not been merged for so long is merged. Default 3,600,000. */
  readonly mergeAgeMs?: number | undefined;
  /** A partition with so many flush shares that are not merged is merged: each agent's memory holds 56 bytes of each. Default 2,000. */
  readonly mergeSharesMax?: number | undefined;
  /**
   * So many flush shares of all partitions that are not merged, in an agent's index, make merging begin sooner: partitions with more
   * than their part of it are due. About 64 bytes each. Default 4,000,000.
   */
  readonly mergeSharesTotalMax?: number | undefined;
  /** How often the merger looks for partitions to be merged. Default 10,000. */
  readonly mergeCheckMs?: number | undefined;
  /** Memory for the segments of one round: with many partitions, more memory makes larger segments. Default 128 MiB. */
  readonly mergeMemoryBytesMax?: number | undefined;
  /** Most bytes merged in a second. Default 64 MiB. */
  readonly mergeBytesPerSecondMax?: number | undefined;
  /**
   * How long an object that nothing refers to any more is kept for those who read it or are about to. Longer than the longest
   * read, and than an agent's index may be out of date. Default 600,000; 0 deletes at once.
   */
  readonly deleteGraceMs?: number | undefined;
  /**
   * An object that nothing refers to, and that is older than this, is an orphan, left by an agent that ended before its commit: one of
   * the live agents deletes it. Default 86,400,000.
   */
  readonly orphanAgeMs?: number | undefined;
  /** How often the store is searched for orphans. Default 3,600,000. */
  readonly sweepCheckMs?: number | undefined;
}

/** Settings in force. */
export type ResolvedCompactionOptions = {
  readonly [K in keyof CompactionOptions]-?: NonNullable<CompactionOptions[K]>;
};

const MIB = 1_048_576;
const DAY_MS = 86_400_000;

/** @throws StreamHouseError `INVALID_ARGUMENT` naming the setting */
export function resolveCompactionOptions(
  options: CompactionOptions,
  storeKind: string,
): ResolvedCompactionOptions {
  return {
    merge: options.merge ?? storeKind === "s3",
    mergeBytes: whole("mergeBytes", options.mergeBytes, 16 * MIB, 1, 1_024 * MIB),
    mergeAgeMs: whole("mergeAgeMs", options.mergeAgeMs, 3_600_000, 1, 30 * DAY_MS),
    mergeSharesMax: whole("mergeSharesMax", options.mergeSharesMax, 2_000, 2, 1_000_000),
    mergeSharesTotalMax: whole(
      "mergeSharesTotalMax",
      options.mergeSharesTotalMax,
      4_000_000,
      2,
      1_000_000_000,
    ),
    mergeCheckMs: whole("mergeCheckMs", options.mergeCheckMs, 10_000, 10, DAY_MS),
    mergeMemoryBytesMax: whole(
      "mergeMemoryBytesMax",
      options.mergeMemoryBytesMax,
      128 * MIB,
      1,
      64 * 1024 * MIB,
    ),
    mergeBytesPerSecondMax: whole(
      "mergeBytesPerSecondMax",
      options.mergeBytesPerSecondMax,
      64 * MIB,
      1,
      64 * 1024 * MIB,
    ),
    deleteGraceMs: whole("deleteGraceMs", options.deleteGraceMs, 600_000, 0, 30 * DAY_MS),
    orphanAgeMs: whole("orphanAgeMs", options.orphanAgeMs, DAY_MS, 0, 365 * DAY_MS),
    sweepCheckMs: whole("sweepCheckMs", options.sweepCheckMs, 3_600_000, 10, 30 * DAY_MS),
  };
}
