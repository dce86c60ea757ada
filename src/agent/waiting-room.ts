/** Where long polls wait: until one of their partitions grows, time is up, the caller goes away, or the agent stops. */
import type { Clock } from "../core/clock.ts";
import { StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { PartitionLog } from "./partition-log.ts";

export class WaitingRoom {
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  #closed: StreamHouseError | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /**
   * Resolves when one of the logs grew (or its topic is gone) or after `waitMs`.
   * @throws StreamHouseError `ABORTED` by the signal, `OVERLOADED` if too many wait, what `close` was given
   */
  wait(logs: readonly PartitionLog[], waitMs: number, signal?: AbortSignal): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.#waiting.size >= limits.waitingFetchesMax) return Promise.reject(tooMany());
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(aborted(signal));
        return;
      }
      const leave = (): void => {
        for (const unwatch of watches) unwatch();
        timer.cancel();
        signal?.removeEventListener("abort", onAbort);
        this.#waiting.delete(onClose);
      };
      const onWake = (): void => {
        leave();
        resolve();
      };
      const onAbort = (): void => {
        leave();
        reject(aborted(signal));
      };
      const onClose = (): void => {
        leave();
        reject(this.#closed);
      };
      const watches = logs.map((log) => log.watch(onWake));
      const timer = this.#clock.schedule(Math.ceil(waitMs), onWake, { background: true });
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiting.add(onClose);
    });
  }

  /** Everybody leaves with this error, and nobody comes in any more. */
  close(error: StreamHouseError): void {
    this.#closed = error;
    for (const end of [...this.#waiting]) end();
  }
}

function aborted(signal: AbortSignal | undefined): StreamHouseError {
  return new StreamHouseError({
    code: "ABORTED",
    kind: "closed",
    message: "the fetch was given up by its caller",
    cause: signal?.reason,
  });
}

function tooMany(): StreamHouseError {
  return new StreamHouseError({
    code: "OVERLOADED",
    kind: "unavailable",
    retryAfterMs: 1_000,
    message: `${limits.waitingFetchesMax} fetches wait at this agent, which is its limit: try again later`,
  });
}
