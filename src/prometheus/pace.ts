/**
 * Lets the event loop run between slices of work, so that a scrape of any size holds nobody up. Called by the serializer, which
 * asks after each chunk.
 */
import type { Clock } from "../core/clock.ts";

/** Work between two rests. METRICS rule 8 allows pauses of 15 ms: a slice that began just before a long chunk still fits. */
const sliceMs = 4;

export class Pace {
  readonly #clock: Clock;
  #startedAt: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedAt = clock.monotonic();
  }

  /** Undefined while the slice has time left; otherwise resolves when the event loop had its turn. */
  rest(): Promise<void> | undefined {
    if (this.#clock.monotonic() - this.#startedAt < sliceMs) return undefined;
    return new Promise((resolve) => {
      this.#clock.schedule(0, () => {
        this.#startedAt = this.#clock.monotonic();
        resolve();
      });
    });
  }
}
