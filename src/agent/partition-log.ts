/**
 * The index of one partition's committed shares, in memory: which bytes of which object hold which offsets. Compact (56
 * bytes a share), since it grows with flushes and not with records; retention and merging bound it. Never knows
 * anything uncommitted. Written by the flusher, the log index and the merger, read by fetcher, list-offsets, lag and
 * retention. Numbers of shares hold until the next `await`: merging and retention change them.
 */
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import type { ChunkIndexEntry, ChunkLocation } from "../format/chunk.ts";
import type { MergedSegment } from "../metadata/merge-store.ts";
import { ClockFalls } from "./clock-falls.ts";
import { PIECE_MS_MAX } from "./merge-pieces.ts";

/** One partition's part of one flush, or a piece of a merged segment (several such parts), as the index keeps it. */
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

/** How much of a partition waits for being merged. */
export interface Unmerged {
  readonly bytes: number;
  readonly shares: number;
  /** ms since 1970; infinite if there is nothing. */
  readonly oldestMs: number;
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
  #mergedUntil = 0;
  readonly #falls = new ClockFalls();
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

  /** Offset after the last record that lies in a merged segment; 0 if none does. Never falls. */
  get mergedUntil(): number {
    return this.#mergedUntil;
  }

  /** Shares in the index. */
  get size(): number {
    return this.#end - this.#head;
  }

