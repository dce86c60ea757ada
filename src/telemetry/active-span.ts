/**
 * Which span is active here and now. Asked for every record that is sent, so it must cost next to nothing where tracing is not
 * set up. One for each producer. Never throws.
 */
import { context, ROOT_CONTEXT, type SpanContext, trace } from "@opentelemetry/api";

/**
 * Where all copies of the API in one process meet, and therefore the same for the whole of major version 1:
 * https://github.com/open-telemetry/opentelemetry-js/blob/main/api/src/internal/global-utils.ts
 */
const API: unique symbol = Symbol.for("opentelemetry.js.api.1");

/** A global that is not there is looked up without any cache: ten times the price of anything else here. */
const lookEveryMs = 1;

export class ActiveSpan {
  /** There is a context manager. Without one nothing is ever active. */
  #possible = false;
  #lookedAt = Number.NEGATIVE_INFINITY;

  /**
   * The context of the active span, or undefined if there is none. `now` is monotonic ms: a context manager that is registered
   * between two records of the same millisecond is seen by the next.
   */
  at(now: number): SpanContext | undefined {
    if (!this.#possible) {
      if (now - this.#lookedAt < lookEveryMs) return undefined;
      this.#lookedAt = now;
      const api = (globalThis as { readonly [API]?: { readonly context?: unknown } })[API];
      this.#possible = api?.context !== undefined;
      if (!this.#possible) return undefined;
    }
    const active = context.active();
    return active === ROOT_CONTEXT ? undefined : trace.getSpanContext(active);
  }
}
