/**
 * The partition logs of everything this agent may serve, and their growth: own commits as they happen; flushes and merges of
 * metadata page by page (at start, after a lease was taken over, and while other agents write). Called by agent, flusher, merger,
 * lease manager, fetcher.
 *
 * A flush that was merged is forgotten in metadata, perhaps before this agent read it. So a hole between what is known of a partition
 * and its next flush means nothing until the merges were read *after* that flush: what was merged is then known, and what is still
 * missing is below the log start.
 */
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import type { MergedSegment } from "../metadata/merge-store.ts";
import type { CommittedFlush, MetadataStore } from "../metadata/metadata-store.ts";
import { PartitionLog } from "./partition-log.ts";
import type { SegmentReferences } from "./segment-references.ts";

/** Flushes read in one step. */
const PAGE = 1_000;

/** Merges read in one step: each has hundreds of pieces. */
const MERGE_PAGE = 100;

export interface LogIndexComponents {
  readonly metadata: Pick<MetadataStore, "listFlushes" | "listMerges" | "partitionBounds">;
  readonly segments: SegmentReferences;
  /** Told of each flush that was read in the table and not met before. */
  readonly found?: (flush: IndexedFlush) => void;
}

/** A flush as far as the index is concerned. */
export type IndexedFlush = Omit<CommittedFlush, "flushId">;

/** What the index of an agent holds. */
export interface IndexCensus {
  readonly shares: number;
  /** Flush shares that are not merged, by whomever. */
  readonly unmerged: number;
  /** Partitions with such. */
  readonly partitions: number;
}

export class LogIndex {
  readonly #metadata: LogIndexComponents["metadata"];
  readonly #segments: SegmentReferences;
  readonly #found: (flush: IndexedFlush) => void;
  readonly #logs = new Map<string, PartitionLog>();
  /** The newest flush sequence applied for each run of this process: those flushes are met again in the table. */
  readonly #applied = new Map<string, number>();
  #flushCursor = 0;
  #mergeCursor = 0;
  #reading: Promise<void> | undefined;
  /** Begins when the one under way has ended; for all who ask until then. */
  #next: Promise<void> | undefined;

  constructor(components: LogIndexComponents) {
    this.#metadata = components.metadata;
    this.#segments = components.segments;
    this.#found = components.found ?? (() => {});
  }

  /** The log of a partition, if anything of it was ever seen. */
  get(topicId: string, partition: number): PartitionLog | undefined {
    return this.#logs.get(partitionKey(topicId, partition));
  }

  /** The log of a partition; a new one begins at `startOffset`. */
  ensure(topicId: string, partition: number, startOffset: number): PartitionLog {
    const key = partitionKey(topicId, partition);
    const known = this.#logs.get(key);
    if (known !== undefined) return known;
    const log = new PartitionLog(topicId, partition, startOffset);
    this.#logs.set(key, log);
    return log;
  }

  logs(): Iterable<PartitionLog> {
    return this.#logs.values();
  }

  /** How much memory is full of what: shares in all, those that are not merged, and the partitions that have such. */
  census(): IndexCensus {
    let [shares, unmerged, partitions] = [0, 0, 0];
    for (const log of this.#logs.values()) {
      shares += log.size;
      const waiting = log.unmergedShares;
      unmerged += waiting;
      if (waiting > 0) partitions++;
    }
    return { shares, unmerged, partitions };
  }

  /** This run's flushes are applied by `applyOwn` as they are committed. */
  beginRun(runId: string): void {
    this.#applied.set(runId, 0);
  }

  /** Whether a flush of this process is in the index. */
  isApplied(runId: string, flushSequence: number): boolean {
    return flushSequence <= (this.#applied.get(runId) ?? 0);
  }

  /** Applies a commit of this process. False: the flush was met before. */
  applyOwn(flush: IndexedFlush): boolean {
    const newest = this.#applied.get(flush.runId);
    if (newest !== undefined && flush.flushSequence <= newest) return false;
    if (newest !== undefined) this.#applied.set(flush.runId, flush.flushSequence);
    this.#segments.committed(flush.location.key);
    for (const entry of flush.entries) {
      const { topicId, partition, baseOffset } = entry;
      this.ensure(topicId, partition, baseOffset).append(flush.location, entry);
    }
    return true;
  }

  /** Applies a merge, this process's own or one that was read. False: it was met before. */
  applyMerge(segment: MergedSegment): boolean {
    const { topicId, partition, baseOffset } = segment;
    return this.ensure(topicId, partition, baseOffset).merge(segment);
  }

  /**
   * Reads flushes and merges from where they were left to their end. A caller gets a read that began after its call; however many
   * ask meanwhile, there is one read under way and one that follows. @throws StreamHouseError `METADATA_UNAVAILABLE`
   */
  refresh(): Promise<void> {
    if (this.#reading === undefined) {
      this.#reading = this.#readAll().finally(() => {
        this.#reading = undefined;
      });
      return this.#reading;
    }
    this.#next ??= this.#reading
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return this.refresh();
      });
    return this.#next;
  }

  /** Reads bounds from metadata into the logs, making those that are not there. What metadata does not know is gone for ever. */
  async refreshBounds(partitions: readonly TopicPartition[]): Promise<void> {
    const behind: PartitionLog[] = [];
    const gone = new Set(partitions.map((it) => partitionKey(it.topicId, it.partition)));
    for (const bounds of await this.#metadata.partitionBounds(partitions)) {
      gone.delete(partitionKey(bounds.topicId, bounds.partition));
      const log = this.ensure(bounds.topicId, bounds.partition, bounds.logStartOffset);
      log.raise(bounds);
      if (log.highWatermark < bounds.nextOffset) behind.push(log);
    }
    for (const key of gone) this.#forget(key);
    if (behind.length > 0) await this.refresh();
  }

  #forget(key: string): void {
    const log = this.#logs.get(key);
    this.#logs.delete(key);
    log?.stir();
  }

  /** The partitions of a topic that is gone. */
  dropTopics(gone: (topicId: string) => boolean): void {
    for (const [key, log] of this.#logs) {
      if (gone(log.topicId)) this.#forget(key);
    }
  }

  async #readAll(): Promise<void> {
    let [page] = await Promise.all([this.#readFlushes(), this.#readMerges()]);
    for (;;) {
      // Merges that were read before the flushes, or beside them, may lack the one that a hole comes from.
      let mergesAreNewer = false;
      for (const flush of page) {
        if (!mergesAreNewer && this.#leavesHole(flush)) {
          await this.#readMerges();
          mergesAreNewer = true;
        }
        if (this.applyOwn(flush)) this.#found(flush);
        this.#flushCursor = flush.flushId;
      }
      if (page.length < PAGE) return;
      page = await this.#readFlushes();
    }
  }

  #readFlushes(): Promise<readonly CommittedFlush[]> {
    return this.#metadata.listFlushes(this.#flushCursor, PAGE);
  }

  async #readMerges(): Promise<void> {
    for (;;) {
      const page = await this.#metadata.listMerges(this.#mergeCursor, MERGE_PAGE);
      for (const merge of page) {
        this.applyMerge(merge);
        this.#mergeCursor = merge.mergeId;
      }
      if (page.length < MERGE_PAGE) return;
    }
  }

  #leavesHole(flush: CommittedFlush): boolean {
    return flush.entries.some(({ topicId, partition, baseOffset }) => {
      return baseOffset > (this.get(topicId, partition)?.highWatermark ?? 0);
    });
  }
}
