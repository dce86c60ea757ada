/**
 * Trace context across processes, in two ways. Calls and stream frames carry W3C `traceparent` and `tracestate`
 * (https://www.w3.org/TR/trace-context/) by the small codec here, whatever the application's propagator is: both ends are ours.
 * Record headers are written and read by the application's global propagator. Never throws; hostile input means no context.
 */
import {
  context as activeContext,
  type Context,
  createTraceState,
  isSpanContextValid,
  propagation,
  ROOT_CONTEXT,
  type SpanContext,
  type TextMapGetter,
  type TextMapSetter,
  trace,
} from "@opentelemetry/api";
import type { HeadersInput, RecordHeader } from "../core/record.ts";
import type { Telemetry } from "./telemetry.ts";

/** The trace fields of a `CallContext` and of a stream frame. */
export interface TraceFields {
  readonly traceparent?: string | undefined;
  readonly tracestate?: string | undefined;
}

const NO_FIELDS: TraceFields = Object.freeze({});

/** A `tracestate` beyond this is not passed on (the specification asks for at least 512). */
const tracestateCharactersMax = 8_192;

/** What to send so that the other end continues from this span context; empty if it is not valid. */
export function traceFields(spanContext: SpanContext | undefined): TraceFields {
  if (spanContext === undefined || !isSpanContextValid(spanContext)) return NO_FIELDS;
  const flags = (spanContext.traceFlags & 0xff).toString(16).padStart(2, "0");
  const traceparent = `00-${spanContext.traceId}-${spanContext.spanId}-${flags}`;
  const tracestate = spanContext.traceState?.serialize();
  return tracestate ? { traceparent, tracestate } : { traceparent };
}

const TRACEPARENT =
  /^(?!ff)([\da-f]{2})-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(-.*)?$/;

/** The remote span context in the fields, or undefined if there is none or it is malformed. */
export function parseTraceFields(fields: TraceFields): SpanContext | undefined {
  if (!fields.traceparent) return undefined;
  const match = TRACEPARENT.exec(fields.traceparent);
  if (match === null) return undefined;
  const [, version, traceId = "", spanId = "", flags = "", rest] = match;
  // Later versions may append fields; version 00 has none (section 3.2.2.1, "versioning").
  if (version === "00" && rest !== undefined) return undefined;
  const parsed = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
  const state = fields.tracestate;
  if (!state || state.length > tracestateCharactersMax) return parsed;
  return { ...parsed, traceState: createTraceState(state) };
}

/** The context in which to work on a call: the caller's, or the root. */
export function contextOfCall(call: TraceFields): Context {
  const parent = parseTraceFields(call);
  return parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent);
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const NO_HEADERS: readonly RecordHeader[] = Object.freeze([]);

const headerSetter: TextMapSetter<RecordHeader[]> = {
  set(carrier, key, value) {
    carrier.push([key, encoder.encode(value)]);
  },
};

const headerGetter: TextMapGetter<readonly RecordHeader[]> = {
  keys: (carrier) => carrier.map((header) => header[0]),
  get(carrier, key) {
    const value = carrier.find((header) => header[0] === key)?.[1];
    return value ? decoder.decode(value) : undefined;
  },
};

/** Writes trace context into the headers of one producer's records. */
export interface HeaderWriter {
  /**
   * The headers that the global propagator writes for this context (default: the active one), encoded once and
   * answered again for as long as the context stays the same. Empty without a valid context, or when propagation is off.
   */
  headers(context?: Context): readonly RecordHeader[];
}

export function createHeaderWriter(telemetry: Telemetry): HeaderWriter {
  return telemetry.enabled && telemetry.propagation !== "off"
    ? new PropagatorHeaders(telemetry.propagation === "sampled")
    : { headers: () => NO_HEADERS };
}

class PropagatorHeaders implements HeaderWriter {
  readonly #sampledOnly: boolean;
  #spanContext: SpanContext | undefined;
  #baggage: unknown;
  #headers: readonly RecordHeader[] = NO_HEADERS;

  constructor(sampledOnly: boolean) {
    this.#sampledOnly = sampledOnly;
  }

  headers(context: Context = activeContext.active()): readonly RecordHeader[] {
    const spanContext = trace.getSpanContext(context);
    if (spanContext === undefined) return NO_HEADERS;
    // Whatever else a propagator writes is the context's baggage.
    const baggage = propagation.getBaggage(context);
    if (spanContext === this.#spanContext && baggage === this.#baggage) return this.#headers;
    if (!isSpanContextValid(spanContext)) return NO_HEADERS;
    if (this.#sampledOnly && (spanContext.traceFlags & 1) === 0) return NO_HEADERS;
    const headers: RecordHeader[] = [];
    try {
      propagation.inject(context, headers, headerSetter);
    } catch {
      // The application's propagator failed: the record goes without.
      return NO_HEADERS;
    }
    this.#spanContext = spanContext;
    this.#baggage = baggage;
    this.#headers = headers;
    return headers;
  }
}

/**
 * The user's headers with the trace's behind them. A header that the user set is left alone, and keeps the trace's one of the same
 * name out. Without trace headers the user's own object is answered.
 */
export function withTraceHeaders(
  user: HeadersInput | undefined,
  trace: readonly RecordHeader[],
): HeadersInput | undefined {
  if (trace.length === 0) return user;
  if (user === undefined) return trace;
  const own: (readonly [string, Uint8Array | string | null])[] = Array.isArray(user)
    ? [...user]
    : Object.entries(user);
  const names = new Set(own.map(([name]) => name.toLowerCase()));
  for (const header of trace) if (!names.has(header[0])) own.push(header);
  return own;
}

/** The creation context that a record's headers carry, or undefined. Read by the global propagator. */
export function contextOfRecord(headers: readonly RecordHeader[]): Context | undefined {
  if (headers.length === 0) return undefined;
  try {
    const context = propagation.extract(ROOT_CONTEXT, headers, headerGetter);
    return trace.getSpanContext(context) === undefined ? undefined : context;
  } catch {
    return undefined;
  }
}
