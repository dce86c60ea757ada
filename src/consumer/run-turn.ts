/**
 * Leaves the event loop its turn: handlers that end at once would otherwise begin one another for as long as there are records, and no
 * heartbeat, commit or timer of the application would ever run. Used by `run.ts`.
 */
import type { Clock, Timer } from "../core/clock.ts";

/** Handlers may be begun without a turn for so long, ms. The same as for a loop that reads. */
const TURN_MS = 20;

export class RunTurn {
  readonly #clock: Clock;
  readonly #goOn: () => void;
  /** Fires at the next turn; undefined: nothing was begun since the last one. */
  #timer: Timer | undefined;
  #beganAt = 0;
  #waiting = false;
  #ended = false;

  /** `goOn`: called at the next turn, after `mayGoOn` has answered false. */
  constructor(clock: Clock, goOn: () => void) {
    this.#clock = clock;
    this.#goOn = goOn;
  }

  /** False: stop here, `goOn` is called when the event loop had its turn. */
  mayGoOn(): boolean {
    if (this.#waiting) return false;
    if (this.#timer === undefined) {
      if (this.#ended) return true;
      this.#beganAt = this.#clock.monotonic();
      this.#timer = this.#clock.schedule(0, () => this.#turned(), { background: true });
      return true;
    }
    this.#waiting = this.#clock.monotonic() - this.#beganAt >= TURN_MS;
    return !this.#waiting;
  }

  end(): void {
    this.#ended = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#waiting = false;
  }

  #turned(): void {
    this.#timer = undefined;
    const wasWaiting = this.#waiting;
    this.#waiting = false;
    if (wasWaiting) this.#goOn();
  }
}
