/**
 * The producer's spans and the trace context in record headers. A record is looked at only if a trace is active when it is sent,
 * and has a span of its own only if that trace is sampled. Called by the door (sends) and by `requests.ts` (requests).
 */
import { context as activeContext, type Span, type SpanContext, trace } from "@opentelemetry/api";
import { type ErrorOutcome, StreamHouseError } from "../core/errors.ts";
import type { HeadersInput, ProducerRecord, RecordHeader } from "../core/record.ts";
import type { BatchResult } from "../rpc/gen/streamhouse/v1/producer.ts";
import { fromErrorDetail, grpcStatusName, grpcStatusOf } from "../rpc/status.ts";
import { ActiveSpan } from "../telemetry/active-span.ts";
import { Lineage } from "../telemetry/lineage.ts";
import {
  createHeaderWriter,
  type HeaderWriter,
  traceFields,
  withTraceHeaders,
} from "../telemetry/propagation.ts";
import { type BulkSpans, startBulkSpans, startSendSpan } from "../telemetry/record-spans.ts";
import { RPC_RESPONSE_STATUS_CODE } from "../telemetry/semconv.ts";
import {
  addFailureEvent,
  addSpanEvent,
  contextOfSpan,
  endSpan,
  startBatchSpan,
} from "../telemetry/spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";

/** What is known of a batch in a request. */
export interface TracedBatch {
  readonly topic: string;
  readonly partition: number;
  readonly recordCount: number;
  readonly sizeBytes: number;
  readonly lineage: Lineage | undefined;
  /** Times it was handed to the network, this time included. */
  readonly attempts: number;
  readonly lastError: StreamHouseError | undefined;
}

/** A batch is sent again: what the spans of its records are told. */
export interface RetryNote {
  readonly error: StreamHouseError;
  /** The attempt that failed, from 1. */
  readonly attempt: number;
  /** The producer's epoch, if it has an identity. */
  readonly epoch: number | undefined;
}

/** The trace that a record belongs to. Without a span of its own it is one for all records of that trace. */
export class SendTrace {
  /** Where the record comes from: its own span, or the one that was active. */
  readonly origin: SpanContext;
  readonly #headers: readonly RecordHeader[];
  readonly #span: Span | undefined;

  constructor(origin: SpanContext, headers: readonly RecordHeader[], span?: Span) {
    this.origin = origin;
    this.#headers = headers;
    this.#span = span;
  }

