/** Waiting for a condition, with a deadline so generous that only what never comes misses it. */
import { setTimeout as wait } from "node:timers/promises";

/** How long anything may take on a busy machine before the run gives up. */
export const patienceMs = 180_000;

/** Resolves with the first answer that is not undefined or false. @throws Error naming `what`; the signal's reason */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  options: { readonly signal?: AbortSignal | undefined; readonly withinMs?: number } = {},
): Promise<T> {
  const { signal, withinMs = patienceMs } = options;
  const deadline = performance.now() + withinMs;
  for (;;) {
    signal?.throwIfAborted();
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`waited ${withinMs} ms in vain for ${what}`);
    await wait(50);
  }
}
