/**
 * Whether the application comes back to read: a member that is alive but does not would keep its partitions for ever, and nobody would read
 * them. An application that waits for records is alive, however long it waits. Called by `membership.ts`.
 */
import type { Clock, Timer } from "../core/clock.ts";

export interface PollGuardComponents {
  readonly clock: Clock;
  /** While a run goes on: when its oldest call of a handler began, or now. Undefined while nothing runs. */
  readonly runningSince: () => number | undefined;
  /** It did not come back in time. Called once; `start` watches again. */
  readonly onLate: () => void;
}

export class PollGuard {
  readonly #parts: PollGuardComponents;
  readonly #maxPollIntervalMs: number;
  #timer: Timer | undefined;
  /** Reads that are waiting now. */
  #reading = 0;
  /** When the application was last seen, by the monotonic clock. */
  #seenAt = 0;

  constructor(parts: PollGuardComponents, maxPollIntervalMs: number) {
    this.#parts = parts;
    this.#maxPollIntervalMs = maxPollIntervalMs;
  }

  /** Watches from now on. */
  start(): void {
    this.#seenAt = this.#parts.clock.monotonic();
    this.#lookIn(this.#maxPollIntervalMs);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** The application asked for something, or shows otherwise that it makes progress. */
  seen(at: number = this.#parts.clock.monotonic()): void {
    this.#seenAt = at;
  }

  /** Runs a read: while it waits, the application is alive. */
  async reading<T>(read: () => Promise<T>): Promise<T> {
    this.#reading++;
    this.seen();
    try {
      return await read();
    } finally {
      this.#reading--;
      this.seen();
    }
  }

  #lookIn(ms: number): void {
    this.stop();
    this.#timer = this.#parts.clock.schedule(ms, () => this.#look(), { background: true });
  }

  #look(): void {
    // A run waits for records while a handler hangs, and is handed others: only its oldest call tells.
    const runningSince = this.#parts.runningSince();
    if (runningSince !== undefined) this.seen(runningSince);
    else if (this.#reading > 0) this.seen();
    const left = this.#seenAt + this.#maxPollIntervalMs - this.#parts.clock.monotonic();
    if (left > 0) {
      this.#lookIn(left);
      return;
    }
    this.stop();
    this.#parts.onLate();
  }
}
