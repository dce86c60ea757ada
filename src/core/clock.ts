/**
 * Time as a port, so that tests and simulations own it. Only this room and the runtimes' edges touch the real clock.
 */

/** A timer that can be ended; ending it twice is harmless. */
export interface Timer {
  cancel(): void;
}

/** Time as the library sees it: everything that waits or measures is given one, so that tests can move it. */
export interface Clock {
  /** Milliseconds since 1970 (wall clock: may jump). For timestamps that are stored or shown. */
  now(): number;
  /** Milliseconds from an arbitrary start, never going back, with fractions. For durations, deadlines and leases. */
  monotonic(): number;
  /**
   * Runs `fn` once after `delayMs`. With `background: true` the timer does not keep a process alive
   * (default false).
   */
  schedule(delayMs: number, fn: () => void, options?: { readonly background?: boolean }): Timer;
}

/** The process's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  schedule(delayMs, fn, options) {
    // A time that has passed is now; Node warns of negative delays.
    const handle = setTimeout(fn, Math.max(0, delayMs));
    if (options?.background) unref(handle);
    return { cancel: () => clearTimeout(handle) };
  },
};

function unref(handle: unknown): void {
  // Node and Bun return an object with unref(); Deno's setTimeout returns a number and has Deno.unrefTimer.
  if (typeof handle === "object" && handle !== null && "unref" in handle) {
    (handle as { unref(): void }).unref();
    return;
  }
  const deno = (globalThis as { Deno?: { unrefTimer?(id: number): void } }).Deno;
  if (typeof handle === "number") deno?.unrefTimer?.(handle);
}

/** Resolves after `delayMs`, or rejects with the signal's reason as soon as it aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const timer = clock.schedule(delayMs, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    const onAbort = () => {
      timer.cancel();
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
