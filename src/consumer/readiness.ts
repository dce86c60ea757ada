/**
 * Whether the consumer has been started: by its first read, once, again after a failure. A read waits for it no longer than it was
 * told to, and a failure that nobody waited for is told to the next read. Called by `consumer-rooms.ts`.
 */
import type { Clock } from "../core/clock.ts";
import type { AssignmentListeners } from "./listeners.ts";
import { aborted } from "./reader.ts";

export interface ReadinessComponents {
  readonly clock: Clock;
  readonly listeners: AssignmentListeners;
  /** @throws StreamHouseError if it could not be started: it is called again by the next read */
  readonly start: () => Promise<void>;
  readonly fail: (error: unknown) => void;
}

export class Readiness {
  readonly #parts: ReadinessComponents;
  #starting: Promise<void> | undefined;
  #started = false;
  #waiting = 0;
  /** Rises when the next read is to start again: a start that is under way then makes nothing ready. */
  #era = 0;

  constructor(parts: ReadinessComponents) {
    this.#parts = parts;
  }

  /**
   * True when started; false if it was not by `until` (monotonic clock).
   * @throws StreamHouseError why it could not be started; `ABORTED`
   */
  async by(until: number, signal: AbortSignal | undefined): Promise<boolean> {
    const { clock, listeners } = this.#parts;
    // A listener of the first assignment runs within the start: what it asks for must not wait for itself.
    if (this.#started || (listeners.telling && this.#starting !== undefined)) return true;
    this.#starting ??= this.#start();
    this.#waiting++;
    try {
      return await new Promise<boolean>((resolve, reject) => {
        const onAbort = () => signal && reject(aborted(signal));
        const timer =
          until === Number.POSITIVE_INFINITY
            ? undefined
            : clock.schedule(until - clock.monotonic(), () => resolve(false));
        this.#starting
          ?.then(() => resolve(true), reject)
          .finally(() => {
            timer?.cancel();
            signal?.removeEventListener("abort", onAbort);
          });
        if (signal?.aborted) onAbort();
        else signal?.addEventListener("abort", onAbort, { once: true });
      });
    } finally {
      this.#waiting--;
    }
  }

  /** The next read starts again. */
  again(): void {
    this.#started = false;
    this.#starting = undefined;
    this.#era++;
  }

  /** Resolves when no start is under way, or the caller is a listener that the start waits for. */
  async ended(): Promise<void> {
    if (!this.#parts.listeners.telling) await this.#starting?.catch(() => {});
  }

  async #start(): Promise<void> {
    const era = this.#era;
    try {
      await this.#parts.start();
      if (era === this.#era) this.#started = true;
    } catch (error) {
      if (era === this.#era) this.#starting = undefined;
      if (this.#waiting === 0) this.#parts.fail(error);
      throw error;
    }
  }
}
