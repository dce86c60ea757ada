/**
 * Which span is active here and now. Asked for every record that is sent, so it must cost next to nothing where tracing is not
 * set up. One for each producer. Never throws.
 */
import { type ContextManager, ROOT_CONTEXT, type SpanContext, trace } from "@opentelemetry/api";

/**
 * Where all copies of the API in one process meet, and therefore the same for the whole of major version 1:
 * https://github.com/open-telemetry/opentelemetry-js/blob/main/api/src/internal/global-utils.ts
 */
const API: unique symbol = Symbol.for("opentelemetry.js.api.1");

/** A global that is not there is looked up without any cache: ten times the price of anything else here. */
const lookEveryMs = 1;

/** What is registered there. The object stays the same once it is there; its members come and go. */
interface RegisteredApi {
  readonly context?: ContextManager;
}

export class ActiveSpan {
  #api: RegisteredApi | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;

  /**
   * The context of the active span, or undefined if there is none. `now` is monotonic ms: where nothing at all was registered, a
   * context manager that is registered between two records of the same millisecond is seen by a later one.
   */
  at(now: number): SpanContext | undefined {
    if (this.#api === undefined) {
      if (now - this.#lookedAt < lookEveryMs) return undefined;
      this.#lookedAt = now;
      this.#api = (globalThis as { readonly [API]?: RegisteredApi })[API];
    }
    // Without a manager nothing is ever active. It is asked by itself: the API would look it up once more.
    const active = this.#api?.context?.active();
    return active === undefined || active === ROOT_CONTEXT
      ? undefined
      : trace.getSpanContext(active);
  }
}
