/**
 * When the next flush may be sealed: at once when none is under way, otherwise by age or bytes, never beyond the sink's overlap,
 * never sooner than the interval where each costs money, and after a pause when writing failed. Numbers in, number out; the flusher
 * sets the timer.
 */
import type { Clock } from "../core/clock.ts";
import type { RandomBytes } from "../core/ids.ts";
import { backoffMs } from "../core/retry.ts";
import type { ResolvedAgentOptions } from "./options.ts";

/** How things stand with the flusher. */
export interface FlushSituation {
  /** The first batch in the buffer. */
  readonly oldest: { readonly receivedAt: number; readonly firstSealedAt: number } | undefined;
  readonly bufferedBytes: number;
  /** Sealed and not settled. */
  readonly flushes: number;
  /** Writes under way, those of undone flushes too. */
  readonly writing: number;
  /** Undone flushes whose write has not answered: their batches' bytes may still be read. */
  readonly zombies: number;
  readonly draining: boolean;
}

const RETRY = { baseMs: 50, maxMs: 1_000 };

export class FlushPacer {
  readonly #clock: Clock;
  readonly #random: RandomBytes;
  readonly #options: ResolvedAgentOptions;
  readonly #concurrency: number;
  #failures = 0;
  #notBefore = Number.NEGATIVE_INFINITY;
  #sealedAt = Number.NEGATIVE_INFINITY;

  constructor(
    components: { readonly clock: Clock; readonly random: RandomBytes },
    options: ResolvedAgentOptions,
    concurrency: number,
  ) {
    this.#clock = components.clock;
    this.#random = components.random;
    this.#options = options;
    this.#concurrency = concurrency;
  }

  sealed(): void {
    this.#sealedAt = this.#clock.monotonic();
  }

  writeSucceeded(): void {
    this.#failures = 0;
  }

  writeFailed(): void {
    this.#failures++;
    this.#notBefore = this.#clock.monotonic() + backoffMs(RETRY, this.#failures, this.#random);
  }

  /** 0: seal now. Infinity: something else comes first (a batch, or the end of a write or commit). */
  waitMs(at: FlushSituation): number {
    const { oldest } = at;
    if (oldest === undefined || at.zombies > 0) return Number.POSITIVE_INFINITY;
    // Sealed flushes that wait for their commit are bounded too: metadata may be slower than the store.
    const full = at.writing >= this.#concurrency || at.flushes > this.#concurrency + 1;
    if (full) return Number.POSITIVE_INFINITY;
    const now = this.#clock.monotonic();
    const pause = Math.max(0, this.#notBefore - now);
    if (at.draining || at.bufferedBytes >= this.#options.flushBytes) return pause;
    // A large flush costs little for what it carries; one partition's five requests of a full batch are less than `flushBytes`.
    const large = at.bufferedBytes * 2 >= this.#options.flushBytes;
    const interval = large ? 0 : this.#sealedAt + this.#options.flushIntervalMs - now;
    const age = at.flushes === 0 ? 0 : oldest.receivedAt + this.#options.flushAgeMs - now;
    return Math.max(pause, interval, age);
  }

  /** Until the first batch of an undone flush is over its time limit. */
  overdueMs(at: FlushSituation): number {
    const sealedAt = at.oldest?.firstSealedAt ?? -1;
    if (sealedAt < 0) return Number.POSITIVE_INFINITY;
    const due = sealedAt + this.#options.flushTimeLimitMs;
    return Math.max(1, due - this.#clock.monotonic());
  }
}
