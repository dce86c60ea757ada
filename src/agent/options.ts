/**
 * The agent's settings: plain data, checked and frozen once. Components (stores, clock, telemetry) are no settings and
 * come in beside them (`agent.ts`). Called by `createAgent`, and by `serve/` to show what is in force.
 */
import { invalid } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import {
  type CompactionOptions,
  type ResolvedCompactionOptions,
  resolveCompactionOptions,
} from "./compaction-options.ts";
import { whole } from "./whole-option.ts";

/** What a user may set. Durations in ms, sizes in bytes. */
export interface AgentOptions extends CompactionOptions {
  /** Names this agent in `DescribeCluster` and spreads partitions; keep it the same over restarts. Default: a random one. */
  readonly agentId?: string | undefined;
  /**
   * ULID of the first run. Give the segment sink the same, so that its keys name the run. Default: made from
   * clock and random. A run that was lost is followed by one with a new id.
   */
  readonly runId?: string | undefined;
  /** `host:port` that clients reach its gRPC server under; empty for an embedded agent. Default empty. */
  readonly address?: string | undefined;
  /** A lease is valid this long after the last renewal was sent. Default 10,000. */
  readonly leaseTtlMs?: number | undefined;
  /** How often leases are renewed and the assignment is looked at. Default 3,000. */
  readonly leaseRenewMs?: number | undefined;
  /** The predecessors of this data are known to be dead (its folder's lock is held): take their leases at once. Default false. */
  readonly predecessorsDead?: boolean | undefined;
  /** Longest wait in the buffer while another flush is under way. Default 5, on S3 200. */
  readonly flushAgeMs?: number | undefined;
  /**
   * Least time from the beginning of one flush to the next, unless half of `flushBytes` is waiting. On S3 each flush is a PUT that is paid
   * for: docs/deployment.md has what an agent costs by this setting. Default 0, on S3 200.
   */
  readonly flushIntervalMs?: number | undefined;
  /** This much in the buffer is flushed without waiting for age or interval. Default 4 MiB, on S3 8 MiB. */
  readonly flushBytes?: number | undefined;
  /** A flush that is not committed this long after its first seal fails. Default 10,000. */
  readonly flushTimeLimitMs?: number | undefined;
  /** Accepted batches that are not committed yet, by the memory they hold: above it, `OVERLOADED`. Default 128 MiB. */
  readonly bufferBytesMax?: number | undefined;
  /** Committed batches kept in memory for consumers at the tail. Default 128 MiB. */
  readonly tailCacheBytesMax?: number | undefined;
  /** Blocks read from the store and kept for the next fetch. Default 32 MiB, on S3 128 MiB. */
  readonly readCacheBytesMax?: number | undefined;
  /** Reads from the store at once. Default 16. */
  readonly storeReadsMax?: number | undefined;
  /**
   * Longest until a fetch that waits learns what another agent committed, if no hint of metadata tells it sooner: metadata is asked
   * this often while somebody waits for a partition that this agent does not hold. Default 500.
   */
  readonly followPollMs?: number | undefined;
  /** Furthest a record's timestamp may lie ahead of the agent's clock. Default 3,600,000. */
  readonly timestampFutureMsMax?: number | undefined;
  /** Furthest it may lie back. Default: no bound. */
  readonly timestampPastMsMax?: number | undefined;
  /** How old lag may be at most: it is computed anew twice as often. At most (and by default) 5,000. */
  readonly lagRefreshMs?: number | undefined;
  /** How often retention looks for records to delete. Default 30,000. */
  readonly retentionCheckMs?: number | undefined;
  /**
   * A consumer group without a live member and without a commit for so long is forgotten, with its offsets; 0: never. Where agents differ,
   * the shortest counts. Default 604,800,000: seven days, as in Kafka.
   */
  readonly offsetsRetentionMs?: number | undefined;
  /** How often groups are looked for that nobody uses. Default 600,000. */
  readonly offsetsCheckMs?: number | undefined;
  /** Longest time that `drain()` waits for what was accepted to be committed. Default 30,000. */
  readonly drainTimeoutMs?: number | undefined;
}

