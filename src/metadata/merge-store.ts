/**
 * The part of the metadata port that merging and sweeping need: per-partition segments made of many flushes, objects that wait for
 * their deletion, and keys that were given up. `MetadataStore` extends it; the contract suite is in src/testing/contracts.
 */
import type { TopicPartition } from "../core/topic.ts";
import type { ChunkIndexEntry, ChunkLocation } from "../format/chunk.ts";

/** One partition's batches from `baseOffset` to `endOffset`, in an object of their own. */
export interface MergedSegment extends TopicPartition {
  readonly baseOffset: number;
  /** Offset after the last record. */
  readonly endOffset: number;
  /** Whole batches in offset order, without a gap. */
  readonly location: ChunkLocation;
  /**
   * What the index keeps of it: its pieces in offset order, contiguous from `baseOffset` to `endOffset`, positions counted from
   * `location.position`. Small shares that were appended close together may have become one piece.
   */
  readonly entries: readonly ChunkIndexEntry[];
}

/** As read back. `mergeId` rises in commit order. */
export interface CommittedMerge extends MergedSegment {
  readonly mergeId: number;
}

/**
 * `committed`: also if the same key was committed before · `fenced`: the run is over, or does not hold the partition's lease at the
 * entries' epoch · `stale`: the partition is merged up to another offset than `baseOffset`, its log start lies beyond, or it is
 * deleted · `swept`: the key was given up. But for `committed` nothing was applied, and the object is nobody's.
 */
export type MergeOutcome = "committed" | "fenced" | "stale" | "swept";

export interface MergeStore {
  /**
   * One transaction under the partition's lock. `baseOffset` must be where the last merge ended (the log start if that is further,
   * or if there was none), `endOffset` no more than the next offset. From then on flushes that have nothing else are dead.
   */
  commitMerge(runId: string, segment: MergedSegment): Promise<MergeOutcome>;
  /** Merges after `afterMergeId` that are still referred to, in commit order, at most `limit`. */
  listMerges(afterMergeId: number, limit: number): Promise<readonly CommittedMerge[]>;
  /** Forgets merges wholly below their partition's log start, or of deleted topics; dooms their objects. Answers them. */
  dropDeadMerges(limit: number): Promise<readonly CommittedMerge[]>;
  /**
   * Keys of objects that nothing has referred to for at least `olderThanMs` by the store's clock: `dropDeadFlushes` and
   * `dropDeadMerges` put them there when the last flush or merge in the object is forgotten. They stay until `forgetDoomed`.
   */
  listDoomed(olderThanMs: number, limit: number): Promise<readonly string[]>;
  /** Their objects are deleted. */
  forgetDoomed(keys: readonly string[]): Promise<void>;
  /**
   * Gives up those of the keys that nothing refers to (no flush, no merge, not doomed): a commit that comes later with one of them
   * is refused as `swept`. Excludes commits that are on their way. Answers the keys that may be deleted now.
   */
  sweepKeys(keys: readonly string[]): Promise<readonly string[]>;
  /**
   * Tells this metadata from any other: the same text for as long as it lives, in every process. Written into the store where the
   * records are, so that nobody sweeps what another database refers to.
   */
  identity(): Promise<string>;
  /** Forgets keys swept longer ago than this: no writer can still hold one. Answers how many. */
  forgetSwept(olderThanMs: number): Promise<number>;
}
