/** A clock that stands still until a test moves it. For tests and simulations of everything that takes a `Clock`. */
import { type Clock, systemClock, type Timer } from "../core/clock.ts";

interface Scheduled {
  readonly at: number;
  readonly order: number;
  readonly fn: () => void;
}

/** When a manual clock begins. */
export interface ManualClockOptions {
  /** Wall clock at the beginning, ms since 1970. Default 1,700,000,000,000. */
  readonly startMs?: number | undefined;
}

/** How long `until` waits in real time while no timer is due. */
const IDLE_MS_MAX = 10_000;

/** A clock that stands still until a test moves it; timers ring in order as it passes them. */
export class ManualClock implements Clock {
  readonly #startMs: number;
  readonly #timers = new Set<Scheduled>();
  #elapsed = 0;
  #order = 0;
  #jumped = 0;

  constructor(options: ManualClockOptions = {}) {
    this.#startMs = options.startMs ?? 1_700_000_000_000;
  }

  now(): number {
    return this.#startMs + Math.floor(this.#elapsed) + this.#jumped;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  schedule(delayMs: number, fn: () => void): Timer {
    const timer = { at: this.#elapsed + Math.max(0, delayMs), order: this.#order++, fn };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  /** Timers that are set. A component that was closed has left none. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves the wall clock alone, as an operator or NTP does. */
  jump(ms: number): void {
    this.#jumped += ms;
  }

  /** Moves time on and fires the timers on the way, in order. Promises they resolve continue after the call. */
  advance(ms: number): void {
    const until = this.#elapsed + ms;
    for (let next = this.#next(until); next !== undefined; next = this.#next(until)) {
      this.#fire(next);
    }
    this.#elapsed = until;
  }

  /** As `advance`, but lets what each timer started go on before the next one fires. */
  async run(ms: number): Promise<void> {
    const until = this.#elapsed + ms;
    await settle();
    for (let next = this.#next(until); next !== undefined; next = this.#next(until)) {
      this.#fire(next);
      await settle();
    }
    this.#elapsed = until;
  }

  /**
   * Runs until the promise is settled, jumping from timer to timer, at most `limitMs` of the clock's time.
   * Work that needs no timer (files, compression) is waited for in real time, at most 10 s.
   * @throws Error if it is not settled by then
   */
  async until<T>(promise: Promise<T>, limitMs = 600_000): Promise<T> {
    const limit = this.#elapsed + limitMs;
    let done = false;
    let idleSince: number | undefined;
    const watched = promise.finally(() => {
      done = true;
    });
    watched.catch(() => {});
    await settle();
    while (!done) {
      const next = this.#next(limit);
      if (next === undefined) {
        // Nothing is due: give work that needs no timer a moment of real time.
        await settle(50);
        idleSince ??= systemClock.monotonic();
        if (!done && systemClock.monotonic() - idleSince > IDLE_MS_MAX) {
          throw new Error(`nothing happened for ${limitMs} ms of the manual clock`);
        }
        continue;
      }
      idleSince = undefined;
      this.#fire(next);
      await settle();
    }
    return watched;
  }

  #next(until: number): Scheduled | undefined {
    let first: Scheduled | undefined;
    for (const it of this.#timers) {
      if (it.at > until) continue;
      const earlier = first === undefined || it.at < first.at;
      if (earlier || (it.at === first?.at && it.order < first.order)) first = it;
    }
    return first;
  }

  #fire(timer: Scheduled): void {
    this.#timers.delete(timer);
    this.#elapsed = Math.max(this.#elapsed, timer.at);
    timer.fn();
  }
}

/** Lets everything that is ready run: a few turns of the event loop. */
export async function settle(turns = 3): Promise<void> {
  for (let i = 0; i < turns; i++) {
    // Immediates where there are some: a timer of 0 ms takes one.
    await new Promise<void>((resolve) => {
      if (typeof setImmediate === "function") setImmediate(resolve);
      else setTimeout(resolve, 0);
    });
  }
}
