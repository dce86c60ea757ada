/**
 * Long work in short stretches, so that everybody else on the event loop has a turn in between. Called by whoever goes through
 * something whose size is not known.
 */
import { type Clock, sleep } from "./clock.ts";

/** Longest stretch by default: well below what a caller notices. */
const SLICE_MS = 4;

export class TimeSlice {
  readonly #clock: Clock;
  readonly #sliceMs: number;
  #until: number;

  constructor(clock: Clock, sliceMs: number = SLICE_MS) {
    this.#clock = clock;
    this.#sliceMs = sliceMs;
    this.#until = clock.monotonic() + sliceMs;
  }

  /** Whether it is somebody else's turn: then `await rest()`. Asked often, so it is no promise itself. */
  get over(): boolean {
    return this.#clock.monotonic() >= this.#until;
  }

  async rest(): Promise<void> {
    await sleep(this.#clock, 0);
    this.#until = this.#clock.monotonic() + this.#sliceMs;
  }
}
