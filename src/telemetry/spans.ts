/**
 * What all spans of StreamHouse have in common, and the spans of batches, requests and flushes. docs/tracing.md has the table of all
 * of them: name, kind, parent, links, attributes. Names and short attributes are the seed's (`topic`, `partition`, `record_count`),
 * beside the conventions' own. No function throws. The spans of records are in `record-spans.ts`, those of calls in `rpc-spans.ts`.
 */
import {
  type Attributes,
  context as activeContext,
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  type SpanOptions,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { StreamHouseError } from "../core/errors.ts";
import { GuardedSpan } from "./guarded-span.ts";
import type { Lineage } from "./lineage.ts";
import * as semconv from "./semconv.ts";
import type { Telemetry } from "./telemetry.ts";

/** What is known of a batch that goes to an agent. */
export interface BatchSpanInit {
  readonly recordCount: number;
  readonly topic?: string | undefined;
  readonly partition?: number | undefined;
  readonly bytes?: number | undefined;
  /** `host:port` of the agent. */
  readonly agent?: string | undefined;
  /** How often its oldest batch was sent, this time included. */
  readonly attempt?: number | undefined;
  /** Where its records come from: gives the parent or the links. */
  readonly lineage?: Lineage | undefined;
}

/**
 * CLIENT `send_batch_to_agent`: one request of a producer, from the hand-over to the network until its answer. Its name has no
 * destination: a request may carry batches of several topics.
 */
export function startBatchSpan(telemetry: Telemetry, init: BatchSpanInit): Span | undefined {
  if (!telemetry.enabled) return undefined;
  const attributes = messaging("send_batch_to_agent", "send", init.topic, init.partition);
  attributes.record_count = init.recordCount;
  attributes[semconv.MESSAGING_BATCH_MESSAGE_COUNT] = init.recordCount;
  if (init.bytes !== undefined) attributes.bytes = init.bytes;
  if (init.attempt !== undefined) attributes.attempt = init.attempt;
  if (init.agent !== undefined) Object.assign(attributes, semconv.serverAttributes(init.agent));
  return startOf(telemetry, "send_batch_to_agent", SpanKind.CLIENT, attributes, init.lineage);
}

/** INTERNAL `flush`: from seal to commit of one flush of an agent. */
export function startFlushSpan(
  telemetry: Telemetry,
  init: {
    readonly batches: number;
    readonly bytes: number;
    readonly records?: number | undefined;
    readonly lineage?: Lineage | undefined;
  },
): Span | undefined {
  const attributes: Attributes = { batch_count: init.batches, bytes: init.bytes };
  if (init.records !== undefined) attributes.record_count = init.records;
  return startOf(telemetry, "flush", SpanKind.INTERNAL, attributes, init.lineage);
}

/** CLIENT `store <operation>` under a flush or a fetch: `store put`, `store get`. */
export function startStoreSpan(
  telemetry: Telemetry,
  parent: Span | undefined,
  operation: string,
  attributes: Attributes = {},
): Span | undefined {
  return startChild(telemetry, parent, `store ${operation}`, SpanKind.CLIENT, attributes);
}

/** CLIENT `metadata <operation>` under a flush: `metadata commit`. */
export function startMetadataSpan(
  telemetry: Telemetry,
  parent: Span | undefined,
  operation: string,
  attributes: Attributes = {},
): Span | undefined {
  return startChild(telemetry, parent, `metadata ${operation}`, SpanKind.CLIENT, attributes);
}

/** Ends a span; with an error its status and `error.type` (our code) say so. Undefined is nothing to end. */
export function endSpan(span: Span | undefined, error?: unknown, endTime?: [number, number]): void {
  if (span === undefined) return;
  try {
    if (error !== undefined) {
      span.setAttribute(semconv.ERROR_TYPE, errorTypeOf(error));
      span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error) });
    }
    span.end(endTime);
  } catch {
    // A span processor of the application threw: the work that the span measured is done all the same.
  }
}