/** Settings in force. */
export interface ResolvedAgentOptions extends ResolvedCompactionOptions {
  readonly agentId: string | undefined;
  readonly runId: string | undefined;
  readonly address: string;
  readonly leaseTtlMs: number;
  readonly leaseRenewMs: number;
  readonly predecessorsDead: boolean;
  readonly flushAgeMs: number;
  readonly flushIntervalMs: number;
  readonly flushBytes: number;
  /** Most bytes in one flush: four times `flushBytes`, so that a slow store gets larger writes, not more. */
  readonly flushBytesMax: number;
  readonly flushTimeLimitMs: number;
  readonly bufferBytesMax: number;
  readonly tailCacheBytesMax: number;
  readonly readCacheBytesMax: number;
  readonly storeReadsMax: number;
  readonly followPollMs: number;
  readonly timestampFutureMsMax: number;
  readonly timestampPastMsMax: number | undefined;
  readonly lagRefreshMs: number;
  readonly retentionCheckMs: number;
  readonly offsetsRetentionMs: number;
  readonly offsetsCheckMs: number;
  readonly drainTimeoutMs: number;
}

const MIB = 1_048_576;
const DAY_MS = 86_400_000;

/**
 * Fills in the defaults and checks the settings. `storeKind` chooses the flush defaults.
 * @throws StreamHouseError `INVALID_ARGUMENT` naming the setting
 */
export function resolveAgentOptions(
  options: AgentOptions = {},
  storeKind = "folder",
): ResolvedAgentOptions {
  const remote = storeKind === "s3";
  const flushBytes = whole(
    "flushBytes",
    options.flushBytes,
    remote ? 8 * MIB : 4 * MIB,
    1,
    64 * MIB,
  );
  const leaseTtlMs = whole("leaseTtlMs", options.leaseTtlMs, 10_000, 100, 300_000);
  const leaseRenewMs = whole(
    "leaseRenewMs",
    options.leaseRenewMs,
    Math.min(3_000, Math.floor(leaseTtlMs / 3)),
    10,
    150_000,
  );
  if (leaseRenewMs * 2 > leaseTtlMs) {
    throw invalid(
      "INVALID_ARGUMENT",
      `leaseRenewMs ${leaseRenewMs} is more than half of leaseTtlMs ${leaseTtlMs}: one late renewal would lose every lease`,
      { field: "leaseRenewMs" },
    );
  }
  const past = options.timestampPastMsMax;
  return Object.freeze({
    ...resolveCompactionOptions(options, storeKind),
    agentId: options.agentId,
    runId: options.runId,
    address: options.address ?? "",
    leaseTtlMs,
    leaseRenewMs,
    predecessorsDead: options.predecessorsDead ?? false,
    flushAgeMs: whole("flushAgeMs", options.flushAgeMs, remote ? 200 : 5, 0, 60_000),
    flushIntervalMs: whole("flushIntervalMs", options.flushIntervalMs, remote ? 200 : 0, 0, 60_000),
    flushBytes,
    flushBytesMax: flushBytes * 4,
    flushTimeLimitMs: whole("flushTimeLimitMs", options.flushTimeLimitMs, 10_000, 10, 600_000),
    bufferBytesMax: whole(
      "bufferBytesMax",
      options.bufferBytesMax,
      limits.agentBufferBytesMax,
      1,
      limits.agentBufferBytesMax,
    ),
    tailCacheBytesMax: whole(
      "tailCacheBytesMax",
      options.tailCacheBytesMax,
      128 * MIB,
      0,
      64 * 1024 * MIB,
    ),
    readCacheBytesMax: whole(
      "readCacheBytesMax",
      options.readCacheBytesMax,
      remote ? 128 * MIB : 32 * MIB,
      0,
      64 * 1024 * MIB,
    ),
    storeReadsMax: whole("storeReadsMax", options.storeReadsMax, 16, 1, 10_000),
    followPollMs: whole("followPollMs", options.followPollMs, 500, 10, 60_000),
    timestampFutureMsMax: whole(
      "timestampFutureMsMax",
      options.timestampFutureMsMax,
      3_600_000,
      0,
      limits.offsetMax,
    ),
    timestampPastMsMax:
      past === undefined ? undefined : whole("timestampPastMsMax", past, 0, 0, limits.offsetMax),
    lagRefreshMs: whole("lagRefreshMs", options.lagRefreshMs, 5_000, 10, 5_000),
    retentionCheckMs: whole("retentionCheckMs", options.retentionCheckMs, 30_000, 10, 86_400_000),
    offsetsRetentionMs: whole(
      "offsetsRetentionMs",
      options.offsetsRetentionMs,
      7 * DAY_MS,
      0,
      limits.offsetMax,
    ),
    offsetsCheckMs: whole("offsetsCheckMs", options.offsetsCheckMs, 600_000, 10, DAY_MS),
    drainTimeoutMs: whole("drainTimeoutMs", options.drainTimeoutMs, 30_000, 1, 600_000),
  });
}
