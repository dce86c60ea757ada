/**
 * How long this consumer may act as a member of its group, by its own monotonic clock: one session's length, counted from before the last
 * heartbeat that was answered was *sent*, so that it ends here no later than at the database. A process that was stopped, and wakes,
 * finds out here that its partitions may be another's, before it hands out or commits anything. Called by `membership.ts`.
 */
import type { Clock, Timer } from "../core/clock.ts";

/**
 * Records that are handed out between two readings of the clock, at most, to a handler that takes them all in one turn of the event
 * loop, so fast that reading the clock for each would cost a tenth of the throughput. They count as handed out together, as those of one
 * `poll` do. A handler that takes longer, or waits for anything, is looked at for every record.
 */
const CHUNK_MAX = 8;

/** A handler that takes less than this for a record is a fast one, ms. */
const FAST_MS = 0.02;

export interface TermComponents {
  readonly clock: Clock;
  /** The term is over: nothing is this member's any more. Called once for each term, before anybody is told so. */
  readonly onEnd: () => void;
  /** The application asked for a record at this moment, as far as the clock was read. */
  readonly onAsked: (at: number) => void;
}

export class MemberTerm {
  readonly #parts: TermComponents;
  /** By the monotonic clock; undefined while there is no membership, and so nothing to lose. */
  #until: number | undefined;
  #timer: Timer | undefined;
  /** Records that may be handed out before the clock is read again. */
  #left = 0;
  #chunk = 1;
  #lookedAt = 0;
  /** Rings when the turn of the event loop is over in which records were handed out unlooked at. */
  #turn: Timer | undefined;

  constructor(parts: TermComponents) {
    this.#parts = parts;
  }

  /** A heartbeat was answered: the term lasts until then. */
  extend(until: number): void {
    this.#until = until;
    this.#wait();
  }

  /** The membership is over for another reason, or given up. Answers whether there was one. */
  clear(): boolean {
    const was = this.#until !== undefined;
    this.#until = undefined;
    this.#timer?.cancel();
    this.#endTurn();
    return was;
  }

  /** Whether this consumer may act; if not, its end is told first. Reads the clock. */
  holds(): boolean {
    return this.#holdsAt(this.#parts.clock.monotonic());
  }

  /** The same for each record of many: reads the clock where that costs little. */
  holdsForNext(): boolean {
    if (--this.#left > 0) return true;
    const now = this.#parts.clock.monotonic();
    const fast = now - this.#lookedAt < FAST_MS * this.#chunk;
    this.#chunk = fast ? Math.min(CHUNK_MAX, 2 * this.#chunk) : 1;
    this.#left = this.#chunk;
    this.#lookedAt = now;
    if (this.#chunk > 1) this.#lookAfterTurn();
    this.#parts.onAsked(now);
    return this.#holdsAt(now);
  }

  #lookAfterTurn(): void {
    this.#turn ??= this.#parts.clock.schedule(0, () => this.#endTurn(), { background: true });
  }

  #endTurn(): void {
    this.#turn?.cancel();
    this.#turn = undefined;
    this.#left = 0;
    this.#chunk = 1;
  }

  /** Its end is told also while nobody asks. A timer may ring early: then there is something left to wait for. */
  #wait(): void {
    this.#timer?.cancel();
    if (this.#until === undefined) return;
    const { clock } = this.#parts;
    const look = () => {
      if (this.holds()) this.#wait();
    };
    const ms = Math.max(1, this.#until - clock.monotonic());
    this.#timer = clock.schedule(ms, look, { background: true });
  }

  #holdsAt(now: number): boolean {
    if (this.#until === undefined || now < this.#until) return true;
    this.clear();
    this.#parts.onEnd();
    return false;
  }
}