  /**
   * Adds a committed share and wakes the watchers. Shares come in offset order; one that is known already is left out (an own
   * commit is also met when the flush table is read again). Where there is a hole before it, the caller has read the merges, so what
   * is missing is below the log start. Answers whether it was added.
   */
  append(location: ChunkLocation, entry: ChunkIndexEntry): boolean {
    const end = entry.baseOffset + entry.recordCount;
    if (end <= this.#highWatermark) return false;
    // Only the first share of a log can begin below its start.
    if (entry.baseOffset < this.#highWatermark && this.size > 0) return false;
    if (entry.baseOffset > this.#highWatermark) this.#trim(entry.baseOffset);
    this.#push(location, entry);
    this.#highWatermark = end;
    this.#wake();
    return true;
  }

  /**
   * Takes a merged segment over: its pieces replace the shares that were merged. Whoever watches is woken only if it brings records
   * that were not known. Answers whether it was new.
   */
  merge(segment: MergedSegment): boolean {
    const { baseOffset, endOffset } = segment;
    if (endOffset <= this.#mergedUntil) return false;
    this.#mergedUntil = endOffset;
    // As in `append`: what would be in the hole is below the log start.
    if (baseOffset > this.#highWatermark) this.#trim(baseOffset);
    if (endOffset <= this.#logStart) return true;
    if (baseOffset >= this.#highWatermark) this.#pushPieces(segment);
    else this.#replace(segment);
    if (endOffset > this.#highWatermark) {
      this.#highWatermark = endOffset;
      this.#wake();
    }
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
    return Math.max(0, this.#firstRow(BASE, (base) => base > offset) - 1 - this.#head);
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

  /** The object of each share. */
  *objects(): Generator<string, void, undefined> {
    for (let i = this.#head; i < this.#end; i++) yield (this.#chunks[i] as ChunkLocation).key;
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
    const fall = this.#falls.after(base) ?? Number.POSITIVE_INFINITY;
    return Math.min(this.#cell(row, APPENDED), fall);
  }

  /** Number of the first share with a record timestamp at or after `timestampMs`. */
  findTime(timestampMs: number): number | undefined {
    const row = this.#firstRow(RUNNING_MAX, (max) => max >= timestampMs);
    return row === this.#end ? undefined : row - this.#head;
  }

  /**
   * First offset of the oldest share with a record that may have been appended at or after `timeMs`; the high watermark if there is
   * none. A piece of a merged segment knows its oldest record's time; its newest is up to `PIECE_MS_MAX` younger.
   */
  offsetAppendedSince(timeMs: number): number {
    for (let i = this.#head; i < this.#end; i++) {
      const base = this.#cell(i, BASE);
      const youngerMs = base < this.#mergedUntil ? PIECE_MS_MAX : 0;
      if (this.#cell(i, APPENDED) + youngerMs >= timeMs) return base;
    }
    return this.#highWatermark;
  }

  /** What is not merged, up to about `enoughBytes` and `enoughShares`: how much, and when the oldest of it was appended. */
  unmerged(enoughBytes: number, enoughShares: number): Unmerged {
    let [bytes, shares, oldestMs] = [0, 0, Number.POSITIVE_INFINITY];
    let i = this.#end - this.unmergedShares;
    for (; i < this.#end && bytes < enoughBytes && shares < enoughShares; i++) {
      bytes += this.#cell(i, LENGTH);
      shares++;
      oldestMs = Math.min(oldestMs, this.#cell(i, APPENDED));
    }
    return { bytes, shares, oldestMs };
  }

  /** Shares that are not merged. */
  get unmergedShares(): number {
    return this.size - (this.find(Math.max(this.#mergedUntil, this.#logStart)) ?? this.size);
  }

  /** Calls `wake` after each append until the answered function is called. */
  watch(wake: () => void): () => void {
    this.#watchers.add(wake);
    return () => this.#watchers.delete(wake);
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  /** The topic is gone, or the lease: whoever waits looks again, and finds what is now. */
  stir(): void {
    this.#wake();
  }

  /** As many rows as the segment has, so that reading all merges at start costs no more than they are long. */
  #pushPieces({ entries, location }: MergedSegment): void {
    for (const it of entries) {
      if (it.baseOffset + it.recordCount > this.#logStart) this.#push(location, it);
    }
  }

  #replace(segment: MergedSegment): void {
    const before = this.#firstRow(BASE, (base) => base >= segment.baseOffset);
    const after = this.#firstRow(BASE, (base) => base >= segment.endOffset);
    const [cells, chunks, end] = [this.#cells, this.#chunks, this.#end];
    const kept = before - this.#head;
    const rows = kept + segment.entries.length + end - after;
    this.#cells = new Float64Array(WIDTH * Math.max(4, rows * 2));
    this.#cells.set(cells.subarray(this.#head * WIDTH, before * WIDTH));
    this.#chunks = chunks.slice(this.#head, before);
    this.#head = 0;
    this.#end = kept;
    this.#pushPieces(segment);
    this.#cells.set(cells.subarray(after * WIDTH, end * WIDTH), this.#end * WIDTH);
    this.#chunks = this.#chunks.concat(chunks.slice(after, end));
    this.#end += end - after;
    this.#recount();
  }

  /** A row at the end. The high watermark is the caller's to move. */
  #push(location: ChunkLocation, entry: ChunkIndexEntry): void {
    if (this.#end * WIDTH === this.#cells.length) this.#makeRoom();
    const at = this.#end * WIDTH;
    const before = this.#end > this.#head ? this.#cell(this.#end - 1, RUNNING_MAX) : -1;
    this.#noteFall(this.#end, entry.baseOffset, entry.appendTimeMs);
    this.#cells[at + BASE] = entry.baseOffset;
    this.#cells[at + POSITION] = location.position + entry.position;
    this.#cells[at + LENGTH] = entry.length;
    this.#cells[at + APPENDED] = entry.appendTimeMs;
    this.#cells[at + MAX_TIME] = entry.maxTimestamp;
    this.#cells[at + RUNNING_MAX] = Math.max(before, entry.maxTimestamp);
    this.#chunks[this.#end] = location;
    this.#end++;
  }

  #noteFall(row: number, baseOffset: number, appendTimeMs: number): void {
    if (row === this.#head || appendTimeMs >= this.#cell(row - 1, APPENDED)) return;
    this.#falls.add(baseOffset, appendTimeMs);
  }

  /** Running maxima and falls anew, from the rows alone. */
  #recount(): void {
    this.#falls.clear();
    let max = -1;
    for (let i = this.#head; i < this.#end; i++) {
      max = Math.max(max, this.#cell(i, MAX_TIME));
      this.#cells[i * WIDTH + RUNNING_MAX] = max;
      this.#noteFall(i, this.#cell(i, BASE), this.#cell(i, APPENDED));
    }
  }

  /** The first row whose value is accepted, in a column of which it and all later ones are. */
  #firstRow(column: number, accept: (value: number) => boolean): number {
    let low = this.#head;
    let high = this.#end;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (accept(this.#cell(mid, column))) high = mid;
      else low = mid + 1;
    }
    return low;
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
    // Neither the running maximum nor the falls must remember what is gone.
    this.#recount();
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
