/**
 * A decorator that tries again what failed for the moment: with growing pauses, no sooner than the store asks for, until a deadline over
 * all attempts. Order, from the outside in: caching, this, instrumented, the store itself, so that what a cache answers is no attempt
 * and each attempt is measured. For remote stores only: what a disk refuses it refuses again. Put in by the agent.
 *
 * Trying again is safe because nothing is overwritten: a `put` whose first answer was lost ends as `OBJECT_EXISTS` with outcome
 * `unknown`, and its caller (who alone writes that key) looks whether the object is its own.
 */
import { type Clock, sleep } from "../core/clock.ts";
import { asStreamHouseError, type ErrorOutcome, StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import { type Backoff, backoffMs } from "../core/retry.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { MetricRegistry } from "../telemetry/cells.ts";
import type { ByteRange, ObjectInfo, ObjectStore } from "./object-store.ts";
import { abortedError } from "./store-errors.ts";

export interface RetryingComponents {
  readonly store: ObjectStore;
  readonly clock: Clock;
  /** For the jitter of the pauses. */
  readonly random: RandomBytes;
  /** Counts `streamhouse.store.retries`. Default: nothing is counted. */
  readonly metrics?: MetricRegistry | undefined;
}

export interface RetryingOptions {
  /** From the beginning of an operation (of a listing: from its last object) no attempt begins later, and none goes on. Default 30,000 ms. */
  readonly deadlineMs?: number | undefined;
  /** Default: 50 ms, doubled up to 2,000 ms. */
  readonly backoff?: Backoff | undefined;
}

const BACKOFF: Backoff = { baseMs: 50, maxMs: 2_000 };
const DEADLINE_MS = 30_000;

type Operation = "put" | "get" | "head" | "list" | "delete";

/** The same store, tried again. What it throws is the last attempt's error, with the outcome of all of them. */
export function createRetryingStore(
  components: RetryingComponents,
  options: RetryingOptions = {},
): ObjectStore {
  return new RetryingStore(components, options);
}

class RetryingStore implements ObjectStore {
  readonly kind: string;
  readonly remote: boolean | undefined;
  readonly #parts: RetryingComponents;
  readonly #store: ObjectStore;
  readonly #deadlineMs: number;
  readonly #backoff: Backoff;

  constructor(components: RetryingComponents, options: RetryingOptions) {
    this.#parts = components;
    this.#store = components.store;
    this.kind = this.#store.kind;
    this.remote = this.#store.remote;
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS;
    this.#backoff = options.backoff ?? BACKOFF;
  }

  put(key: string, parts: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
    return this.#run("put", signal, (bounded) => this.#store.put(key, parts, bounded));
  }

  get(key: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#run("get", signal, (bounded) => this.#store.get(key, range, bounded));
  }

  head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    return this.#run("head", signal, (bounded) => this.#store.head(key, bounded));
  }

  delete(keys: readonly string[], signal?: AbortSignal): Promise<void> {
    return this.#run("delete", signal, (bounded) => this.#store.delete(keys, bounded));
  }

  /** Goes on behind the last object that was seen. */
  async *list(
    prefix: string,
    startAfter?: string,
    signal?: AbortSignal,
  ): AsyncGenerator<ObjectInfo, void, undefined> {
    let last = startAfter;
    let tries: Tries | undefined = this.#begin("list", signal);
    for (;;) {
      try {
        for await (const info of this.#store.list(prefix, last, signal)) {
          last = info.key;
          tries = undefined;
          yield info;
        }
        return;
      } catch (error) {
        tries ??= this.#begin("list", signal);
        await tries.failed(error);
      }
    }
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  #begin(operation: Operation, signal: AbortSignal | undefined): Tries {
    const until = this.#parts.clock.monotonic() + this.#deadlineMs;
    return new Tries(this.#parts, { operation, signal, until, backoff: this.#backoff });
  }

  async #run<T>(
    operation: Operation,
    signal: AbortSignal | undefined,
    work: (bounded: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const tries = this.#begin(operation, signal);
    const bounded = new AbortController();
    const onAbort = () => bounded.abort(signal?.reason);
    if (signal?.aborted) onAbort();
    signal?.addEventListener("abort", onAbort, { once: true });
    const timer = this.#parts.clock.schedule(
      this.#deadlineMs,
      () => bounded.abort(tooLate(operation, this.#deadlineMs)),
      { background: true },
    );
    try {
      for (;;) {
        try {
          return await work(bounded.signal);
        } catch (error) {
          await tries.failed(error);
        }
      }
    } finally {
      timer.cancel();
      signal?.removeEventListener("abort", onAbort);
    }
  }
}

interface TriesOf {
  readonly operation: Operation;
  readonly signal: AbortSignal | undefined;
  readonly until: number;
  readonly backoff: Backoff;
}

/** The attempts of one operation. */
class Tries {
  readonly #parts: RetryingComponents;
  readonly #of: TriesOf;
  #count = 0;
  /** Of all attempts so far: one that may have been applied stays in doubt whatever the later ones say. */
  #outcome: ErrorOutcome = "none";

  constructor(parts: RetryingComponents, of: TriesOf) {
    this.#parts = parts;
    this.#of = of;
  }

  /** Resolves when it is time for another attempt. @throws StreamHouseError if there is none */
  async failed(thrown: unknown): Promise<void> {
    const { operation, signal, until, backoff } = this.#of;
    const { clock, random, metrics } = this.#parts;
    const error = asStreamHouseError(thrown, `${operation} of the object store`);
    if (error.outcome === "unknown") this.#outcome = "unknown";
    this.#count++;
    const pause = Math.max(backoffMs(backoff, this.#count, random), error.retryAfterMs ?? 0);
    const over = signal?.aborted === true || clock.monotonic() + pause >= until;
    if (over || !isPassing(error)) throw withOutcome(error, this.#outcome);
    metrics?.counter(catalogue.storeRetries, { operation, outcome: error.code }).add(1);
    try {
      await sleep(clock, pause, signal);
    } catch {
      const writes = this.#outcome === "unknown";
      throw abortedError(signal, { doing: `${operation} between two attempts`, writes });
    }
  }
}

/** It can be over at the next attempt. A full store cannot, nor what an operator has to mend. */
function isPassing({ code, kind, retriable }: StreamHouseError): boolean {
  return kind === "unavailable" && retriable && code !== "STORE_FULL";
}

function withOutcome(error: StreamHouseError, outcome: ErrorOutcome): StreamHouseError {
  if (error.outcome === outcome) return error;
  const { code, kind, message, retriable, retryAfterMs, field } = error;
  return new StreamHouseError({
    ...{ code, kind, message, retriable, retryAfterMs, field, outcome },
    cause: error,
  });
}

function tooLate(operation: Operation, deadlineMs: number): StreamHouseError {
  return new StreamHouseError({
    code: "STORE_UNAVAILABLE",
    kind: "unavailable",
    outcome: operation === "put" || operation === "delete" ? "unknown" : "none",
    message: `${operation} of the object store was not done within ${deadlineMs} ms: look at the store and the network`,
  });
}
