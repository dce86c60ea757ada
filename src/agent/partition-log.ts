/**
 * The index of one partition's committed shares, in memory: which bytes of which object hold which offsets. Compact (56
 * bytes a share), since it grows with flushes and not with records; retention and later merging bound it. Never knows
 * anything uncommitted. Written by the flusher and the log index, read by fetcher, list-offsets, lag and retention.
 */
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import type { ChunkIndexEntry, ChunkLocation } from "../format/chunk.ts";

/** One partition's part of one flush, as the index keeps it. */
export interface Share {
  readonly key: string;
  /** The chunk or merged segment that it is a part of. */
  readonly within: ChunkLocation;
  /** First byte in the object. */
  readonly position: number;
  readonly length: number;
  readonly baseOffset: number;
  /** Offset after the last record. */
  readonly endOffset: number;
  readonly appendTimeMs: number;
}

/** Numbers of one share: base offset, position, length, append time, max timestamp, running max timestamp. */
const WIDTH = 6;
const BASE = 0;
const POSITION = 1;
const LENGTH = 2;
const APPENDED = 3;
const MAX_TIME = 4;
const RUNNING_MAX = 5;

/** Takes the place of a chunk whose share was trimmed, so that it is let go at once. */
const GONE: ChunkLocation = { key: "", position: 0, length: 0 };

export class PartitionLog implements TopicPartition {
  readonly topicId: string;
  readonly partition: number;
  readonly key: string;
  #cells = new Float64Array(WIDTH * 4);
  /** The chunk (or merged segment) of each share: one object for all shares of a flush. */
  #chunks: ChunkLocation[] = [];
  #head = 0;
  #end = 0;
  #highWatermark: number;
  #logStart: number;
  /**
   * Shares in front of which the clock had gone back: between two of them append times only rise. Kept are those that nothing later
   * is older than, so their times rise from one to the next.
   */
  #falls: { readonly offset: number; readonly timeMs: number }[] = [];
  readonly #watchers = new Set<() => void>();

  constructor(topicId: string, partition: number, startOffset: number) {
    this.topicId = topicId;
    this.partition = partition;
    this.key = partitionKey(topicId, partition);
    this.#highWatermark = startOffset;
    this.#logStart = startOffset;
  }

  /** Offset after the last committed record. Never falls. */
  get highWatermark(): number {
    return this.#highWatermark;
  }

  /** First offset that may be read. Never falls. */
  get logStart(): number {
    return this.#logStart;
  }

  /** Shares in the index. */
  get size(): number {
    return this.#end - this.#head;
  }

