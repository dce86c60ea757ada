/**
 * Which span is active here and now. Asked for every record that is sent, so it must cost next to nothing where tracing is not
 * set up. Called by the producer. Never throws, keeps nothing.
 */
import { context, type SpanContext, trace } from "@opentelemetry/api";

/**
 * Where all copies of the API in one process meet, and therefore the same for the whole of major version 1:
 * https://github.com/open-telemetry/opentelemetry-js/blob/main/api/src/internal/global-utils.ts
 */
const API: unique symbol = Symbol.for("opentelemetry.js.api.1");

/** The context of the active span, or undefined if there is none. */
export function activeSpanContext(): SpanContext | undefined {
  // Until somebody registers a context manager nothing is ever active: asking the API takes several times as long.
  const registered = (globalThis as { readonly [API]?: { readonly context?: unknown } })[API];
  if (registered?.context === undefined) return undefined;
  return trace.getSpanContext(context.active());
}
