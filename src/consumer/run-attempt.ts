/** One call of a handler: what it is told, and the signal that asks it to end. Made by `run.ts` for each attempt. */
import type { Clock, Timer } from "../core/clock.ts";
import { StreamHouseError } from "../core/errors.ts";
import type { RecordPosition } from "../core/record.ts";
import type { RunContext } from "./run-options.ts";

export class RunAttempt implements RunContext {
  readonly attempt: number;
  /** By the monotonic clock, ms. */
  readonly beganAt: number;
  #controller: AbortController | undefined;
  #reason: { readonly error: unknown } | undefined;
  #timer: Timer | undefined;

  constructor(attempt: number, beganAt: number) {
    this.attempt = attempt;
    this.beganAt = beganAt;
  }

  /** Made when a handler asks for it: most never do, and a controller for each record would cost more than the rest. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason.error);
    }
    return this.#controller.signal;
  }

  /** Why the handler was asked to end, if it was. */
  get reason(): unknown {
    return this.#reason?.error;
  }

  /** Asks the handler to end. The first reason stays. */
  abort(error: unknown): void {
    if (this.#reason !== undefined) return;
    this.#reason = { error };
    this.#controller?.abort(error);
  }

  /** Aborts unless `end` is called within `ms`. */
  limit(clock: Clock, ms: number, record: RecordPosition): void {
    this.#timer = clock.schedule(ms, () => this.abort(tooLate(record, ms)));
  }

  end(): void {
    this.#timer?.cancel();
  }
}

function tooLate({ topic, partition, offset }: RecordPosition, ms: number): StreamHouseError {
  return new StreamHouseError({
    code: "DEADLINE_EXCEEDED",
    kind: "unavailable",
    outcome: "unknown",
    message: `the handler did not finish ${topic}/${partition}@${offset} within ${ms} ms (handlerTimeoutMs)`,
  });
}

/** A handler that returned nothing is through: no turn is given away for it. */
export function isPromise(returned: void | Promise<void>): returned is Promise<void> {
  return typeof returned === "object" && returned !== null && "then" in returned;
}
