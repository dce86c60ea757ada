/** Since when a store has not answered, for readiness. Told by whoever calls it. */
import type { Clock } from "../core/clock.ts";

export class Reachability {
  readonly #clock: Clock;
  #downSince: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ok(): void {
    this.#downSince = undefined;
  }

  failed(): void {
    this.#downSince ??= this.#clock.monotonic();
  }

  /** 0 while it answers. */
  get downForMs(): number {
    return this.#downSince === undefined ? 0 : this.#clock.monotonic() - this.#downSince;
  }

  /** Passes an answer on and notes how it went. */
  async watch<T>(answer: Promise<T>): Promise<T> {
    try {
      const value = await answer;
      this.ok();
      return value;
    } catch (error) {
      this.failed();
      throw error;
    }
  }
}
