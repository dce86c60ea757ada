/**
 * Every span of StreamHouse: name, kind, parent and attributes in one place (docs/observability.md has the table). Names and short
 * attributes are the seed's (`topic`, `partition`, `value_len`, `record_count`, `timeout_ms`), beside the messaging conventions'
 * own. No function throws, and none costs more than nanoseconds a record without an SDK. Called by producer, agent, consumer.
 */
import {
  type Attributes,
  context as activeContext,
  type Context,
  type Link,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  type SpanOptions,
  SpanStatusCode,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import { StreamHouseError } from "../core/errors.ts";
import type { RecordHeader } from "../core/record.ts";
import type { Lineage } from "./lineage.ts";
import { contextOfCall, contextOfRecord, type TraceFields } from "./propagation.ts";
import * as semconv from "./semconv.ts";
import type { Telemetry } from "./telemetry.ts";

/**
 * PRODUCER `send <topic>`: one record, from `send()` to its acknowledgement. Undefined unless the span that is active is
 * sampled: most records then cost one look at the active context.
 */
export function startSendSpan(
  telemetry: Telemetry,
  topic: string,
  valueBytes: number,
  partition?: number,
): Span | undefined {
  if (!telemetry.enabled) return undefined;
  const parent = activeContext.active();
  const spanContext = trace.getSpanContext(parent);
  if (spanContext === undefined || (spanContext.traceFlags & TraceFlags.SAMPLED) === 0) {
    return undefined;
  }
  const attributes = messaging("send", "send", topic, partition);
  attributes.value_len = valueBytes;
  attributes[semconv.MESSAGING_MESSAGE_BODY_SIZE] = valueBytes;
  return start(telemetry, `send ${topic}`, { kind: SpanKind.PRODUCER, attributes }, parent);
}

/** What is known of a batch that goes to an agent. */
export interface BatchSpanInit {
  readonly recordCount: number;
  readonly topic?: string | undefined;
  readonly partition?: number | undefined;
  readonly bytes?: number | undefined;
  /** `host:port` of the agent. */
  readonly agent?: string | undefined;
  /** Where its records come from: gives the parent or the links. */
  readonly lineage?: Lineage | undefined;
}

/** CLIENT `send_batch_to_agent`: one request of a producer, from the hand-over to the network until its answer. */
export function startBatchSpan(telemetry: Telemetry, init: BatchSpanInit): Span | undefined {
  const attributes: Attributes =
    init.topic === undefined
      ? { [semconv.MESSAGING_SYSTEM]: semconv.MESSAGING_SYSTEM_VALUE }
      : messaging("send_batch", "send", init.topic, init.partition);
  attributes.record_count = init.recordCount;
  attributes[semconv.MESSAGING_BATCH_MESSAGE_COUNT] = init.recordCount;
  if (init.bytes !== undefined) attributes.bytes = init.bytes;
  if (init.agent !== undefined) attributes[semconv.SERVER_ADDRESS] = init.agent;
  return startOf(telemetry, "send_batch_to_agent", SpanKind.CLIENT, attributes, init.lineage);
}

/** SERVER `ProducerService.produce`: one Produce call or one frame of a ProduceStream, continuing the caller's trace. */
export function startProduceServerSpan(
  telemetry: Telemetry,
  call: TraceFields,
  init: { readonly recordCount: number; readonly batches: number; readonly bytes: number },
): Span | undefined {
  const attributes = {
    ...rpc("streamhouse.v1.ProducerService/Produce"),
    record_count: init.recordCount,
    batch_count: init.batches,
    bytes: init.bytes,
  };
  return startServer(telemetry, "ProducerService.produce", call, attributes);
}

/** SERVER span of any other call, named as in the seed: `ConsumerService.fetch`, `GroupService.commit_offsets`. */
export function startServerSpan(
  telemetry: Telemetry,
  name: string,
  call: TraceFields,
  attributes: Attributes = {},
): Span | undefined {
  const own = { [semconv.RPC_SYSTEM_NAME]: "grpc", ...attributes };
  return startServer(telemetry, name, call, own);
}

/** INTERNAL `flush`: from seal to commit of one flush of an agent. */
export function startFlushSpan(
  telemetry: Telemetry,
  init: {
    readonly batches: number;
    readonly bytes: number;
    readonly lineage?: Lineage | undefined;
  },
): Span | undefined {
  const attributes = { batch_count: init.batches, bytes: init.bytes };
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

/** CLIENT `receive`: one `poll()`. Set what came with `span.setAttribute("record_count", n)`. */
export function startReceiveSpan(
  telemetry: Telemetry,
  init: {
    readonly timeoutMs: number;
    readonly group?: string | undefined;
    /** With one topic the span is named after it too. */
    readonly topic?: string | undefined;
  },
): Span | undefined {
  const attributes = messaging("receive", "receive", init.topic, undefined, init.group);
  attributes.timeout_ms = init.timeoutMs;
  const name = init.topic === undefined ? "receive" : `receive ${init.topic}`;
  if (!telemetry.enabled) return undefined;
  return start(telemetry, name, { kind: SpanKind.CLIENT, attributes }, activeContext.active());
}

/** What is known of a record that an application works on. */
export interface ProcessSpanInit {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly group?: string | undefined;
  readonly headers: readonly RecordHeader[];
}

/** CONSUMER `process <topic>`: the application's work on one record, linked to the context that created the record. */
export function startProcessSpan(telemetry: Telemetry, init: ProcessSpanInit): Span | undefined {
  if (!telemetry.enabled) return undefined;
  const attributes = messaging("process", "process", init.topic, init.partition, init.group);
  attributes.offset = init.offset;
  const created = contextOfRecord(init.headers);
  const creation = created && trace.getSpanContext(created);
  const links: Link[] = creation === undefined ? [] : [{ context: creation }];
  const options = { kind: SpanKind.CONSUMER, attributes, links };
  return start(telemetry, `process ${init.topic}`, options, activeContext.active());
}

/** CLIENT `commit <group>`: one commit of offsets (the conventions' settle). */
export function startSettleSpan(
  telemetry: Telemetry,
  group: string,
  attributes: Attributes = {},
): Span | undefined {
  if (!telemetry.enabled) return undefined;
  const own = { ...messaging("commit", "settle", undefined, undefined, group), ...attributes };
  const options = { kind: SpanKind.CLIENT, attributes: own };
  return start(telemetry, `commit ${group}`, options, activeContext.active());
}

/** Ends a span; with an error its status and `error.type` (our code) say so. Undefined is nothing to end. */
export function endSpan(span: Span | undefined, error?: unknown): void {
  if (span === undefined) return;
  try {
    if (error !== undefined) {
      const message = error instanceof Error ? error.message : String(error);
      const name = error instanceof Error ? error.name : "_OTHER";
      span.setAttribute(semconv.ERROR_TYPE, StreamHouseError.is(error) ? error.code : name);
      span.setStatus({ code: SpanStatusCode.ERROR, message });
    }
    span.end();
  } catch {
    // A span processor of the application threw: the work that the span measured is done all the same.
  }
}

/** Something that happened during a span: a retry, a fencing, a rebalance. */
export function addSpanEvent(span: Span | undefined, name: string, attributes?: Attributes): void {
  try {
    span?.addEvent(name, attributes);
  } catch {
    // As in endSpan.
  }
}

/** Runs `fn` with the span active, so that what it starts becomes its child. */
export function withSpan<T>(span: Span | undefined, fn: () => T): T {
  if (span === undefined) return fn();
  return activeContext.with(trace.setSpan(activeContext.active(), span), fn);
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

function startServer(
  telemetry: Telemetry,
  name: string,
  call: TraceFields,
  attributes: Attributes,
): Span | undefined {
  if (!telemetry.enabled) return undefined;
  return start(telemetry, name, { kind: SpanKind.SERVER, attributes }, contextOfCall(call));
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

function start(
  telemetry: Telemetry,
  name: string,
  options: SpanOptions,
  parent: Context,
): Span | undefined {
  try {
    return telemetry.tracer.startSpan(name, options, parent);
  } catch {
    // A sampler or span processor of the application threw.
    return undefined;
  }
}

function rpc(method: string): Attributes {
  return { [semconv.RPC_SYSTEM_NAME]: "grpc", [semconv.RPC_METHOD]: method };
}

function messaging(
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
