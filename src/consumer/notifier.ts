/** "Something changed, look again": wakes whoever waits. Used between the rooms of a consumer. */
import type { Clock } from "../core/clock.ts";

export class Notifier {
  readonly #wakers = new Set<() => void>();

  notify(): void {
    for (const waker of [...this.#wakers]) waker();
  }

  /** Calls `waker` at each change until the answered function is called. */
  onNotify(waker: () => void): () => void {
    this.#wakers.add(waker);
    return () => this.#wakers.delete(waker);
  }

  /** Resolves at the next change, after `ms`, or when the signal aborts: the caller looks for itself which. */
  wait(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#wakers.delete(done);
        timer.cancel();
        signal?.removeEventListener("abort", done);
        resolve();
      };
      // Not in the background: a program that waits for records must not end for lack of other work.
      const timer = clock.schedule(ms, done);
      this.#wakers.add(done);
      if (signal?.aborted) done();
      else signal?.addEventListener("abort", done, { once: true });
    });
  }
}
