/**
 * Commits one written flush in metadata and does not come back before the outcome is known (or cannot be known any
 * more): retries what was certainly not applied, and resolves an unknown outcome under the store's locks before
 * anything later may be committed. Called by the flusher, one flush at a time.
 */
import { type Clock, sleep } from "../core/clock.ts";
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import { backoffMs } from "../core/retry.ts";
import type { FlushCommit, FlushOutcome, MetadataStore } from "../metadata/metadata-store.ts";
import type { Reachability } from "./reachability.ts";

/**
 * Besides the store's own answers: `failed` certainly not applied, nor will it be · `unknown` it may be applied,
 * and nobody is there any more to find out (the run is over, or the agent stops).
 */
export type CommitVerdict =
  | FlushOutcome
  | { readonly status: "failed"; readonly error: StreamHouseError }
  | { readonly status: "unknown"; readonly error: StreamHouseError };

export interface FlushCommitterComponents {
  readonly metadata: MetadataStore;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly reachability: Reachability;
}

/** An attempt, counted from 1, failed with this; another one, or a look whether it was applied, follows. */
export type CommitRetried = (error: StreamHouseError, attempt: number) => void;

export interface CommitLimits {
  /** By the monotonic clock: no new attempt begins after it. */
  readonly until: number;
  /** False: the run is over, or the lease is no longer certain; nothing more is to be committed in its name. */
  readonly mayCommit: () => boolean;
  /** The agent stops. */
  readonly signal: AbortSignal;
  /** For the commit's span. */
  readonly retried?: CommitRetried | undefined;
}

const RETRY = { baseMs: 20, maxMs: 1_000 };

export class FlushCommitter {
  readonly #metadata: MetadataStore;
  readonly #clock: Clock;
  readonly #random: RandomBytes;
  readonly #reachability: Reachability;
  #outcomeOpen = false;

  constructor(components: FlushCommitterComponents) {
    this.#metadata = components.metadata;
    this.#clock = components.clock;
    this.#random = components.random;
    this.#reachability = components.reachability;
  }

  /** Whether the flush may be applied without our knowing: a call is under way, or its outcome is not resolved. */
  get outcomeOpen(): boolean {
    return this.#outcomeOpen;
  }

  /** Never rejects: whatever goes wrong must not leave the flushes behind it waiting for ever. */
  async commit(flush: () => FlushCommit, limits: CommitLimits): Promise<CommitVerdict> {
    try {
      return await this.#commit(flush(), limits);
    } catch (thrown) {
      return { status: "unknown", error: asStreamHouseError(thrown, "committing a flush") };
    } finally {
      this.#outcomeOpen = false;
    }
  }

  async #commit(flush: FlushCommit, limits: CommitLimits): Promise<CommitVerdict> {
    let inDoubt = false;
    for (let attempt = 1; ; attempt++) {
      const given = this.#mayTry(limits);
      if (given !== undefined) return { status: inDoubt ? "unknown" : "failed", error: given };
      this.#outcomeOpen = true;
      try {
        const outcome = await this.#reachability.watch(this.#metadata.commitFlush(flush));
        return inDoubt && mayRevive(outcome) ? { status: "unknown", error: leaseLost() } : outcome;
      } catch (thrown) {
        const error = asStreamHouseError(thrown, "committing a flush");
        limits.retried?.(error, attempt);
        // "Absent" says that this attempt is not applied; a straggler of it still could be, until another commit of the same
        // flush (or of a newer epoch) closes that door. So doubt, once there, stays.
        inDoubt ||= error.outcome === "unknown";
        if (error.outcome === "none" && !error.retriable) {
          return { status: inDoubt ? "unknown" : "failed", error };
        }
        if (error.outcome === "unknown") {
          const found = await this.#resolve(flush, limits, error);
          if (found !== undefined) return found;
        }
        this.#outcomeOpen = inDoubt;
        if (limits.signal.aborted || this.#clock.monotonic() >= limits.until) {
          return { status: inDoubt ? "unknown" : "failed", error };
        }
      }
      await this.#pause(attempt, limits.signal);
    }
  }

  /** Asks until there is an answer. Undefined: it is not applied. */
  async #resolve(
    flush: FlushCommit,
    limits: CommitLimits,
    error: StreamHouseError,
  ): Promise<CommitVerdict | undefined> {
    for (let attempt = 1; ; attempt++) {
      if (limits.signal.aborted) return { status: "unknown", error };
      try {
        const found = await this.#reachability.watch(this.#metadata.resolveFlush(flush));
        return found === "committed" ? { status: "committed" } : undefined;
      } catch (thrown) {
        // Without the lease nothing waits for the answer but the callers, and those have their time limit.
        const late = this.#clock.monotonic() >= limits.until;
        if (late && !limits.mayCommit()) return { status: "unknown", error };
        const again = asStreamHouseError(thrown, "resolving a flush");
        if (again.kind === "internal" && late) return { status: "unknown", error: again };
      }
      await this.#pause(attempt, limits.signal);
    }
  }

  #mayTry(limits: CommitLimits): StreamHouseError | undefined {
    return limits.mayCommit() ? undefined : leaseLost();
  }

  async #pause(attempt: number, signal: AbortSignal): Promise<void> {
    const pause = backoffMs(RETRY, attempt, this.#random);
    // An abort ends the pause; the caller's loop sees it.
    await sleep(this.#clock, pause, signal).catch(() => {});
  }
}

/**
 * Refused because the run's time is over, perhaps: it can be renewed as long as nobody has taken anything, and then an earlier attempt
 * that is still on its way would be applied after all. One with a partition that is deleted never is.
 */
function mayRevive(outcome: FlushOutcome): boolean {
  return outcome.status === "refused" && outcome.partitions.every((it) => it.reason === "fenced");
}

function leaseLost(): StreamHouseError {
  return new StreamHouseError({
    code: "LEASE_LOST",
    kind: "fenced",
    retriable: true,
    message:
      "the agent's run ended before the flush was committed: send the batch to the new holder",
  });
}
