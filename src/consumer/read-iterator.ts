/**
 * `for await` over records or batches: hands out what is decoded without waiting where it can, since a promise chain for each record
 * would cost more than the record. Leaving the loop by `break` or a throw leaves what is in hand unfinished. Made by
 * `consumer-rooms.ts`.
 */
import type { Delivery } from "./delivery.ts";
import type { Reader } from "./reader.ts";

export interface IterationStart<T> {
  /** For the error message of a second reader. */
  readonly what: string;
  readonly reader: Reader;
  /** Joins the group if that was not done yet. @throws StreamHouseError */
  readonly ready: (signal: AbortSignal) => Promise<void>;
  /** Runs a wait for the next delivery; measures it. */
  readonly receive: (wait: () => Promise<Delivery | undefined>) => Promise<Delivery | undefined>;
  /** Takes the next thing out of a delivery that has one. */
  readonly give: (delivery: Delivery) => T;
  readonly signal: AbortSignal | undefined;
}

export class ReadIterator<T> implements AsyncIterableIterator<T, undefined> {
  readonly #start: IterationStart<T>;
  readonly #reader: Reader;
  /** Ends the wait that is under way: by the caller's signal, or because the loop was left. */
  readonly #abort = new AbortController();
  readonly #onAbort = (): void => this.#aborted();
  #release: (() => void) | undefined;
  /** The newest wait, and how many are under way: a later call comes after the earlier ones. */
  #waiting: Promise<unknown> = Promise.resolve();
  #waits = 0;
  #ended = false;
  #interrupted = false;

  constructor(start: IterationStart<T>) {
    this.#start = start;
    this.#reader = start.reader;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined> {
    return this;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const delivery = this.#reader.current;
    const short = this.#release !== undefined && this.#waits === 0 && !this.#interrupted;
    if (delivery === undefined || !short) {
      const turn = this.#wait(this.#waits > 0 ? this.#waiting : undefined);
      this.#waiting = turn;
      return turn;
    }
    delivery.finish();
    return Promise.resolve({ done: false, value: this.#start.give(delivery) });
  }

  /** The loop was left early. */
  async return(): Promise<IteratorResult<T, undefined>> {
    if (!this.#ended) {
      this.#ended = true;
      this.#abort.abort();
      await this.#waiting.catch(() => {});
      this.#reader.putBack();
      this.#end();
    }
    return { done: true, value: undefined };
  }

  async #wait(before: Promise<unknown> | undefined): Promise<IteratorResult<T, undefined>> {
    this.#waits++;
    try {
      // Without an earlier one no turn is given away: a loop has begun when its first record was asked for.
      if (before !== undefined) await before.catch(() => {});
      let delivery = this.#ended ? undefined : await this.#ask();
      // Its partition may have been sought, paused or taken away since it was there.
      while (delivery !== undefined && !this.#ended && delivery !== this.#reader.current) {
        delivery = await this.#ask();
      }
      if (delivery !== undefined && !this.#ended) {
        return { done: false, value: this.#start.give(delivery) };
      }
      this.#end();
      return { done: true, value: undefined };
    } finally {
      // Before the promise is settled: the next call may already take the short way.
      this.#waits--;
    }
  }

  /** Undefined when the loop was left, or the consumer closed. */
  async #ask(): Promise<Delivery | undefined> {
    const { signal } = this.#abort;
    try {
      if (this.#release === undefined) this.#begin();
      else if (this.#reader.closed) {
        this.#reader.finish();
        return undefined;
      }
      await this.#start.ready(signal);
      this.#reader.finish();
      const wait = () => this.#reader.next(Number.POSITIVE_INFINITY, signal);
      return await this.#start.receive(wait);
    } catch (error) {
      // A loop ends by itself when its consumer is closed; only beginning one is refused then.
      if (this.#ended || (this.#reader.closed && this.#release !== undefined)) return undefined;
      this.#end();
      throw error;
    }
  }

  #aborted(): void {
    this.#interrupted = true;
    this.#abort.abort(this.#start.signal?.reason);
  }

  #begin(): void {
    this.#release = this.#reader.begin(this.#start.what);
    const { signal } = this.#start;
    if (signal?.aborted) this.#onAbort();
    else signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  #end(): void {
    this.#ended = true;
    this.#start.signal?.removeEventListener("abort", this.#onAbort);
    this.#release?.();
    this.#release = undefined;
  }
}
