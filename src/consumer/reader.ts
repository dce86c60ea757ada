/**
 * The reading side: takes fetched batches, decodes them one at a time, and hands them on, or waits. `poll` and the iterators are
 * made from it. It allows one reader at a time, and tells each failure to whoever reads next.
 */
import type { Clock } from "../core/clock.ts";
import { closed, invalid, StreamHouseError } from "../core/errors.ts";
import type { Cursor } from "./cursor.ts";
import { Delivery } from "./delivery.ts";
import { decodeFetched, type FetchedQueue } from "./fetched.ts";

export interface ReaderComponents {
  readonly queue: FetchedQueue;
  readonly clock: Clock;
  readonly cursors: () => Iterable<Cursor>;
  /** The queue has room again. */
  readonly onTaken: () => void;
}

/** Failures that nobody has read yet; later ones are dropped, the first say most. */
const FAILURES_MAX = 100;

/** A reader that waits keeps the process alive by a timer, looked at this often, ms. */
const WAIT_MS = 60_000;

export class Reader {
  readonly #parts: ReaderComponents;
  readonly #checkCrc: boolean;
  #current: Delivery | undefined;
  /** Begun deliveries of partitions that were paused meanwhile. */
  #parked: Delivery[] = [];
  #failures: unknown[] = [];
  #reading: string | undefined;
  #closed = false;

  constructor(parts: ReaderComponents, options: { readonly checkCrcs: boolean }) {
    this.#parts = parts;
    this.#checkCrc = options.checkCrcs;
  }

  /** The delivery that the application is in, if there is something left to give out in it. */
  get current(): Delivery | undefined {
    const delivery = this.#current;
    if (delivery === undefined || delivery.exhausted || !delivery.valid) return undefined;
    return delivery.cursor.paused ? undefined : delivery;
  }

  /** @throws StreamHouseError `INVALID_ARGUMENT` if something else is reading, `CLOSED` */
  begin(what: string): () => void {
    if (this.#closed) throw closed("this consumer");
    if (this.#reading !== undefined) {
      throw invalid(
        "INVALID_ARGUMENT",
        `${what} cannot begin: this consumer is being read by ${this.#reading}; a consumer has one reader at a time`,
      );
    }
    this.#reading = what;
    return () => {
      this.#reading = undefined;
    };
  }

  /** To be told to whoever reads next. */
  fail(error: unknown): void {
    if (this.#failures.length < FAILURES_MAX) this.#failures.push(error);
    this.#parts.queue.wake();
  }

  /** Waiting readers end. */
  close(): void {
    this.#closed = true;
    this.#settle();
    this.#parts.queue.wake();
  }

  /** What was given out so far is finished, and counted. */
  finish(): void {
    this.#current?.finish();
    this.#current?.count();
  }

  /** Counts what was given out, without finishing it. For collections of metrics. */
  count(): void {
    this.#current?.count();
  }

  /** The record given out last was not finished. */
  putBackLast(): void {
    this.#current?.count();
    this.#current?.putBackLast();
  }

  /**
   * A delivery with something to give out: the current one, or the next. Undefined when `until` (by the monotonic clock) has passed
   * or the consumer was closed.
   * @throws what the application has to know: a corrupt batch, an offset out of range, a listener's error; `ABORTED`
   */
  async next(until: number, signal: AbortSignal | undefined): Promise<Delivery | undefined> {
    for (;;) {
      if (signal?.aborted) throw aborted(signal);
      if (this.#closed) return undefined;
      const delivery = this.current ?? this.#unpark() ?? (await this.#decodeNext());
      if (delivery !== undefined) {
        this.#current = delivery;
        return delivery;
      }
      this.#throwFailure();
      const now = this.#parts.clock.monotonic();
      if (now >= until) return undefined;
      await this.#wait(Math.min(until - now, WAIT_MS), signal);
    }
  }

  #unpark(): Delivery | undefined {
    this.#settle();
    const at = this.#parked.findIndex((it) => !it.cursor.paused || !it.valid);
    if (at < 0) return undefined;
    const [delivery] = this.#parked.splice(at, 1);
    return delivery?.valid ? delivery : this.#unpark();
  }

  /** Lets go of the current delivery; what is left of a paused one is kept. */
  #settle(): void {
    const delivery = this.#current;
    if (delivery === undefined) return;
    delivery.count();
    this.#current = undefined;
    if (delivery.valid && !delivery.exhausted) this.#parked.push(delivery);
  }

  async #decodeNext(): Promise<Delivery | undefined> {
    for (;;) {
      const fetched = this.#parts.queue.take();
      if (fetched === undefined) return undefined;
      this.#parts.onTaken();
      try {
        const decoded = decodeFetched(fetched, this.#checkCrc);
        const records = Array.isArray(decoded) ? decoded : await decoded;
        const delivery = new Delivery(fetched, records);
        if (delivery.valid && records.length > 0) return delivery;
      } catch (error) {
        if (fetched.generation !== fetched.cursor.generation) continue;
        fetched.cursor.fail(fetched.fromOffset, error as StreamHouseError);
        throw error;
      }
    }
  }

  #throwFailure(): void {
    if (this.#failures.length > 0) throw this.#failures.shift();
    // A partition that cannot be read is said each time that nothing else is there, until a seek.
    for (const cursor of this.#parts.cursors()) {
      if (cursor.failure !== undefined) throw cursor.failure;
    }
  }

  #wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        forget();
        timer.cancel();
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const forget = this.#parts.queue.onChange(done);
      const timer = this.#parts.clock.schedule(ms, done);
      signal?.addEventListener("abort", done, { once: true });
    });
  }
}

function aborted(signal: AbortSignal): StreamHouseError {
  return new StreamHouseError({
    code: "ABORTED",
    kind: "closed",
    message: "reading was aborted by its signal; the consumer can be read again",
    cause: signal.reason,
  });
}
