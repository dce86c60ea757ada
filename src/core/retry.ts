/** How long to wait before trying again: exponential, with a limit and jitter, so that many clients do not return in step. */
import type { RandomBytes } from "./ids.ts";

export interface Backoff {
  /** Pause before the first retry, ms. */
  readonly baseMs: number;
  /** Longest pause, ms (before jitter). */
  readonly maxMs: number;
}

/** Jitter: a pause is longer or shorter by up to this share of it. Kafka's clients use the same. */
const JITTER = 0.2;

/**
 * The pause before retry number `attempt` (1 for the first), in ms: `baseMs` doubled each time up to `maxMs`, times a
 * random factor from 0.8 to 1.2.
 */
export function backoffMs(backoff: Backoff, attempt: number, random: RandomBytes): number {
  const doublings = Math.min(Math.max(attempt, 1) - 1, 30);
  const pause = Math.min(backoff.baseMs * 2 ** doublings, backoff.maxMs);
  return pause * (1 - JITTER + 2 * JITTER * randomFraction(random));
}

/** A number from 0 (inclusive) to 1 (exclusive) with 32 random bits. */
export function randomFraction(random: RandomBytes): number {
  const bytes = random(new Uint8Array(4));
  return new DataView(bytes.buffer).getUint32(0) / 2 ** 32;
}