  /** A record's headers with the trace's; those that the user set are left alone. */
  headersOf(user: HeadersInput | undefined): HeadersInput | undefined {
    return withTraceHeaders(user, this.#headers);
  }

  sent(partition: number, offset: number): void {
    if (this.#span === undefined) return;
    this.#span.setAttribute("partition", partition);
    this.#span.setAttribute("messaging.destination.partition.id", String(partition));
    if (offset >= 0) this.#span.setAttribute("offset", offset);
    endSpan(this.#span);
  }

  /** Its batch failed and is sent again. */
  retried(note: RetryNote): void {
    noteRetry(this.#span, note);
  }

  failed(error: StreamHouseError): void {
    endFailed(this.#span, error);
  }
}

/** The trace of all records of a `sendBatch()`. */
export class BulkTrace {
  readonly origin: SpanContext;
  readonly #headers: readonly (readonly RecordHeader[])[];
  readonly #common: readonly RecordHeader[];
  readonly #span: Span | undefined;

  /** `headers`: of single records, by their place; where there are none, `common` is written. */
  constructor(
    origin: SpanContext,
    common: readonly RecordHeader[],
    headers: readonly (readonly RecordHeader[])[] = [],
    span?: Span,
  ) {
    this.origin = origin;
    this.#common = common;
    this.#headers = headers;
    this.#span = span;
  }

  headersOf(user: HeadersInput | undefined, place: number): HeadersInput | undefined {
    return withTraceHeaders(user, this.#headers[place] ?? this.#common);
  }

  sent(): void {
    endSpan(this.#span);
  }

  retried(note: RetryNote): void {
    noteRetry(this.#span, note);
  }

  failed(error: StreamHouseError): void {
    endFailed(this.#span, error);
  }
}

function noteRetry(span: Span | undefined, { error, attempt, epoch }: RetryNote): void {
  if (span === undefined) return;
  const where = epoch === undefined ? { attempt } : { attempt, epoch };
  addFailureEvent(span, "failed_attempt", error, where);
  addSpanEvent(span, "retry", { "error.type": error.code, ...where });
}

function endFailed(span: Span | undefined, error: StreamHouseError): void {
  if (span === undefined) return;
  if (error.outcome === "unknown") addFailureEvent(span, "unknown_outcome", error);
  endSpan(span, error);
}

/** Events of one span: a request of hundreds of batches must not make a span of hundreds of events. */
const eventsMax = 16;

/** The span of one request. */
export class RequestTrace {
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
  readonly context: SpanContext;
  readonly #span: Span;
  #ended = false;

  constructor(span: Span, batches: readonly TracedBatch[]) {
    this.#span = span;
    this.context = span.spanContext();
    const { traceparent, tracestate } = traceFields(this.context);
    this.traceparent = traceparent;
    this.tracestate = tracestate;
    for (const batch of batches.filter((it) => it.attempts > 1).slice(0, eventsMax)) {
      const { topic, partition, attempts: attempt, lastError } = batch;
      const code = lastError?.code ?? "INTERNAL";
      addSpanEvent(span, "retry", { "error.type": code, attempt, topic, partition });
    }
  }

  /** `results` in the order of the batches. Of this and the following only the first call counts. */
  answered(results: readonly BatchResult[], batches: readonly TracedBatch[]): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#span.setAttribute(RPC_RESPONSE_STATUS_CODE, "OK");
    let failed = 0;
    let first: StreamHouseError | undefined;
    results.forEach(({ error: detail }, i) => {
      if (detail === undefined) return;
      const error = fromErrorDetail(detail);
      first ??= error;
      failed++;
      const { topic = "", partition = -1, attempts: attempt = 1 } = batches[i] ?? {};
      const where = { topic, partition, attempt };
      if (failed <= eventsMax) addFailureEvent(this.#span, "refused", error, where);
    });
    if (failed > 0) this.#span.setAttribute("failed_batches", failed);
    endSpan(this.#span, failed === results.length ? first : undefined);
  }

  failed(error: StreamHouseError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#span.setAttribute(RPC_RESPONSE_STATUS_CODE, grpcStatusName(grpcStatusOf(error)));
    if (error.kind === "fenced" || error.outcome === "unknown") {
      addFailureEvent(this.#span, "failed", error);
    }
    endSpan(this.#span, error);
  }

  /** Nobody waits for the answer any more. `outcome`: of its records. */
  abandoned(outcome: ErrorOutcome, reason: string): void {
    const message = `the request was given up: ${reason}`;
    this.failed(new StreamHouseError({ code: "ABORTED", kind: "closed", outcome, message }));
  }
}

export class ProducerTracing {
  readonly #telemetry: Telemetry;
  readonly #headers: HeaderWriter;
  readonly #activeSpan = new ActiveSpan();
  /** Of the last record without a span: a trace's records share it. */
  #shared: SendTrace | undefined;
  #sharedHeaders: readonly RecordHeader[] | undefined;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
    this.#headers = createHeaderWriter(telemetry);
  }

  /** For a record of `send()`. Undefined if no trace is active: the usual case, and nearly free. `now` is monotonic ms. */
  send(topic: string, record: ProducerRecord, now: number): SendTrace | undefined {
    const active = this.#active(now);
    if (active === undefined) return undefined;
    const span = startSendSpan(this.#telemetry, topic, record);
    if (span === undefined) return this.#withoutSpan(active);
    return new SendTrace(span.spanContext(), this.#headers.headers(contextOfSpan(span)), span);
  }

  #withoutSpan(active: SpanContext): SendTrace {
    const headers = this.#headers.headers();
    if (this.#shared?.origin !== active || this.#sharedHeaders !== headers) {
      this.#shared = new SendTrace(active, headers);
      this.#sharedHeaders = headers;
    }
    return this.#shared;
  }

  /** For all records of a `sendBatch()`. */
  sendBatch(topic: string, records: readonly ProducerRecord[], now: number): BulkTrace | undefined {
    const active = this.#active(now);
    if (active === undefined) return undefined;
    const spans = startBulkSpans(this.#telemetry, topic, records);
    if (spans === undefined) return new BulkTrace(active, this.#headers.headers());
    const common = this.#headers.headers(contextOfSpan(spans.send));
    return new BulkTrace(spans.send.spanContext(), common, this.#createdHeaders(spans), spans.send);
  }

  #createdHeaders({ created, send }: BulkSpans): (readonly RecordHeader[])[] {
    if (created === undefined) return [];
    return created.map((context) => {
      const origin = context ?? send.spanContext();
      return this.#headers.headers(trace.setSpanContext(activeContext.active(), origin));
    });
  }

  #active(now: number): SpanContext | undefined {
    return this.#telemetry.enabled ? this.#activeSpan.at(now) : undefined;
  }

  request(batches: readonly TracedBatch[], agent: string): RequestTrace | undefined {
    const [first] = batches;
    if (!this.#telemetry.enabled || first === undefined) return undefined;
    // An application's trace is handed on to the agent even where no provider records it.
    if (!this.#telemetry.traces && batches.every((it) => it.lineage === undefined))
      return undefined;
    const oneTopic = batches.every((batch) => batch.topic === first.topic);
    const span = startBatchSpan(this.#telemetry, {
      recordCount: batches.reduce((sum, batch) => sum + batch.recordCount, 0),
      bytes: batches.reduce((sum, batch) => sum + batch.sizeBytes, 0),
      topic: oneTopic ? first.topic : undefined,
      partition: batches.length === 1 ? first.partition : undefined,
      attempt: batches.reduce((most, batch) => Math.max(most, batch.attempts), 1),
      lineage: batches.length === 1 ? first.lineage : joined(batches),
      agent,
    });
    return span && new RequestTrace(span, batches);
  }
}

/** Where the records of several batches come from. */
function joined(batches: readonly TracedBatch[]): Lineage | undefined {
  if (batches.every((batch) => batch.lineage === undefined)) return undefined;
  const all = new Lineage();
  for (const { lineage } of batches) all.join(lineage);
  return all;
}
