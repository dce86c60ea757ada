/**
 * The partition logs of everything this agent may serve, and their growth: own commits as they happen, and the flush
 * table page by page (at start, after a lease was taken over, and while other agents write). Called by agent, flusher,
 * lease manager, fetcher.
 */
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import type { ChunkIndexEntry, ChunkLocation } from "../format/chunk.ts";
import type { CommittedFlush, MetadataStore } from "../metadata/metadata-store.ts";
import { PartitionLog } from "./partition-log.ts";
import type { SegmentReferences } from "./segment-references.ts";

/** Flushes read in one step. */
const PAGE = 1_000;

export interface LogIndexComponents {
  readonly metadata: MetadataStore;
  readonly segments: SegmentReferences;
  /** Told of each flush that was read in the table and not met before. */
  readonly found?: (flush: IndexedFlush) => void;
}

/** A flush as far as the index is concerned. */
export type IndexedFlush = Omit<CommittedFlush, "flushId">;

export class LogIndex {
  readonly #metadata: MetadataStore;
  readonly #segments: SegmentReferences;
  readonly #found: (flush: IndexedFlush) => void;
  readonly #logs = new Map<string, PartitionLog>();
  /** The newest flush sequence applied for each run of this process: those flushes are met again in the table. */
  readonly #applied = new Map<string, number>();
  #cursor = 0;
  #reading: Promise<void> | undefined;

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
    this.#segments.retain(flush.location.key);
    for (const entry of flush.entries) this.#append(flush.location, entry);
    return true;
  }

  /** Reads the flush table from where it was left to its end. Single flight: a caller gets a read that began after its call. */
  refresh(): Promise<void> {
    const before = this.#reading ?? Promise.resolve();
    const mine = before.catch(() => {}).then(() => this.#readAll());
    this.#reading = mine;
    return mine.finally(() => {
      if (this.#reading === mine) this.#reading = undefined;
    });
  }

  /** Reads bounds from metadata into the logs, making those that are not there. */
  async refreshBounds(partitions: readonly TopicPartition[]): Promise<void> {
    const behind: PartitionLog[] = [];
    for (const bounds of await this.#metadata.partitionBounds(partitions)) {
      const log = this.ensure(bounds.topicId, bounds.partition, bounds.logStartOffset);
      log.raise(bounds);
      if (log.highWatermark < bounds.nextOffset) behind.push(log);
    }
    if (behind.length > 0) await this.refresh();
  }

  /** A dropped flush is no longer referred to. */
  forget(flush: CommittedFlush): void {
    this.#segments.release(flush.location.key);
  }

  /** The partitions of a topic that is gone. */
  dropTopics(gone: (topicId: string) => boolean): void {
    for (const [key, log] of this.#logs) {
      if (!gone(log.topicId)) continue;
      this.#logs.delete(key);
      log.close();
    }
  }

  async #readAll(): Promise<void> {
    for (;;) {
      const page = await this.#metadata.listFlushes(this.#cursor, PAGE);
      for (const flush of page) {
        if (this.applyOwn(flush)) this.#found(flush);
        this.#cursor = flush.flushId;
      }
      if (page.length < PAGE) return;
    }
  }

  #append(location: ChunkLocation, entry: ChunkIndexEntry): void {
    this.ensure(entry.topicId, entry.partition, entry.baseOffset).append(location, entry);
  }
}
