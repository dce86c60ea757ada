/**
 * Committed shares from the store: one ranged read for neighbours in one object, single flight, a small cache for the
 * next fetch (a large share is asked for piece by piece), and a limit on reads at once. Called by fetcher and
 * list-offsets.
 */
import { StreamHouseError } from "../core/errors.ts";
import { Semaphore } from "../core/semaphore.ts";
import { readBatchHeader } from "../format/batch-header.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import type { CacheCells } from "./agent-instruments.ts";
import type { PartitionLog, Share } from "./partition-log.ts";
import type { Reachability } from "./reachability.ts";

/** A share's bytes: whole batches. */
export interface ShareBytes {
  readonly share: Share;
  readonly bytes: Uint8Array;
}

export interface ShareReaderComponents {
  readonly store: ObjectStore;
  readonly reachability: Reachability;
  readonly cells: CacheCells;
}

export interface ShareReaderOptions {
  readonly cacheBytesMax: number;
  readonly readsMax: number;
}

/** Bytes of others between two shares that are read along rather than asked for apart. */
const GAP_BYTES_MAX = 65_536;

/** Objects that one call reads at once: where each flush is an object of its own, a backlog has many small ones. */
const RUNS_MAX = 8;

interface Cached {
  readonly bytes: Uint8Array;
  /** Memory of the read that it is a view of, shared out over the shares of that read. */
  readonly charge: number;
}

export class ShareReader {
  readonly #store: ObjectStore;
  readonly #reachability: Reachability;
  readonly #cells: CacheCells;
  readonly #cacheBytesMax: number;
  readonly #reads: Semaphore;
  /** Least recently used first. */
  readonly #cache = new Map<string, Cached>();
  readonly #flights = new Map<string, Promise<readonly ShareBytes[]>>();
  #cachedBytes = 0;

  constructor(components: ShareReaderComponents, options: ShareReaderOptions) {
    this.#store = components.store;
    this.#reachability = components.reachability;
    this.#cells = components.cells;
    this.#cacheBytesMax = options.cacheBytesMax;
    this.#reads = new Semaphore(options.readsMax);
  }

  get cachedBytes(): number {
    return this.#cachedBytes;
  }

  /**
   * Share `first` of the log and those that follow, up to about `bytesMax`, in order and without a hole; at least the first.
   * @throws StreamHouseError `OBJECT_NOT_FOUND`, `STORE_UNAVAILABLE`, `CORRUPT_SEGMENT`
   */
  async read(log: PartitionLog, first: number, bytesMax: number): Promise<readonly ShareBytes[]> {
    const runs: Promise<readonly ShareBytes[]>[] = [];
    const asked: number[] = [];
    let bytes = 0;
    for (let next = first; bytes < bytesMax && runs.length < RUNS_MAX; ) {
      const run = neighbours(log, next, bytesMax - bytes);
      if (run.length === 0) break;
      const reading = this.#readRun(run);
      // Only the first one's failure is the caller's; what comes after a later one is left for the next call.
      if (runs.length > 0) reading.catch(() => {});
      runs.push(reading);
      asked.push(run.length);
      next += run.length;
      for (const share of run) bytes += share.length;
    }
    const read: ShareBytes[] = [];
    for (const [i, reading] of runs.entries()) {
      const part = i === 0 ? await reading : await reading.catch(() => []);
      read.push(...part);
      if (part.length < (asked[i] ?? 0)) break;
    }
    return read;
  }

