/**
 * Ranges of objects in memory, bounded by the memory that they keep alive; the least recently used go first. Pure: it reads
 * nothing itself. Objects never change, so what is here is right for as long as its object is wanted. Used by `caching.ts`.
 */
import type { ByteRange } from "./object-store.ts";

interface Extent {
  readonly key: string;
  readonly start: number;
  readonly end: number;
  readonly bytes: Uint8Array;
  /** Memory it keeps alive. */
  readonly charge: number;
}

const NOTHING = new Uint8Array(0);

/** A view that keeps this much more memory alive than it shows is copied. */
const SLACK_BYTES = 4_096;

export class RangeCache {
  readonly #bytesMax: number;
  /** Of each object, by start. None lies within another, so ends rise with starts. */
  readonly #objects = new Map<string, Extent[]>();
  /** Least recently used first. */
  readonly #used = new Set<Extent>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Memory held, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#used.size;
  }

  /** As much of the range as is here in one piece, from its start on; empty if not even the first byte is. */
  prefix(key: string, range: ByteRange): Uint8Array {
    const extents = this.#objects.get(key);
    const extent = extents?.[lastAtOrBelow(extents, range.start)];
    if (extent === undefined || extent.end <= range.start) return NOTHING;
    this.#used.delete(extent);
    this.#used.add(extent);
    const from = range.start - extent.start;
    return extent.bytes.subarray(from, from + range.length);
  }

  /** The whole range, or undefined. */
  get(key: string, range: ByteRange): Uint8Array | undefined {
    const found = this.prefix(key, range);
    return found.length === range.length && found.length > 0 ? found : undefined;
  }

  /** Keeps bytes of the object from `start` on. Nobody may write into them any more. Answers how many entries had to go. */
  put(key: string, start: number, read: Uint8Array): number {
    if (read.length === 0) return 0;
    const wasteful = read.buffer.byteLength > read.length + SLACK_BYTES;
    const bytes = wasteful ? read.slice() : read;
    const charge = bytes.buffer.byteLength;
    if (charge > this.#bytesMax) return 0;
    const extent: Extent = { key, start, end: start + bytes.length, bytes, charge };
    if (!this.#insert(extent)) return 0;
    this.#used.add(extent);
    this.#bytes += charge;
    let evicted = 0;
    for (const oldest of this.#used) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#remove(oldest);
      evicted++;
    }
    return evicted;
  }

  /** Lets go of an object. */
  drop(key: string): void {
    for (const extent of this.#objects.get(key) ?? []) this.#letGo(extent);
    this.#objects.delete(key);
  }

  clear(): void {
    this.#objects.clear();
    this.#used.clear();
    this.#bytes = 0;
  }

  /** False: what is here covers it. What it covers itself is taken out. */
  #insert(extent: Extent): boolean {
    const extents = this.#objects.get(extent.key);
    if (extents === undefined) {
      this.#objects.set(extent.key, [extent]);
      return true;
    }
    const before = lastAtOrBelow(extents, extent.start);
    if ((extents[before]?.end ?? -1) >= extent.end) return false;
    // One with the same start is shorter: it goes too.
    const at = extents[before]?.start === extent.start ? before : before + 1;
    let until = at;
    while (until < extents.length && (extents[until] as Extent).end <= extent.end) until++;
    for (const covered of extents.splice(at, until - at, extent)) this.#letGo(covered);
    return true;
  }

  #remove(extent: Extent): void {
    this.#letGo(extent);
    const extents = this.#objects.get(extent.key) ?? [];
    const at = lastAtOrBelow(extents, extent.start);
    if (extents[at] === extent) extents.splice(at, 1);
    if (extents.length === 0) this.#objects.delete(extent.key);
  }

  #letGo(extent: Extent): void {
    if (this.#used.delete(extent)) this.#bytes -= extent.charge;
  }
}

/** Where the last extent lies that begins at or below `start`; -1 if there is none. */
function lastAtOrBelow(extents: readonly Extent[], start: number): number {
  let low = 0;
  let high = extents.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    if ((extents[mid] as Extent).start <= start) low = mid + 1;
    else high = mid;
  }
  return low - 1;
}
