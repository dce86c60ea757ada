/**
 * What has been opened, so that it can be closed in the opposite order: at the stop, or when a start fails half-way. Called by `serve`
 * and `embed`.
 */
import type { Logger } from "../core/logger.ts";

export class Teardown {
  readonly #logger: Logger;
  #steps: { readonly what: string; readonly close: () => Promise<void> | void }[] = [];
  #unwinding: Promise<void> | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Closed before everything that was added earlier. */
  add(what: string, close: () => Promise<void> | void): void {
    this.#steps.push({ what, close });
  }

  /** Closes everything, each even if another failed. Idempotent. @throws the first failure, after all is closed */
  unwind(): Promise<void> {
    this.#unwinding ??= this.#closeAll();
    return this.#unwinding;
  }

  async #closeAll(): Promise<void> {
    const steps = this.#steps.reverse();
    this.#steps = [];
    let failure: { readonly error: unknown } | undefined;
    for (const { what, close } of steps) {
      try {
        await close();
      } catch (error) {
        this.#logger.error(`could not close the ${what}`, { error });
        failure ??= { error };
      }
    }
    if (failure !== undefined) throw failure.error;
  }
}