  /**
   * Adds a committed share and wakes the watchers. Shares come in offset order; one that is known already is left
   * out (an own commit is also met when the flush table is read again). Answers whether it was added.
   */
  append(location: ChunkLocation, entry: ChunkIndexEntry): boolean {
    if (entry.baseOffset < this.#highWatermark) return false;
    // A flush is forgotten only when it is wholly below the log start, so a hole says where that is now.
    if (entry.baseOffset > this.#highWatermark) this.#trim(entry.baseOffset);
    if (this.#end * WIDTH === this.#cells.length) this.#makeRoom();
    const at = this.#end * WIDTH;
    const before = this.#end > this.#head ? this.#cell(this.#end - 1, RUNNING_MAX) : -1;
    this.#noteFall(entry);
    this.#cells[at + BASE] = entry.baseOffset;
    this.#cells[at + POSITION] = location.position + entry.position;
    this.#cells[at + LENGTH] = entry.length;
    this.#cells[at + APPENDED] = entry.appendTimeMs;
    this.#cells[at + MAX_TIME] = entry.maxTimestamp;
    this.#cells[at + RUNNING_MAX] = Math.max(before, entry.maxTimestamp);
    this.#chunks[this.#end] = location;
    this.#end++;
    this.#highWatermark = entry.baseOffset + entry.recordCount;
    this.#wake();
    return true;
  }

  /** Takes over what metadata says; neither bound ever falls. Shares below the log start are forgotten. */
  raise(bounds: { readonly logStartOffset: number; readonly nextOffset: number }): void {
    const { logStartOffset, nextOffset } = bounds;
    if (this.size === 0 && nextOffset > this.#highWatermark && logStartOffset >= nextOffset) {
      // Everything was deleted: there is no share to learn the high watermark from.
      this.#highWatermark = nextOffset;
    }
    if (logStartOffset > this.#logStart) this.#trim(logStartOffset);
  }

  /** The share that holds `offset`, or the first one after it; undefined if there is none. */
  find(offset: number): number | undefined {
    if (this.size === 0 || offset >= this.#highWatermark) return undefined;
    // The last share that begins at or below the offset.
    let low = this.#head;
    let high = this.#end - 1;
    while (low < high) {
      const mid = (low + high + 1) >>> 1;
      if (this.#cell(mid, BASE) <= offset) low = mid;
      else high = mid - 1;
    }
    return low - this.#head;
  }

  /** Share number `i`, counted from the oldest. */
  share(i: number): Share | undefined {
    const at = this.#head + i;
    if (i < 0 || at >= this.#end) return undefined;
    const within = this.#chunks[at] as ChunkLocation;
    return {
      key: within.key,
      within,
      position: this.#cell(at, POSITION),
      length: this.#cell(at, LENGTH),
      baseOffset: this.#cell(at, BASE),
      endOffset: at + 1 < this.#end ? this.#cell(at + 1, BASE) : this.#highWatermark,
      appendTimeMs: this.#cell(at, APPENDED),
    };
  }

  /** About how many bytes can be read from `offset` on, counted up to `enough`. */
  bytesFrom(offset: number, enough: number): number {
    const first = this.find(offset);
    if (first === undefined) return 0;
    let bytes = 0;
    for (let i = this.#head + first; i < this.#end && bytes < enough; i++) {
      bytes += this.#cell(i, LENGTH);
    }
    return bytes;
  }

  /** When the record at `offset` was appended, ms since 1970; undefined if it is not in the index. */
  appendTimeAt(offset: number): number | undefined {
    const i = this.find(offset);
    return i === undefined ? undefined : this.#cell(this.#head + i, APPENDED);
  }

  /**
   * When the oldest of the records from `offset` on was appended, ms since 1970: the append time of the share that holds it, or of a
   * later one before which the clock went back. So of two readers the one further behind never looks more up to date. An offset that
   * the index does not have yet was appended after everything it has. Undefined: it has nothing.
   */
  oldestAppendFrom(offset: number): number | undefined {
    if (this.size === 0) return undefined;
    const row = this.#head + (this.find(offset) ?? this.size - 1);
    const base = this.#cell(row, BASE);
    const fall = this.#falls.find((it) => it.offset > base);
    return Math.min(this.#cell(row, APPENDED), fall?.timeMs ?? Number.POSITIVE_INFINITY);
  }

  /** Number of the first share with a record timestamp at or after `timestampMs`. */
  findTime(timestampMs: number): number | undefined {
    let low = this.#head;
    let high = this.#end;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (this.#cell(mid, RUNNING_MAX) >= timestampMs) high = mid;
      else low = mid + 1;
    }
    return low === this.#end ? undefined : low - this.#head;
  }

  /** First offset of the oldest share appended at or after `timeMs`; the high watermark if there is none. */
  offsetAppendedSince(timeMs: number): number {
    for (let i = this.#head; i < this.#end; i++) {
      if (this.#cell(i, APPENDED) >= timeMs) return this.#cell(i, BASE);
    }
    return this.#highWatermark;
  }

  /** Calls `wake` after each append until the answered function is called. */
  watch(wake: () => void): () => void {
    this.#watchers.add(wake);
    return () => this.#watchers.delete(wake);
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  /** The topic is gone: whoever waits looks again, and finds no log. */
  close(): void {
    this.#wake();
  }

  #noteFall({ baseOffset, appendTimeMs }: ChunkIndexEntry): void {
    if (this.size === 0 || appendTimeMs >= this.#cell(this.#end - 1, APPENDED)) return;
    while ((this.#falls.at(-1)?.timeMs ?? -1) >= appendTimeMs) this.#falls.pop();
    this.#falls.push({ offset: baseOffset, timeMs: appendTimeMs });
  }

  #wake(): void {
    for (const wake of [...this.#watchers]) wake();
  }

  #cell(row: number, column: number): number {
    return this.#cells[row * WIDTH + column] as number;
  }

  #trim(logStart: number): void {
    this.#logStart = logStart;
    if (logStart > this.#highWatermark) this.#highWatermark = logStart;
    let head = this.#head;
    while (head < this.#end) {
      const end = head + 1 < this.#end ? this.#cell(head + 1, BASE) : this.#highWatermark;
      if (end > logStart) break;
      this.#chunks[head] = GONE;
      head++;
    }
    if (head === this.#head) return;
    this.#head = head;
    const first = this.size > 0 ? this.#cell(head, BASE) : Number.POSITIVE_INFINITY;
    this.#falls = this.#falls.filter((it) => it.offset > first);
    // The running maximum must not remember what is gone.
    let max = -1;
    for (let i = head; i < this.#end; i++) {
      max = Math.max(max, this.#cell(i, MAX_TIME));
      this.#cells[i * WIDTH + RUNNING_MAX] = max;
    }
    if (head * 2 >= this.#cells.length / WIDTH) this.#makeRoom();
  }

  /** Moves the rows to the front of an array with room for as many again. */
  #makeRoom(): void {
    const rows = this.size;
    const cells = new Float64Array(WIDTH * Math.max(4, rows * 2));
    cells.set(this.#cells.subarray(this.#head * WIDTH, this.#end * WIDTH));
    this.#cells = cells;
    this.#chunks = this.#chunks.slice(this.#head, this.#end);
    this.#head = 0;
    this.#end = rows;
  }
}
