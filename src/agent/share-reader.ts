/**
 * Committed shares from the store, through its cache: one read for neighbours in one object, several objects at once where each flush is
 * an object of its own, and no share answered that the index does not mean. Called by fetcher and list-offsets.
 */
import { StreamHouseError } from "../core/errors.ts";
import { readBatchHeader } from "../format/batch-header.ts";
import type { ChunkLocation } from "../format/chunk.ts";
import type { CachingStore, Wanted } from "../storage/caching.ts";
import type { ByteRange } from "../storage/object-store.ts";
import type { PartitionLog, Share } from "./partition-log.ts";

/** A share's bytes: whole batches. */
export interface ShareBytes {
  readonly share: Share;
  readonly bytes: Uint8Array;
}

export interface ReadOptions {
  /** `more`: other partitions' shares of the same flushes are wanted by the same caller. Default `this`. */
  readonly wanted?: Wanted | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Bytes of others between two shares that are read along rather than asked for apart. */
const GAP_BYTES_MAX = 65_536;

/** Objects that one call reads at once: where each flush is an object of its own, a backlog has many small ones. */
const RUNS_MAX = 16;

export class ShareReader {
  readonly #store: CachingStore;

  constructor(store: CachingStore) {
    this.#store = store;
  }

  /**
   * Share `first` of the log and those that follow, up to about `bytesMax`, in order and without a hole; at least the first.
   * @throws StreamHouseError `OBJECT_NOT_FOUND`, `STORE_UNAVAILABLE`, `CORRUPT_SEGMENT`, `ABORTED`
   */
  async read(
    log: PartitionLog,
    first: number,
    bytesMax: number,
    options: ReadOptions = {},
  ): Promise<readonly ShareBytes[]> {
    const runs: Promise<readonly ShareBytes[]>[] = [];
    const asked: number[] = [];
    let bytes = 0;
    for (let next = first; bytes < bytesMax && runs.length < RUNS_MAX; ) {
      const run = neighbours(log, next, bytesMax - bytes);
      const last = run.at(-1);
      if (last === undefined) break;
      next += run.length;
      // What lies behind it in the same chunk is this partition's too, and is read next.
      const after = log.share(next);
      const goesOn = after !== undefined && isSame(after.within, last.within);
      const reading = this.#readRun(run, goesOn ? { ...options, wanted: "more" } : options);
      // Only the first one's failure is the caller's; what comes after a later one is left for the next call.
      if (runs.length > 0) reading.catch(() => {});
      runs.push(reading);
      asked.push(run.length);
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

  async #readRun(run: readonly Share[], options: ReadOptions): Promise<readonly ShareBytes[]> {
    const head = run[0] as Share;
    const range = rangeOf(run);
    // What is there is answered at once, be it only the first of them.
    const known = this.#store.cached(head.key, range, head.length);
    if (known.length > 0) return sound(run, known);
    try {
      return sound(run, await this.#load(run, range, options));
    } catch (error) {
      // The object ends too early for the last ones, but perhaps not for the first.
      if (run.length > 1 && isCorrupt(error)) return this.#readRun([head], options);
      throw error;
    }
  }

  #load(
    run: readonly Share[],
    range: ByteRange,
    { wanted = "this", signal }: ReadOptions,
  ): Promise<Uint8Array> {
    const head = run[0] as Share;
    const last = run.at(-1) as Share;
    const single = isSame(head.within, last.within);
    // On a folder flushes lie behind each other in one file: the range has parts of several.
    if (!single) return this.#store.get(head.key, range, signal);
    return this.#store.read(head.within, range, wanted, signal);
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

function rangeOf(run: readonly Share[]): ByteRange {
  const head = run[0] as Share;
  const last = run.at(-1) as Share;
  return { start: head.position, length: last.position + last.length - head.position };
}

/** The shares that are whole in `bytes` and are what the index means, up to the first that is not. @throws `CORRUPT_SEGMENT` for the first */
function sound(run: readonly Share[], bytes: Uint8Array): readonly ShareBytes[] {
  const start = (run[0] as Share).position;
  const found: ShareBytes[] = [];
  for (const share of run) {
    const from = share.position - start;
    // No more of them was in memory.
    if (found.length > 0 && from + share.length > bytes.length) break;
    const own = bytes.subarray(from, from + share.length);
    try {
      checkShare(share, own);
    } catch (error) {
      if (found.length === 0) throw error;
      // What is sound is answered; whoever goes on from there meets the damage first and is told.
      break;
    }
    found.push({ share, bytes: own });
  }
  return found;
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

function isSame(a: ChunkLocation, b: ChunkLocation): boolean {
  return a === b || (a.key === b.key && a.position === b.position && a.length === b.length);
}

function isCorrupt(error: unknown): boolean {
  return StreamHouseError.is(error) && error.kind === "corrupt";
}
