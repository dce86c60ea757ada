/**
 * Spans that take single records or what an application does with some: create and send, receive, process, settle, by the messaging
 * conventions (https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/). A record has a span of its own only under a
 * sampled one, and not with `recordSpans: false`. No function throws. Called by producer and consumer.
 */
import {
  type Attributes,
  context as activeContext,
  type Context,
  isSpanContextValid,
  type Link,
  propagation,
  type Span,
  type SpanContext,
  SpanKind,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import type { HeadersInput, ProducerRecord, RecordHeader } from "../core/record.ts";
import { Creations, creationOf } from "./creation-context.ts";
import { linksMax } from "./lineage.ts";
import { carriesTrace, contextOfOwnHeaders, contextOfRecord } from "./propagation.ts";
import * as semconv from "./semconv.ts";
import { endSpan, messaging, start } from "./spans.ts";
import type { Telemetry } from "./telemetry.ts";

/** The active context, if its span is sampled: most records cost one look at it. */
export function sampledParent(): Context | undefined {
  const active = activeContext.active();
  const spanContext = trace.getSpanContext(active);
  return spanContext !== undefined && (spanContext.traceFlags & TraceFlags.SAMPLED) !== 0
    ? active
    : undefined;
}

/**
 * PRODUCER `send <topic>`: one record, from `send()` to its acknowledgement; its context is the record's creation context. CLIENT,
 * with a link, if the user gave the record a creation context of its own.
 */
export function startSendSpan(
  telemetry: Telemetry,
  topic: string,
  record: ProducerRecord,
): Span | undefined {
  if (!telemetry.enabled || !telemetry.recordSpans) return undefined;
  const parent = sampledParent();
  if (parent === undefined) return undefined;
  const { headers } = record;
  const isOwn = headers !== undefined && carriesTrace(headers);
  const kind = isOwn ? SpanKind.CLIENT : SpanKind.PRODUCER;
  const attributes = ofRecord("send", topic, record);
  const links = isOwn ? linksTo(headers) : [];
  return start(telemetry, `send ${topic}`, { kind, attributes, links }, parent);
}

/** The spans of one `sendBatch()`. */
export interface BulkSpans {
  readonly send: Span;
  /** For each record the context to write into its headers; undefined: that of `send` for all of them. */
  readonly created: readonly (SpanContext | undefined)[] | undefined;
}

/**
 * For one `sendBatch()` under a sampled span: a PRODUCER `create <topic>` for each record, and a CLIENT `send <topic>` that is linked
 * to them. More records than a span has links, or `recordSpans: false`: only `send <topic>`, PRODUCER, whose context all share.
 */
export function startBulkSpans(
  telemetry: Telemetry,
  topic: string,
  records: readonly ProducerRecord[],
): BulkSpans | undefined {
  const parent = telemetry.enabled ? sampledParent() : undefined;
  if (parent === undefined || records.length === 0) return undefined;
  const attributes = messaging("send", "send", topic);
  attributes.record_count = records.length;
  attributes[semconv.MESSAGING_BATCH_MESSAGE_COUNT] = records.length;
  const name = `send ${topic}`;
  if (!telemetry.recordSpans || records.length > linksMax) {
    const send = start(telemetry, name, { kind: SpanKind.PRODUCER, attributes }, parent);
    return send && { send, created: undefined };
  }
  const links: Link[] = [];
  const created = records.map((record) => {
    const headers = record?.headers;
    if (headers !== undefined && carriesTrace(headers)) {
      links.push(...linksTo(headers));
      return undefined;
    }
    const context = createRecord(telemetry, topic, record, parent);
    if (context !== undefined) links.push({ context });
    return context;
  });
  const send = start(telemetry, name, { kind: SpanKind.CLIENT, attributes, links }, parent);
  return send && { send, created };
}

function createRecord(
  telemetry: Telemetry,
  topic: string,
  record: ProducerRecord,
  parent: Context,
): SpanContext | undefined {
  const attributes = ofRecord("create", topic, record);
  const span = start(telemetry, `create ${topic}`, { kind: SpanKind.PRODUCER, attributes }, parent);
  endSpan(span);
  return span?.spanContext();
}

function ofRecord(operation: "create" | "send", topic: string, record: ProducerRecord): Attributes {
  const attributes = messaging(operation, operation, topic, record?.partition);
  const bytes = lengthOf(record?.value);
  attributes.value_len = bytes;
  attributes[semconv.MESSAGING_MESSAGE_BODY_SIZE] = bytes;
  return attributes;
}

const encoder = new TextEncoder();

function lengthOf(value: unknown): number {
  if (typeof value === "string") return encoder.encode(value).length;
  return value instanceof Uint8Array ? value.length : 0;
}

function linksTo(headers: HeadersInput): Link[] {
  const context = contextOfOwnHeaders(headers);
  const own = context && trace.getSpanContext(context);
  return own === undefined ? [] : [{ context: own }];
}

/** A record as consumed: what its spans tell of it. */
export interface ConsumedOne {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly value?: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
}

/** A partition by its topic's name. */
export interface Place {
  readonly topic: string;
  readonly partition: number;
}

/** Something that happened while the application waited for records. */
export interface PastEvent {
  readonly name: string;
  /** Ms since 1970. */
  readonly atMs: number;
  readonly attributes: Attributes;
}

/** What is known of a receive when it is over. */
export interface ReceiveSpanInit {
  /** Ms since 1970. */
  readonly beganAtMs: number;
  readonly endedAtMs: number;
  /** Of a `poll()`; an iteration waits for ever. */
  readonly timeoutMs?: number | undefined;
  readonly group?: string | undefined;
  /** The one topic that is read, if it is one. */
  readonly topic?: string | undefined;
  readonly count: number;
  /** Asked for only if the span is recorded. */
  readonly records: () => readonly ConsumedOne[];
  /** The partitions that they come from. */
  readonly from: readonly Place[];
  readonly events: readonly PastEvent[];
  readonly error?: unknown;
}

/**
 * CLIENT `receive <topic>`: one `poll()`, or one batch of an iteration, linked to the contexts that created its records. Made when
 * it is over, so that an idle poll makes none, unless it belongs to a sampled trace. Answers its context if it is recorded.
 */
export function recordReceiveSpan(
  telemetry: Telemetry,
  init: ReceiveSpanInit,
): SpanContext | undefined {
  if (!telemetry.enabled) return undefined;
  const { count, records, from, error, events, timeoutMs, group } = init;
  const isIdle = count === 0 && error === undefined && events.length === 0;
  if (isIdle && sampledParent() === undefined) return undefined;
  const { topic, partition } = common(from);
  const attributes = messaging("receive", "receive", topic ?? init.topic, partition, group);
  if (timeoutMs !== undefined) attributes.timeout_ms = timeoutMs;
  attributes.record_count = count;
  attributes[semconv.MESSAGING_BATCH_MESSAGE_COUNT] = count;
  const name = named("receive", topic ?? init.topic);
  const options = { kind: SpanKind.CLIENT, attributes, startTime: timeOf(init.beganAtMs) };
  const span = start(telemetry, name, options, activeContext.active());
  if (span === undefined) return undefined;
  if (span.isRecording()) complete(span, records(), events);
  endSpan(span, error, timeOf(init.endedAtMs));
  return span.spanContext();
}

/** The links are looked for only in a span that is recorded: reading the headers of thousands of records costs something. */
function complete(span: Span, records: readonly ConsumedOne[], events: readonly PastEvent[]): void {
  try {
    const creations = new Creations(records);
    span.addLinks(creations.links);
    if (creations.unlinked > 0) span.setAttribute("links_dropped", creations.unlinked);
    for (const { name, attributes, atMs } of events) span.addEvent(name, attributes, timeOf(atMs));
  } catch {
    // The application's SDK threw, or is older than links that are added later.
  }
}

/** A span and the context in which the application works. */
export interface ProcessSpan {
  readonly span: Span;
  readonly context: Context;
}

/**
 * CONSUMER `process <topic>`: the application's work on one record. Linked to the context that created it; a child of the active
 * span, or, without one, of that context.
 */
export function startProcessSpan(
  telemetry: Telemetry,
  record: ConsumedOne,
  group?: string,
): ProcessSpan | undefined {
  if (!telemetry.enabled || !telemetry.recordSpans) return undefined;
  const { topic, partition, offset, value } = record;
  const attributes = messaging("process", "process", topic, partition, group);
  attributes.offset = offset;
  if (value !== undefined) attributes.value_len = value?.length ?? 0;
  const creation = creationOf(record);
  const links = creation === undefined ? [] : [{ context: creation }];
  const parent = parentOfProcess(record, creation);
  const options = { kind: SpanKind.CONSUMER, attributes, links };
  const span = start(telemetry, `process ${topic}`, options, parent);
  return span && { span, context: trace.setSpan(parent, span) };
}

/**
 * The same for several records: linked to every context that created some of them (at most 128, the rest counted). Without an active
 * span it has a parent only if all its records share their creation context.
 */
export function startProcessBatchSpan(
  telemetry: Telemetry,
  records: readonly ConsumedOne[],
  group?: string,
): ProcessSpan | undefined {
  const first = records[0];
  if (!telemetry.enabled || first === undefined) return undefined;
  const { topic, partition } = common(records);
  const attributes = messaging("process", "process", topic, partition, group);
  attributes.record_count = records.length;
  attributes[semconv.MESSAGING_BATCH_MESSAGE_COUNT] = records.length;
  if (partition !== undefined) {
    attributes.offset = first.offset;
    attributes.last_offset = records.at(-1)?.offset ?? first.offset;
  }
  const { links, unlinked, shared } = new Creations(records);
  if (unlinked > 0) attributes.links_dropped = unlinked;
  const parent = parentOfProcess(first, shared);
  const options = { kind: SpanKind.CONSUMER, attributes, links };
  const span = start(telemetry, named("process", topic), options, parent);
  return span && { span, context: trace.setSpan(parent, span) };
}

/** The active context; without a trace in it the shared creation context, with its baggage, goes on here. */
function parentOfProcess(record: ConsumedOne, creation: SpanContext | undefined): Context {
  const active = activeContext.active();
  const current = trace.getSpanContext(active);
  if (creation === undefined || (current !== undefined && isSpanContextValid(current))) {
    return active;
  }
  const created = contextOfRecord(record.headers);
  const baggage = created && propagation.getBaggage(created);
  const parent = trace.setSpanContext(active, creation);
  return baggage === undefined ? parent : propagation.setBaggage(parent, baggage);
}

/** CLIENT `commit <topic>`: one commit of offsets, the conventions' settle. Of several topics: `commit`. */
export function startSettleSpan(
  telemetry: Telemetry,
  group: string,
  points: readonly Place[] = [],
): Span | undefined {
  if (!telemetry.enabled) return undefined;
  const { topic, partition } = common(points);
  const attributes = messaging("commit", "settle", topic, partition, group);
  attributes.partition_count = points.length;
  const options = { kind: SpanKind.CLIENT, attributes };
  return start(telemetry, named("commit", topic), options, activeContext.active());
}

/** Topic and partition, where all have the same. */
function common(all: readonly Place[]): {
  readonly topic: string | undefined;
  readonly partition: number | undefined;
} {
  const first = all[0];
  if (first === undefined) return { topic: undefined, partition: undefined };
  let isOnePartition = true;
  for (const { topic, partition } of all) {
    if (topic !== first.topic) return { topic: undefined, partition: undefined };
    if (partition !== first.partition) isOnePartition = false;
  }
  return { topic: first.topic, partition: isOnePartition ? first.partition : undefined };
}

/** `{operation} {destination}`; without a destination that all have in common, the operation alone. */
function named(operation: string, topic: string | undefined): string {
  return topic === undefined ? operation : `${operation} ${topic}`;
}

/** Seconds and nanoseconds: a plain number could be taken for one of the runtime's own clock. */
function timeOf(atMs: number): [number, number] {
  const seconds = Math.trunc(atMs / 1_000);
  return [seconds, Math.round((atMs - seconds * 1_000) * 1e6)];
}
