/**
 * The producer's spans and the trace context in record headers. A record is looked at only if a trace is active when it is sent,
 * and has a span of its own only if that trace is sampled. Called by the door (sends) and by `requests.ts` (requests).
 */
import { context as activeContext, type Span, type SpanContext, trace } from "@opentelemetry/api";
import type { StreamHouseError } from "../core/errors.ts";
import type { ProducerRecord, RecordHeader } from "../core/record.ts";
import { Lineage } from "../telemetry/lineage.ts";
import {
  createHeaderWriter,
  type HeaderWriter,
  traceFields,
  withTraceHeaders,
} from "../telemetry/propagation.ts";
import { contextOfSpan, endSpan, startBatchSpan, startSendSpan } from "../telemetry/spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";

/** What is known of a batch in a request. */
export interface TracedBatch {
  readonly topic: string;
  readonly partition: number;
  readonly recordCount: number;
  readonly sizeBytes: number;
  readonly lineage: Lineage | undefined;
}

/** The trace that a record, or all records of a `sendBatch`, belong to. */
export class SendTrace {
  /** Where the record comes from: its own span, or the one that was active. */
  readonly origin: SpanContext;
  readonly #headers: readonly RecordHeader[];
  readonly #span: Span | undefined;

  constructor(origin: SpanContext, headers: readonly RecordHeader[], span: Span | undefined) {
    this.origin = origin;
    this.#headers = headers;
    this.#span = span;
  }

  /** The record with the trace's headers; those that the user set are left alone. */
  mark<R extends ProducerRecord>(record: R): R {
    if (this.#headers.length === 0) return record;
    return { ...record, headers: withTraceHeaders(record.headers, this.#headers) };
  }

  sent(partition: number, offset: number): void {
    if (this.#span === undefined) return;
    this.#span.setAttribute("partition", partition);
    if (offset >= 0) this.#span.setAttribute("offset", offset);
    endSpan(this.#span);
  }

  failed(error: StreamHouseError): void {
    endSpan(this.#span, error);
  }
}

/** The span of one request. */
export class RequestTrace {
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
  readonly #span: Span;

  constructor(span: Span) {
    this.#span = span;
    const { traceparent, tracestate } = traceFields(span.spanContext());
    this.traceparent = traceparent;
    this.tracestate = tracestate;
  }

  /** `failed`: batches of it that were not taken. */
  answered(failed: number): void {
    if (failed > 0) this.#span.setAttribute("failed_batches", failed);
    endSpan(this.#span);
  }

  failed(error: StreamHouseError): void {
    endSpan(this.#span, error);
  }
}

export class ProducerTracing {
  readonly #telemetry: Telemetry;
  readonly #headers: HeaderWriter;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
    this.#headers = createHeaderWriter(telemetry);
  }

  /** For a record of `send()`. Undefined if no trace is active: the usual case, and nearly free. */
  send(topic: string, record: ProducerRecord): SendTrace | undefined {
    const active = this.#active();
    if (active === undefined) return undefined;
    const bytes = record.value?.length ?? 0;
    const span = startSendSpan(this.#telemetry, topic, bytes, record.partition);
    const origin = span?.spanContext() ?? active;
    return new SendTrace(origin, this.#headers.headers(contextOfSpan(span)), span);
  }

  /** For all records of a `sendBatch()`: they come from the active span and have none of their own. */
  sendBatch(): SendTrace | undefined {
    const active = this.#active();
    return active && new SendTrace(active, this.#headers.headers(), undefined);
  }

  #active(): SpanContext | undefined {
    return this.#telemetry.enabled ? trace.getSpanContext(activeContext.active()) : undefined;
  }

  request(batches: readonly TracedBatch[], agent: string): RequestTrace | undefined {
    const [first] = batches;
    if (!this.#telemetry.enabled || first === undefined) return undefined;
    const oneTopic = batches.every((batch) => batch.topic === first.topic);
    const span = startBatchSpan(this.#telemetry, {
      recordCount: batches.reduce((sum, batch) => sum + batch.recordCount, 0),
      bytes: batches.reduce((sum, batch) => sum + batch.sizeBytes, 0),
      topic: oneTopic ? first.topic : undefined,
      partition: batches.length === 1 ? first.partition : undefined,
      lineage: batches.length === 1 ? first.lineage : joined(batches),
      agent,
    });
    return span && new RequestTrace(span);
  }
}

/** Where the records of several batches come from. */
function joined(batches: readonly TracedBatch[]): Lineage | undefined {
  if (batches.every((batch) => batch.lineage === undefined)) return undefined;
  const all = new Lineage();
  for (const { lineage } of batches) {
    all.add(lineage?.parent);
    for (const link of lineage?.links ?? []) all.add(link.context);
  }
  return all;
}
