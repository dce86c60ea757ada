/**
 * One object for each chunk, over any object store. The key names run and flush sequence, so a key that is taken can only be our own
 * earlier attempt whose answer was lost: it counts as success if length and checksum agree. A put that is slow is hedged: a second
 * one begins under a key of its own, the first to succeed wins, and what becomes of the other is the sweeper's. Called by the flusher.
 */
import type { Clock } from "../core/clock.ts";
import { closed, StreamHouseError } from "../core/errors.ts";
import type { ChunkLocation } from "../format/chunk.ts";
import { segmentKey } from "../format/keys.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { MetricRegistry } from "../telemetry/cells.ts";
import type { ObjectStore } from "./object-store.ts";
import { holdsExactly } from "./own-object.ts";
import { lengthOf } from "./parts.ts";
import type { FlushName, SegmentSink } from "./segment-sink.ts";
import { checkSignal } from "./store-errors.ts";

/** The store that chunks are put into. */
export interface ObjectSinkComponents {
  /** Stays open when the sink is closed. */
  readonly store: ObjectStore;
  readonly clock: Clock;
  /** Counts `streamhouse.store.hedges`. Default: nothing is counted. */
  readonly metrics?: MetricRegistry | undefined;
}

export interface ObjectSinkOptions {
  /** Appends that the caller may have under way at once. Default 4. */
  readonly concurrency?: number | undefined;
  /** In front of every key. Default: nothing. */
  readonly prefix?: string | undefined;
  /** A put that takes longer is begun a second time. Default: 1,000 ms where the store is remote, otherwise never. */
  readonly hedgeAfterMs?: number | undefined;
}

const HEDGE_AFTER_MS = 1_000;

/** A sink that puts each chunk as an object of its own, for stores without append. */
export function createObjectSink(
  components: ObjectSinkComponents,
  options: ObjectSinkOptions = {},
): SegmentSink {
  return new ObjectSink(components, options, {
    underWay: new Set(),
    hedging: false,
    closed: false,
  });
}

/** What a sink shares with those made of it by `through`. */
interface SinkLife {
  readonly underWay: Set<Promise<unknown>>;
  /** One at a time: a store that is slow for everything must not be given twice the work. */
  hedging: boolean;
  closed: boolean;
}

class ObjectSink implements SegmentSink {
  readonly concurrency: number;
  readonly #parts: ObjectSinkComponents;
  readonly #prefix: string;
  readonly #hedgeAfterMs: number | undefined;
  readonly #options: ObjectSinkOptions;
  readonly #life: SinkLife;

  constructor(components: ObjectSinkComponents, options: ObjectSinkOptions, life: SinkLife) {
    this.#parts = components;
    this.#options = options;
    this.#life = life;
    this.#prefix = options.prefix ?? "";
    this.concurrency = options.concurrency ?? 4;
    const fallback = components.store.remote === true ? HEDGE_AFTER_MS : undefined;
    this.#hedgeAfterMs = options.hedgeAfterMs ?? fallback;
  }

  async append(
    parts: readonly Uint8Array[],
    flush: FlushName,
    signal?: AbortSignal,
  ): Promise<ChunkLocation> {
    if (this.#life.closed) throw closed("this segment sink");
    checkSignal(signal, "append of a chunk");
    const now = this.#parts.clock.now();
    const put = new HedgedPut((attempt, ended) => {
      const key = segmentKey(this.#prefix, now, flush.runId, flush.sequence, attempt);
      return this.#track(this.#put(key, parts, ended));
    });
    const timer =
      this.#hedgeAfterMs === undefined
        ? undefined
        : this.#parts.clock.schedule(this.#hedgeAfterMs, () => this.#hedge(put), {
            background: true,
          });
    const onAbort = () => {
      timer?.cancel();
      put.abort(signal?.reason);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      const key = await this.#track(put.begin());
      return { key, position: 0, length: lengthOf(parts) };
    } finally {
      timer?.cancel();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  through(around: (store: ObjectStore) => ObjectStore, metrics: MetricRegistry): SegmentSink {
    const { clock, store } = this.#parts;
    return new ObjectSink({ store: around(store), clock, metrics }, this.#options, this.#life);
  }

  async close(): Promise<void> {
    this.#life.closed = true;
    await Promise.allSettled(this.#life.underWay);
  }

  #hedge(put: HedgedPut): void {
    if (this.#life.hedging) return;
    this.#life.hedging = true;
    void this.#track(put.hedge()).then((outcome) => {
      this.#life.hedging = false;
      this.#parts.metrics?.counter(catalogue.storeHedges, { outcome }).add(1);
    });
  }

  /** Answers the key. */
  async #put(
    key: string,
    parts: readonly Uint8Array[],
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const { store } = this.#parts;
    try {
      await store.put(key, parts, signal);
    } catch (error) {
      const taken = StreamHouseError.is(error) && error.code === "OBJECT_EXISTS";
      if (!taken || !(await holdsExactly(store, key, parts, signal))) throw error;
    }
    return key;
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#life.underWay.add(work);
    const done = () => void this.#life.underWay.delete(work);
    work.then(done, done);
    return work;
  }
}

/** Which put ended first with success. */
type HedgeOutcome = "first" | "second" | "failed";

/** One or two puts of the same chunk. It rejects only when none of them runs any more, so that the chunk's bytes are free again. */
class HedgedPut {
  readonly #start: (attempt: 1 | 2, ended: AbortSignal) => Promise<string>;
  readonly #answer = Promise.withResolvers<string>();
  readonly #ends: AbortController[] = [];
  readonly #failures: unknown[] = [];
  #winner: HedgeOutcome | undefined;

  constructor(start: (attempt: 1 | 2, ended: AbortSignal) => Promise<string>) {
    this.#start = start;
  }

  begin(): Promise<string> {
    void this.#run(1);
    return this.#answer.promise;
  }

  /** Begins the second one. Resolves when that has ended. */
  async hedge(): Promise<HedgeOutcome> {
    await this.#run(2);
    await this.#answer.promise.catch(() => {});
    return this.#winner ?? "failed";
  }

  abort(reason: unknown): void {
    for (const end of this.#ends) end.abort(reason);
  }

  async #run(attempt: 1 | 2): Promise<void> {
    const end = new AbortController();
    this.#ends.push(end);
    try {
      const key = await this.#start(attempt, end.signal);
      if (this.#winner !== undefined) return;
      this.#winner = attempt === 1 ? "first" : "second";
      this.#answer.resolve(key);
      for (const other of this.#ends) if (other !== end) other.abort();
    } catch (error) {
      this.#failures.push(error);
      if (this.#failures.length === this.#ends.length) this.#answer.reject(this.#worst());
    }
  }

  /** What may have been applied weighs more; otherwise the first failure says most. */
  #worst(): unknown {
    const isOpen = (it: unknown) => StreamHouseError.is(it) && it.outcome === "unknown";
    return this.#failures.find(isOpen) ?? this.#failures[0];
  }
}
