/**
 * The producer's one timer: it rings at the earliest of the moments asked for. Lingering batches, retries and deadlines share it,
 * so that the number of timers does not grow with partitions.
 */
import type { Clock, Timer } from "../core/clock.ts";

export class Alarm {
  readonly #clock: Clock;
  readonly #ring: () => void;
  #timer: Timer | undefined;
  #at = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, ring: () => void) {
    this.#clock = clock;
    this.#ring = ring;
  }

  /** Rings at `at` (monotonic ms) at the latest; whoever asked asks again if it rang too early for him. */
  ringAt(at: number): void {
    if (at >= this.#at) return;
    this.#timer?.cancel();
    this.#at = at;
    const delayMs = Math.max(0, at - this.#clock.monotonic());
    this.#timer = this.#clock.schedule(Math.ceil(delayMs), () => {
      this.#timer = undefined;
      this.#at = Number.POSITIVE_INFINITY;
      this.#ring();
    });
  }

  /** Nothing is left to wait for: a timer that goes on would keep the process alive. */
  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#at = Number.POSITIVE_INFINITY;
  }
}
