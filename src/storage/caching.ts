/**
 * A decorator that spares the store requests: what was read is kept in memory, what is being read is not asked for twice, and where
 * more of an object is likely to be wanted soon a whole block of it is read. One object of S3 holds the shares of many partitions; read
 * one by one they would cost a request each. Order, from the outside in: this, retries, instruments, the store itself, so that a
 * retry and a measurement is a request. Made by the agent, for fetches and merging together.
 *
 * Objects never change, so nothing here can be stale; an object that is deleted by this agent is let go. Failures are not kept.
 */
import { StreamHouseError } from "../core/errors.ts";
import type { ChunkLocation } from "../format/chunk.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { CounterCell, GaugeCell, MetricRegistry } from "../telemetry/cells.ts";
import type { ByteRange, ObjectStore } from "./object-store.ts";
import { RangeCache } from "./range-cache.ts";
import { type SharedRead, SharedReads } from "./shared-reads.ts";

/**
 * Whether more of the chunk or segment will be wanted soon. `more`: read whole blocks at once (a backlog is read through, several
 * partitions of one flush are merged or fetched) · `this`: read a block only if it is small, or was touched before.
 */
export type Wanted = "this" | "more";

/**
 * An object store with a cache in front. What `get` and `read` answer is shared with other callers: nobody may write into it. The
 * rest of the port goes to the store as it is.
 */
export interface CachingStore extends ObjectStore {
  /**
   * Reads `range`, which lies in `within`: the chunk or merged segment that belongs together. Reads are answered from memory, join a
   * read under way, or cost one request for each block that is missing: a block is the whole of `within` if it is no longer
   * than `blockBytes`, else one of its pieces of that length. A signal ends only its own caller's waiting.
   * @throws StreamHouseError as `get`, and `ABORTED`
   */
  read(
    within: ChunkLocation,
    range: ByteRange,
    wanted: Wanted,
    signal?: AbortSignal,
  ): Promise<Uint8Array>;
  /** What is in memory of the range, from its start on and in one piece; empty if that is less than `lengthMin`. Asks nobody. */
  cached(key: string, range: ByteRange, lengthMin: number): Uint8Array;
  /** Memory held by the cache, in bytes. */
  readonly cachedBytes: number;
}

export interface CachingComponents {
  readonly store: ObjectStore;
  /** Counts `streamhouse.cache.*` with `cache="segment"`. */
  readonly metrics: MetricRegistry;
}

export interface CachingOptions {
  /** Most memory kept. 0 keeps nothing, and reads no more than is asked for. */
  readonly cacheBytesMax: number;
  /** Reads of the store at once; the others wait in order. */
  readonly readsMax: number;
  /** Longest piece that is read at once where more is wanted. Default 4 MiB. */
  readonly blockBytes?: number | undefined;
  /** A chunk up to this length is always read whole: it takes about as long as a part of it. Default 256 KiB. */
  readonly smallBytes?: number | undefined;
}

export const BLOCK_BYTES = 4_194_304;
const SMALL_BYTES = 262_144;
const NOTHING = new Uint8Array(0);

/** Blocks of which a part was read lately and that are remembered, so that the next part brings the block. */
const TOUCHED_MAX = 8_192;

/** Puts a cache in front of the store. */
export function createCachingStore(
  components: CachingComponents,
  options: CachingOptions,
): CachingStore {
  return new BlockCachingStore(components, options);
}

class BlockCachingStore implements CachingStore {
  readonly kind: string;
  readonly #store: ObjectStore;
  readonly #cells: CacheCells;
  readonly #cache: RangeCache;
  readonly #reads: SharedReads;
  readonly #touched = new Set<string>();
  readonly #blockBytes: number;
  readonly #smallBytes: number;

  constructor({ store, metrics }: CachingComponents, options: CachingOptions) {
    const { cacheBytesMax, readsMax } = options;
    this.kind = store.kind;
    this.#store = store;
    this.#cells = cacheCells(metrics);
    this.#cache = new RangeCache(cacheBytesMax);
    this.#reads = new SharedReads(readsMax);
    // A block must leave room for others, or readers take each other's away before they are used.
    const room = Math.floor(cacheBytesMax / 4);
    this.#blockBytes = Math.min(options.blockBytes ?? BLOCK_BYTES, room);
    this.#smallBytes = Math.min(options.smallBytes ?? SMALL_BYTES, room);
  }

  get cachedBytes(): number {
    return this.#cache.bytes;
  }

  cached(key: string, range: ByteRange, lengthMin: number): Uint8Array {
    const found = this.#cache.prefix(key, range);
    if (found.length < Math.max(1, lengthMin)) return NOTHING;
    this.#cells.hits.add(1);
    return found;
  }

