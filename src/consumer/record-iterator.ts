/**
 * `for await (const record of consumer)`: hands out decoded records without waiting where it can, since a promise chain for each
 * record would cost more than the record. Leaving the loop by `break` or a throw leaves the current record unfinished.
 */
import type { ConsumerRecord } from "../core/record.ts";
import type { Reader } from "./reader.ts";

export interface IterationStart {
  readonly reader: Reader;
  /** Joins the group if that was not done yet. */
  readonly ready: () => Promise<void>;
  readonly signal: AbortSignal | undefined;
}

export class RecordIterator implements AsyncIterableIterator<ConsumerRecord, undefined> {
  readonly #reader: Reader;
  readonly #start: IterationStart;
  #release: (() => void) | undefined;
  #ended = false;

  constructor(start: IterationStart) {
    this.#reader = start.reader;
    this.#start = start;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<ConsumerRecord, undefined> {
    return this;
  }

  next(): Promise<IteratorResult<ConsumerRecord, undefined>> {
    const delivery = this.#reader.current;
    if (delivery === undefined || this.#release === undefined || this.#ended) return this.#wait();
    delivery.finish();
    return Promise.resolve({ done: false, value: delivery.next() });
  }

  /** The loop was left early. */
  return(): Promise<IteratorResult<ConsumerRecord, undefined>> {
    if (!this.#ended) {
      this.#reader.putBackLast();
      this.#end();
    }
    return Promise.resolve({ done: true, value: undefined });
  }

  async #wait(): Promise<IteratorResult<ConsumerRecord, undefined>> {
    if (this.#ended) return { done: true, value: undefined };
    this.#release ??= this.#reader.begin("for await");
    try {
      await this.#start.ready();
      this.#reader.finish();
      const delivery = await this.#reader.next(Number.POSITIVE_INFINITY, this.#start.signal);
      if (delivery !== undefined) return { done: false, value: delivery.next() };
    } catch (error) {
      this.#end();
      throw error;
    }
    this.#end();
    return { done: true, value: undefined };
  }

  #end(): void {
    this.#ended = true;
    this.#release?.();
  }
}
