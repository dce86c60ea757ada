/**
 * What one round of merging takes. Pure: of what is held and how much of it waits, to shares. Called by the merger.
 *
 * A flush object holds shares of many partitions, so a round merges all partitions that are due together, and reads each object once
 * for all of them. Memory bounds the round: with many partitions due each gets a smaller segment, rather than the objects being read
 * again for each few of them.
 */
import type { ResolvedCompactionOptions } from "./compaction-options.ts";
import type { IndexCensus } from "./log-index.ts";
import type { PartitionLog, Share } from "./partition-log.ts";
import type { Hold } from "./pending-batch.ts";

export type MergeLimits = Pick<
  ResolvedCompactionOptions,
  "mergeBytes" | "mergeAgeMs" | "mergeSharesMax" | "mergeMemoryBytesMax"
>;

/** Whole shares of one partition, in order, that become one segment. */
export interface MergeJob {
  readonly hold: Hold;
  readonly shares: readonly Share[];
}

export interface MergePlan {
  readonly jobs: readonly MergeJob[];
  /** Not merged in held partitions, as far as it was looked at: beyond `mergeBytes` a partition is due anyway. */
  readonly backlogBytes: number;
  /** ms since 1970; infinite if all is merged. */
  readonly oldestMs: number;
}

/** Smaller than this no segment is made because others are due too; they wait for the next round. */
const PORTION_BYTES_MIN = 65_536;

/** Partitions that have reached this part of a threshold go along when another one is due. */
const ALONG = 0.5;

interface Candidate {
  readonly hold: Hold;
  readonly bytes: number;
  readonly oldestMs: number;
  /** The threshold that is nearest: 1 and more is due. */
  readonly ripeness: number;
}

/**
 * Shares of one partition that make it due. Each agent has the shares of all partitions in memory: where they are too many together,
 * those with more than an equal part of what may be are due, of which there is always one, whoever holds it.
 */
export function sharesMaxOf(
  census: IndexCensus,
  limits: Pick<ResolvedCompactionOptions, "mergeSharesMax" | "mergeSharesTotalMax">,
): number {
  const { mergeSharesMax, mergeSharesTotalMax } = limits;
  if (census.unmerged <= mergeSharesTotalMax) return mergeSharesMax;
  return Math.max(2, Math.min(mergeSharesMax, Math.floor(mergeSharesTotalMax / census.partitions)));
}

/** `rests`: partitions that are left alone for now, although they wait. */
export function planMerges(
  holds: Iterable<Hold>,
  nowMs: number,
  limits: MergeLimits,
  rests: (hold: Hold) => boolean = () => false,
): MergePlan {
  const candidates: Candidate[] = [];
  let backlogBytes = 0;
  let oldestMs = Number.POSITIVE_INFINITY;
  for (const hold of holds) {
    const candidate = candidateOf(hold, nowMs, limits);
    if (candidate === undefined) continue;
    if (!rests(hold)) candidates.push(candidate);
    backlogBytes += candidate.bytes;
    oldestMs = Math.min(oldestMs, candidate.oldestMs);
  }
  const isDue = candidates.some((it) => it.ripeness >= 1);
  const along = candidates.filter((it) => it.ripeness >= ALONG);
  const jobs = isDue ? jobsOf(along, limits) : [];
  return { jobs, backlogBytes, oldestMs };
}

function candidateOf(hold: Hold, nowMs: number, limits: MergeLimits): Candidate | undefined {
  if (hold.phase !== "held") return undefined;
  const { mergeAgeMs, mergeBytes, mergeSharesMax } = limits;
  const { bytes, oldestMs, shares } = hold.log.unmerged(mergeBytes, mergeSharesMax);
  if (shares === 0) return undefined;
  const ripeness = Math.max(
    bytes / mergeBytes,
    shares / mergeSharesMax,
    (nowMs - oldestMs) / mergeAgeMs,
  );
  return { hold, bytes, oldestMs, ripeness };
}

/** The ripest first, until memory is full. */
function jobsOf(candidates: readonly Candidate[], limits: MergeLimits): MergeJob[] {
  const { mergeBytes, mergeMemoryBytesMax } = limits;
  const each = Math.max(PORTION_BYTES_MIN, Math.floor(mergeMemoryBytesMax / candidates.length));
  const portion = Math.min(mergeBytes, each);
  const jobs: MergeJob[] = [];
  let left = mergeMemoryBytesMax;
  for (const { hold } of [...candidates].sort((a, b) => b.ripeness - a.ripeness)) {
    if (left <= 0) break;
    const shares = take(hold.log, Math.min(portion, left));
    for (const share of shares) left -= share.length;
    jobs.push({ hold, shares });
  }
  return jobs;
}

/** The oldest shares that are not merged, at least one. */
function take(log: PartitionLog, bytesMax: number): Share[] {
  const shares: Share[] = [];
  let bytes = 0;
  const first = log.find(Math.max(log.mergedUntil, log.logStart)) ?? log.size;
  for (let i = first; ; i++) {
    const share = log.share(i);
    if (share === undefined) return shares;
    if (shares.length > 0 && bytes + share.length > bytesMax) return shares;
    shares.push(share);
    bytes += share.length;
  }
}