  async read(
    within: ChunkLocation,
    range: ByteRange,
    wanted: Wanted,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    const { key } = within;
    const blocks = this.#blocks(within, range, wanted);
    if (blocks.length === 0) return this.#load(key, range, signal);
    // All are waited for, so that none fails unseen.
    const parts = await Promise.allSettled(
      blocks.map((block) => this.#loadPart(key, block, range, signal)),
    );
    return join(parts, range.length);
  }

  get(key: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#load(key, range, signal);
  }

  put(key: string, parts: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
    return this.#store.put(key, parts, signal);
  }

  head(key: string, signal?: AbortSignal): ReturnType<ObjectStore["head"]> {
    return this.#store.head(key, signal);
  }

  list(prefix: string, startAfter?: string, signal?: AbortSignal): ReturnType<ObjectStore["list"]> {
    return this.#store.list(prefix, startAfter, signal);
  }

  async delete(keys: readonly string[], signal?: AbortSignal): Promise<void> {
    try {
      await this.#store.delete(keys, signal);
    } finally {
      for (const key of keys) {
        this.#reads.forget(key);
        this.#cache.drop(key);
      }
      this.#cells.bytes.set(this.#cache.bytes);
    }
  }

  async close(): Promise<void> {
    this.#cache.clear();
    this.#cells.bytes.set(0);
    await this.#store.close();
  }

  /** The blocks to read for a range, in order; none: exactly the range. */
  #blocks(within: ChunkLocation, range: ByteRange, wanted: Wanted): readonly ByteRange[] {
    const { position, length } = within;
    const from = range.start - position;
    const to = from + range.length;
    if (this.#blockBytes === 0 || from < 0 || to > length || range.length === 0) return [];
    const whole = length <= this.#blockBytes;
    const first = whole ? 0 : Math.floor(from / this.#blockBytes);
    const last = whole ? 0 : Math.floor((to - 1) / this.#blockBytes);
    const blocks: ByteRange[] = [];
    for (let i = first; i <= last; i++) {
      const start = i * this.#blockBytes;
      blocks.push({
        start: position + start,
        length: Math.min(this.#blockBytes, length - start),
      });
    }
    if (wanted === "more" || length <= this.#smallBytes) return blocks;
    const known = blocks.map((block) => this.#touch(`${within.key}@${block.start}`));
    return known.every(Boolean) ? blocks : [];
  }

  /** Notes that a part of the block is read. Answers whether one was before. */
  #touch(block: string): boolean {
    const known = this.#touched.delete(block);
    this.#touched.add(block);
    if (this.#touched.size > TOUCHED_MAX) {
      for (const oldest of this.#touched) {
        this.#touched.delete(oldest);
        break;
      }
    }
    return known;
  }

  /** The part of the range that lies in a block. */
  async #loadPart(
    key: string,
    block: ByteRange,
    range: ByteRange,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    const start = Math.max(block.start, range.start);
    const end = Math.min(block.start + block.length, range.start + range.length);
    const part = { start, length: end - start };
    const found = this.#cache.get(key, part);
    if (found !== undefined) {
      this.#cells.hits.add(1);
      return found;
    }
    try {
      const bytes = await this.#load(key, block, signal);
      return bytes.subarray(start - block.start, end - block.start);
    } catch (error) {
      // An object that was cut short may have what was asked for.
      if (isTooShort(error) && part.length < block.length) return this.#load(key, part, signal);
      throw error;
    }
  }

  async #load(key: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    const found = range === undefined ? undefined : this.#cache.get(key, range);
    if (found !== undefined) {
      this.#cells.hits.add(1);
      return found;
    }
    const underWay = this.#reads.find(key, range);
    // A read that is joined costs no request, as one that memory answers.
    (underWay === undefined ? this.#cells.misses : this.#cells.hits).add(1);
    const read = underWay ?? this.#begin(key, range);
    const bytes = await this.#reads.wait(key, read, signal);
    if (range === undefined) return bytes;
    const from = range.start - read.start;
    return bytes.subarray(from, from + range.length);
  }

  #begin(key: string, range?: ByteRange): SharedRead {
    const read: SharedRead = this.#reads.begin(key, range, async (signal) => {
      const bytes = await this.#store.get(key, range, signal);
      if (read.keep) this.#keep(key, range?.start ?? 0, bytes);
      return bytes;
    });
    return read;
  }

  #keep(key: string, start: number, bytes: Uint8Array): void {
    const evicted = this.#cache.put(key, start, bytes);
    if (evicted > 0) this.#cells.evictions.add(evicted);
    this.#cells.bytes.set(this.#cache.bytes);
  }
}

interface CacheCells {
  readonly hits: CounterCell;
  readonly misses: CounterCell;
  readonly evictions: CounterCell;
  readonly bytes: GaugeCell;
}

function cacheCells(metrics: MetricRegistry): CacheCells {
  const cache = { cache: "segment" };
  return {
    hits: metrics.counter(catalogue.cacheHits, cache),
    misses: metrics.counter(catalogue.cacheMisses, cache),
    evictions: metrics.counter(catalogue.cacheEvictions, cache),
    bytes: metrics.gauge(catalogue.cacheBytes, cache),
  };
}

/** The parts in one piece. @throws what the first of them that failed did */
function join(parts: readonly PromiseSettledResult<Uint8Array>[], length: number): Uint8Array {
  const found = parts.map((part) => {
    if (part.status === "rejected") throw part.reason;
    return part.value;
  });
  const [first] = found;
  if (first !== undefined && found.length === 1) return first;
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of found) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function isTooShort(error: unknown): boolean {
  return StreamHouseError.is(error) && error.code === "CORRUPT_SEGMENT";
}