  async #readRun(run: readonly Share[]): Promise<readonly ShareBytes[]> {
    const known = this.#fromCache(run);
    const head = run[0];
    (known.length > 0 ? this.#cells.hits : this.#cells.misses).add(1);
    if (known.length > 0 || head === undefined) return known;
    const flight = `${head.key}@${head.position}+${run.length}`;
    let reading = this.#flights.get(flight);
    if (reading === undefined) {
      reading = this.#reads
        .run(() => this.#fetch(run))
        .finally(() => {
          this.#flights.delete(flight);
        });
      this.#flights.set(flight, reading);
    }
    return reading;
  }

  #fromCache(run: readonly Share[]): readonly ShareBytes[] {
    const found: ShareBytes[] = [];
    for (const share of run) {
      const key = cacheKey(share);
      const cached = this.#cache.get(key);
      if (cached === undefined) break;
      this.#cache.delete(key);
      this.#cache.set(key, cached);
      found.push({ share, bytes: cached.bytes });
    }
    return found;
  }

  async #fetch(run: readonly Share[]): Promise<readonly ShareBytes[]> {
    const head = run[0] as Share;
    const last = run.at(-1) as Share;
    const range = { start: head.position, length: last.position + last.length - head.position };
    let all: Uint8Array;
    try {
      all = await this.#store.get(head.key, range);
      this.#reachability.ok();
    } catch (error) {
      // Only silence is a store out of reach: a missing or damaged object is an answer.
      const kind = StreamHouseError.is(error) ? error.kind : undefined;
      if (kind === "unavailable") this.#reachability.failed();
      // The object ends too early for the last ones, but perhaps not for the first.
      if (kind === "corrupt" && run.length > 1) return this.#fetch([head]);
      throw error;
    }
    const found: ShareBytes[] = [];
    for (const share of run) {
      const from = share.position - head.position;
      const bytes = all.subarray(from, from + share.length);
      try {
        checkShare(share, bytes);
      } catch (error) {
        if (found.length === 0) throw error;
        // What is sound is answered; whoever goes on from there meets the damage first and is told.
        break;
      }
      this.#keep(share, { bytes, charge: Math.ceil(all.buffer.byteLength / run.length) });
      found.push({ share, bytes });
    }
    return found;
  }

  #keep(share: Share, cached: Cached): void {
    if (cached.charge > this.#cacheBytesMax) return;
    const key = cacheKey(share);
    const before = this.#cache.get(key);
    if (before !== undefined) this.#cachedBytes -= before.charge;
    this.#cache.delete(key);
    this.#cache.set(key, cached);
    this.#cachedBytes += cached.charge;
    for (const [oldest, { charge }] of this.#cache) {
      if (this.#cachedBytes <= this.#cacheBytesMax) break;
      this.#cache.delete(oldest);
      this.#cachedBytes -= charge;
    }
  }
}

/** Shares that one read can bring: in one object, forward, close to each other. */
function neighbours(log: PartitionLog, first: number, bytesMax: number): Share[] {
  const run: Share[] = [];
  let bytes = 0;
  for (let i = first; ; i++) {
    const share = log.share(i);
    const before = run.at(-1);
    if (share === undefined) return run;
    if (before !== undefined) {
      const gap = share.position - (before.position + before.length);
      const near = share.key === before.key && gap >= 0 && gap <= GAP_BYTES_MAX;
      if (!near || bytes + share.length > bytesMax) return run;
      bytes += gap;
    }
    run.push(share);
    bytes += share.length;
  }
}

/** The index and the object must mean the same bytes. The batches' checksums are the consumer's to check. */
function checkShare(share: Share, bytes: Uint8Array): void {
  let why: string;
  try {
    const { baseOffset } = readBatchHeader(bytes);
    if (bytes.length === share.length && baseOffset === share.baseOffset) return;
    why = `found ${bytes.length} bytes that begin with offset ${baseOffset}`;
  } catch (error) {
    why = error instanceof Error ? error.message : String(error);
  }
  throw new StreamHouseError({
    code: "CORRUPT_SEGMENT",
    kind: "corrupt",
    message:
      `${share.key} at byte ${share.position}: expected ${share.length} bytes of batches from offset ` +
      `${share.baseOffset}, ${why}: the object is damaged; restore it, or seek past offset ${share.endOffset - 1}`,
  });
}

function cacheKey(share: Share): string {
  return `${share.key}@${share.position}`;
}
