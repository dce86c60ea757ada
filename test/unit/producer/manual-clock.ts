/** A clock that stands still until it is told otherwise. */
import { setImmediate } from "node:timers";
import type { Clock, Timer } from "../../../src/core/clock.ts";

interface Waiting {
  readonly at: number;
  readonly order: number;
  readonly fn: () => void;
}

export class ManualClock implements Clock {
  #now = 1_000;
  #order = 0;
  #waiting: Waiting[] = [];

  /** Timers that have not rung. */
  get timers(): number {
    return this.#waiting.length;
  }

  now(): number {
    return 1_700_000_000_000 + this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  schedule(delayMs: number, fn: () => void): Timer {
    const waiting = { at: this.#now + Math.max(0, delayMs), order: this.#order++, fn };
    this.#waiting.push(waiting);
    return {
      cancel: () => {
        this.#waiting = this.#waiting.filter((it) => it !== waiting);
      },
    };
  }

  /** Lets everything run that waits for no timer. */
  async settle(): Promise<void> {
    for (let i = 0; i < 3; i++) await new Promise<void>((resolve) => setImmediate(resolve));
  }

  /** Goes on by `ms`, stopping at each timer on the way. */
  async advance(ms: number): Promise<void> {
    await this.settle();
    const end = this.#now + ms;
    for (let next = this.#next(end); next; next = this.#next(end)) {
      this.#waiting = this.#waiting.filter((it) => it !== next);
      this.#now = Math.max(this.#now, next.at);
      next.fn();
      await this.settle();
    }
    this.#now = end;
    await this.settle();
  }

  #next(end: number): Waiting | undefined {
    const due = this.#waiting.filter((it) => it.at <= end);
    due.sort((a, b) => a.at - b.at || a.order - b.order);
    return due[0];
  }
}
