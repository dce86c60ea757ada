/**
 * Lets the event loop run between slices of work, so that a scrape of any size holds nobody up. Called by the serializer, which
 * asks after each chunk, and by whoever collects.
 */
import type { Clock } from "../core/clock.ts";

/** Work between two rests. METRICS rule 8 allows pauses of 15 ms: a slice that began just before a long chunk still fits. */
const sliceMs = 4;

/** Work that is followed by other work with a pace of its own. */
const partMs = 1;

export class Pace {
  readonly #clock: Clock;
  #startedAt: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedAt = clock.monotonic();
  }

  /** Undefined while the slice has time left; otherwise resolves when the event loop had its turn. */
  rest(): Promise<void> | undefined {
    return this.#restAfter(sliceMs);
  }

  /** The same where this work ends and other work begins: two slices must not become one. */
  handOver(): Promise<void> | undefined {
    return this.#restAfter(partMs);
  }

  #restAfter(workMs: number): Promise<void> | undefined {
    if (this.#clock.monotonic() - this.#startedAt < workMs) return undefined;
    return new Promise((resolve) => {
      this.#clock.schedule(0, () => {
        this.#startedAt = this.#clock.monotonic();
        resolve();
      });
    });
  }
}
