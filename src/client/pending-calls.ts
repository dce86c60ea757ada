/**
 * Calls that wait for an answer, each with its time limit and abort signal, counted so that a close can wait for them. Used by
 * the in-process transport; over gRPC the library's own deadlines and the stream's frame table do the same.
 */
import type { Clock } from "../core/clock.ts";
import { asStreamHouseError, closed, StreamHouseError } from "../core/errors.ts";
import type { CallContext } from "../rpc/agent-api.ts";

export class PendingCalls {
  readonly #clock: Clock;
  readonly #address: string;
  readonly #rejects = new Set<(error: StreamHouseError) => void>();
  #closed = false;
  #drained: (() => void)[] = [];

  constructor(clock: Clock, address: string) {
    this.#clock = clock;
    this.#address = address;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get size(): number {
    return this.#rejects.size;
  }

  /**
   * Runs a call. Rejects with `DEADLINE_EXCEEDED` after `call.timeoutMs`, with `ABORTED` when `call.signal` aborts, with `CLOSED`
   * when this is closed; what the call itself does then is lost, so the outcome is `unknown`.
   */
  run<T>(name: string, call: CallContext, start: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(closed(`the transport to ${this.#address}`));
    const { signal, timeoutMs } = call;
    if (signal?.aborted) return Promise.reject(aborted(name, "none", signal.reason));
    return new Promise<T>((resolve, reject) => {
      const timer =
        timeoutMs === undefined
          ? undefined
          : this.#clock.schedule(timeoutMs, () => fail(this.#late(name, timeoutMs)));
      const settle = () => {
        timer?.cancel();
        signal?.removeEventListener("abort", onAbort);
        this.#rejects.delete(fail);
        if (this.#rejects.size === 0) this.#releaseDrained();
      };
      const fail = (error: StreamHouseError) => {
        settle();
        reject(error);
      };
      const onAbort = () => fail(aborted(name, "unknown", signal?.reason));
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#rejects.add(fail);
      begin(start).then(
        (value) => {
          settle();
          resolve(value);
        },
        (error: unknown) => fail(asStreamHouseError(error, name)),
      );
    });
  }

  /** Takes no more calls and resolves when the last one has its answer. */
  async drain(): Promise<void> {
    this.#closed = true;
    if (this.#rejects.size === 0) return;
    await new Promise<void>((resolve) => this.#drained.push(resolve));
  }

  /** Takes no more calls and rejects those that wait. */
  close(): void {
    this.#closed = true;
    const error = new StreamHouseError({
      code: "CLOSED",
      kind: "closed",
      outcome: "unknown",
      message: `the transport to ${this.#address} was closed before the answer came`,
    });
    for (const reject of [...this.#rejects]) reject(error);
  }

  #releaseDrained(): void {
    const waiting = this.#drained;
    this.#drained = [];
    for (const resolve of waiting) resolve();
  }

  #late(name: string, timeoutMs: number): StreamHouseError {
    return new StreamHouseError({
      code: "DEADLINE_EXCEEDED",
      kind: "unavailable",
      outcome: "unknown",
      message: `${name} at agent ${this.#address} had no answer within ${timeoutMs} ms`,
    });
  }
}

/** Starts now (order depends on it), and makes a throw a rejection. */
async function begin<T>(start: () => Promise<T>): Promise<T> {
  return start();
}

function aborted(name: string, outcome: "none" | "unknown", cause: unknown): StreamHouseError {
  const message = `${name} was aborted by its caller`;
  return new StreamHouseError({ code: "ABORTED", kind: "closed", outcome, message, cause });
}