/** `error.type`: our code, or the class of what the application threw. A closed list but for the latter. Never throws. */
export function errorTypeOf(error: unknown): string {
  try {
    if (StreamHouseError.is(error)) return error.code;
    const name: unknown = error instanceof Error ? error.name : undefined;
    return typeof name === "string" && name !== "" ? name : "_OTHER";
  } catch {
    // A getter of the application's.
    return "_OTHER";
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Something that happened during a span: a retry, a fencing, a rebalance. */
export function addSpanEvent(span: Span | undefined, name: string, attributes?: Attributes): void {
  try {
    span?.addEvent(name, attributes);
  } catch {
    // As in endSpan.
  }
}

/**
 * The event of a failure that did not end the work: `fenced` if somebody else holds what was held, `unknown_outcome` if it may have
 * been applied, otherwise `name`.
 */
export function addFailureEvent(
  span: Span | undefined,
  name: string,
  error: StreamHouseError,
  attributes: Attributes = {},
): void {
  if (span === undefined) return;
  const { code, kind, outcome } = error;
  const isFenced = kind === "fenced" || code === "GROUP_FENCED" || code === "UNKNOWN_MEMBER";
  const event = isFenced ? "fenced" : outcome === "unknown" ? "unknown_outcome" : name;
  addSpanEvent(span, event, { [semconv.ERROR_TYPE]: code, outcome, ...attributes });
}

/** Runs `fn` with the span active, so that what it starts becomes its child. */
export function withSpan<T>(span: Span | undefined, fn: () => T): T {
  if (span === undefined) return fn();
  return activeContext.with(trace.setSpan(activeContext.active(), span), fn);
}

/**
 * Runs `fn` outside of every trace: for work that goes on in the background, and would otherwise belong for ever to the span that
 * happened to be active when it began.
 */
export function detached<T>(fn: () => T): T {
  return activeContext.with(ROOT_CONTEXT, fn);
}

/** The context whose active span is this one; without a span the active context as it is. */
export function contextOfSpan(span: Span | undefined): Context {
  const active = activeContext.active();
  return span === undefined ? active : trace.setSpan(active, span);
}

function startOf(
  telemetry: Telemetry,
  name: string,
  kind: SpanKind,
  attributes: Attributes,
  lineage: Lineage | undefined,
): Span | undefined {
  if (!telemetry.enabled) return undefined;
  if (lineage === undefined) return start(telemetry, name, { kind, attributes }, ROOT_CONTEXT);
  const parent = lineage.parent;
  const links = lineage.links;
  if (lineage.unlinked > 0) attributes.links_dropped = lineage.unlinked;
  const context = parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent);
  return start(telemetry, name, { kind, attributes, links }, context);
}

/** Only under a span that is recorded: a store call of an unsampled flush has no span either. */
function startChild(
  telemetry: Telemetry,
  parent: Span | undefined,
  name: string,
  kind: SpanKind,
  attributes: Attributes,
): Span | undefined {
  if (!telemetry.enabled || !parent?.isRecording()) return undefined;
  return start(telemetry, name, { kind, attributes }, trace.setSpan(ROOT_CONTEXT, parent));
}

/** For the rooms of this wing that name spans. Undefined if the application's SDK threw. */
export function start(
  telemetry: Telemetry,
  name: string,
  options: SpanOptions,
  parent: Context,
): Span | undefined {
  try {
    const span = telemetry.tracer.startSpan(name, options, parent);
    return span.isRecording() ? new GuardedSpan(span) : span;
  } catch {
    // A sampler or span processor of the application threw.
    return undefined;
  }
}

/** The conventions' attributes that are the same for every messaging span. */
export function messaging(
  name: string,
  type: string,
  topic?: string,
  partition?: number,
  group?: string,
): Attributes {
  const attributes: Attributes = {
    [semconv.MESSAGING_SYSTEM]: semconv.MESSAGING_SYSTEM_VALUE,
    [semconv.MESSAGING_OPERATION_NAME]: name,
    [semconv.MESSAGING_OPERATION_TYPE]: type,
  };
  if (topic !== undefined) {
    attributes.topic = topic;
    attributes[semconv.MESSAGING_DESTINATION_NAME] = topic;
  }
  if (partition !== undefined) {
    attributes.partition = partition;
    attributes[semconv.MESSAGING_DESTINATION_PARTITION_ID] = String(partition);
  }
  if (group !== undefined) attributes[semconv.MESSAGING_CONSUMER_GROUP_NAME] = group;
  return attributes;
}
