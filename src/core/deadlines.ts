/**
 * Many deadlines, one timer: most of what has a deadline is done long before it, so a timer for each would be set and
 * cleared for nothing. Called where requests wait.
 */
import type { Clock, Timer } from "./clock.ts";

export class Deadlines<T> {
  readonly #clock: Clock;
  readonly #onExpired: (item: T) => void;
  readonly #items = new Map<T, number>();
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  /** `onExpired` is called once for each item whose time is up; it must not throw. */
  constructor(clock: Clock, onExpired: (item: T) => void) {
    this.#clock = clock;
    this.#onExpired = onExpired;
  }

  get size(): number {
    return this.#items.size;
  }

  /** `at` by the monotonic clock. */
  add(item: T, at: number): void {
    this.#items.set(item, at);
    if (at < this.#timerAt) this.#arm(at);
  }

  /** It is done: its deadline no longer matters. */
  remove(item: T): void {
    this.#items.delete(item);
    // The timer stays for the next ones: it is looked at again when it fires.
    if (this.#items.size === 0) this.#disarm();
  }

  /** Forgets everything. */
  clear(): void {
    this.#items.clear();
    this.#disarm();
  }

  #arm(at: number): void {
    this.#timer?.cancel();
    this.#timerAt = at;
    const delay = Math.max(0, Math.ceil(at - this.#clock.monotonic()));
    this.#timer = this.#clock.schedule(delay, () => this.#fire(), { background: true });
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  #fire(): void {
    this.#disarm();
    const now = this.#clock.monotonic();
    const expired: T[] = [];
    let next = Number.POSITIVE_INFINITY;
    for (const [item, at] of this.#items) {
      if (at <= now) expired.push(item);
      else next = Math.min(next, at);
    }
    for (const item of expired) this.#items.delete(item);
    if (next < Number.POSITIVE_INFINITY) this.#arm(next);
    for (const item of expired) this.#onExpired(item);
  }
}
