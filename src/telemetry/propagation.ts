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

/** The header in which the application's own key-value pairs travel: no part of a trace's context. */
const BAGGAGE = "baggage";
/** What the W3C propagator reads and writes; another one adds names of its own. */
const W3C_NAMES: readonly string[] = ["traceparent", "tracestate"];
/** A header value that is longer is no trace context: the specifications ask for 512 and 8,192 characters. */
const headerBytesMax = 8_192;

/** Trace headers are ASCII, for which a loop takes less than half of the time of the encoder, whose work all else is. */
function bytesOf(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) return encoder.encode(text);
    bytes[i] = code;
  }
  return bytes;
}

const headerSetter: TextMapSetter<RecordHeader[]> = {
  set(carrier, key, value) {
    carrier.push([key, bytesOf(value)]);
  },
};

/**
 * Names are compared without case (https://www.w3.org/TR/trace-context/#header-name). Of two `traceparent` headers neither is
 * believed; the lists `tracestate` and `baggage` are joined.
 */
const headerGetter: TextMapGetter<readonly RecordHeader[]> = {
  keys: (carrier) => carrier.map((header) => header[0]),
  get(carrier, key) {
    const wanted = key.toLowerCase();
    const isList = wanted === "tracestate" || wanted === BAGGAGE;
    let found: string | undefined;
    for (const [name, value] of carrier) {
      if (name.length !== wanted.length || name.toLowerCase() !== wanted) continue;
      if (value === null || value.length > headerBytesMax) return undefined;
      const text = decoder.decode(value);
      if (found === undefined) found = text;
      else if (isList) found = `${found},${text}`;
      else return undefined;
    }
    return found;
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

type OwnHeader = readonly [string, Uint8Array | string | null];

function ownHeaders(user: HeadersInput): OwnHeader[] {
  return Array.isArray(user) ? [...user] : Object.entries(user);
}

/**
 * The user's headers with the trace's behind them. A header that the user set is left alone, whatever its case. The headers of a
 * trace's context belong together, so one of them keeps the trace's others out: a `tracestate` beside a foreign `traceparent` would
 * say something untrue. Baggage stands for itself. Without trace headers, and where the user's have a wrong shape (which nobody has
 * checked yet), the user's own object is answered.
 */
export function withTraceHeaders(
  user: HeadersInput | undefined,
  trace: readonly RecordHeader[],
): HeadersInput | undefined {
  if (trace.length === 0) return user;
  if (user === undefined) return trace;
  try {
    return joined(user, trace);
  } catch {
    return user;
  }
}

function joined(user: HeadersInput, trace: readonly RecordHeader[]): HeadersInput {
  const own = ownHeaders(user);
  const names = new Set(own.map(([name]) => name.toLowerCase()));
  const fields = [...W3C_NAMES, ...trace.map(([name]) => name)];
  const isOwnTrace = fields.some((name) => name !== BAGGAGE && names.has(name));
  for (const header of trace) {
    const keptOut = header[0] === BAGGAGE ? names.has(BAGGAGE) : isOwnTrace;
    if (!keptOut) own.push(header);
  }
  return own;
}

/** Whether the user's own headers, if they have the right shape, carry a trace's context, well formed or not. Read by the global propagator's names. */
export function carriesTrace(user: HeadersInput | undefined): boolean {
  if (user === undefined) return false;
  const fields = new Set([...W3C_NAMES, ...propagatorFields()]);
  fields.delete(BAGGAGE);
  try {
    return ownHeaders(user).some(([name]) => fields.has(name.toLowerCase()));
  } catch {
    return false;
  }
}

/** The creation context that the user put into the headers himself. */
export function contextOfOwnHeaders(user: HeadersInput): Context | undefined {
  try {
    const asSent = ownHeaders(user).map(
      ([name, value]) => [name, typeof value === "string" ? encoder.encode(value) : value] as const,
    );
    return contextOfRecord(asSent);
  } catch {
    return undefined;
  }
}

function propagatorFields(): string[] {
  try {
    return propagation.fields().map((name) => name.toLowerCase());
  } catch {
    return [];
  }
}

/** The creation context that a record's headers carry, or undefined. Read by the global propagator. */
export function contextOfRecord(headers: readonly RecordHeader[]): Context | undefined {
  if (headers.length === 0) return undefined;
  try {
    const context = propagation.extract(ROOT_CONTEXT, headers, headerGetter);
    const spanContext = trace.getSpanContext(context);
    return spanContext !== undefined && isSpanContextValid(spanContext) ? context : undefined;
  } catch {
    return undefined;
  }
}
