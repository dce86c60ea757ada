import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { context, propagation, ROOT_CONTEXT, type Span, SpanKind, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  ParentBasedSampler,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { Lineage } from "../../../src/telemetry/lineage.ts";
import { createHeaderWriter, traceFields } from "../../../src/telemetry/propagation.ts";
import * as records from "../../../src/telemetry/record-spans.ts";
import * as rpc from "../../../src/telemetry/rpc-spans.ts";
import * as spans from "../../../src/telemetry/spans.ts";
import { createTelemetry } from "../../../src/telemetry/telemetry.ts";

const exporter = new InMemorySpanExporter();
const tracerProvider = new BasicTracerProvider({
  sampler: new ParentBasedSampler({ root: new AlwaysOnSampler() }),
  spanProcessors: [new SimpleSpanProcessor(exporter)],
});
const telemetry = createTelemetry({ tracerProvider }, { name: "test" });
const off = createTelemetry(false, { name: "test" });
const call = { traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01` };
const unsampled = trace.setSpanContext(ROOT_CONTEXT, {
  traceId: "c".repeat(32),
  spanId: "d".repeat(16),
  traceFlags: 0,
});

function ended(): ReadableSpan {
  const [span] = exporter.getFinishedSpans();
  exporter.reset();
  assert.ok(span !== undefined, "no span ended");
  return span;
}

/** Ends the span and answers what an exporter sees of it. */
function seen(span: Span | undefined, error?: unknown): ReadableSpan {
  assert.ok(span !== undefined, "no span was started");
  spans.endSpan(span, error);
  return ended();
}

describe("spans", () => {
  before(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  });
  after(() => {
    context.disable();
    propagation.disable();
    telemetry.close();
  });

  it("of a send exist only under a sampled span", () => {
    assert.equal(records.startSendSpan(telemetry, "orders", { value: "12345" }), undefined);
    context.with(unsampled, () => {
      assert.equal(records.startSendSpan(telemetry, "orders", { value: "12345" }), undefined);
    });
    const parent = telemetry.tracer.startSpan("handler");
    const span = spans.withSpan(parent, () =>
      records.startSendSpan(telemetry, "orders", { value: "12345", partition: 2 }),
    );
    const send = seen(span);
    assert.equal(send.name, "send orders");
    assert.equal(send.kind, SpanKind.PRODUCER);
    assert.equal(send.parentSpanContext?.spanId, parent.spanContext().spanId);
    assert.deepEqual(send.attributes, {
      "messaging.system": "streamhouse",
      "messaging.operation.name": "send",
      "messaging.operation.type": "send",
      "messaging.destination.name": "orders",
      "messaging.destination.partition.id": "2",
      "messaging.message.body.size": 5,
      topic: "orders",
      partition: 2,
      value_len: 5,
    });
  });

  it("of a batch hang under its one trace, or are linked to many", () => {
    const lineage = new Lineage();
    const origin = telemetry.tracer.startSpan("origin").spanContext();
    lineage.add(origin);
    const batch = seen(
      spans.startBatchSpan(telemetry, { recordCount: 3, topic: "orders", partition: 1, lineage }),
    );
    assert.equal(batch.name, "send_batch_to_agent");
    assert.equal(batch.kind, SpanKind.CLIENT);
    assert.equal(batch.parentSpanContext?.spanId, origin.spanId);
    assert.equal(batch.attributes.record_count, 3);
    lineage.add(telemetry.tracer.startSpan("other").spanContext());
    const mixed = seen(spans.startBatchSpan(telemetry, { recordCount: 4, lineage }));
    assert.equal(mixed.parentSpanContext, undefined);
    assert.equal(mixed.links.length, 2);
  });

  it("of a batch do not fall under whatever span happens to be active", () => {
    const active = telemetry.tracer.startSpan("unrelated");
    const batch = spans.withSpan(active, () => spans.startBatchSpan(telemetry, { recordCount: 1 }));
    assert.equal(seen(batch).parentSpanContext, undefined);
  });

  it("of the agent continue the caller's trace, down to store and metadata", () => {
    const init = { recordCount: 2, batches: 1, bytes: 100 };
    const server = rpc.startProduceServerSpan(telemetry, call, init);
    const lineage = new Lineage();
    lineage.add(server?.spanContext());
    const flush = spans.startFlushSpan(telemetry, { batches: 1, bytes: 100, lineage });
    const put = seen(spans.startStoreSpan(telemetry, flush, "put"));
    assert.deepEqual([put.name, put.kind], ["store put", SpanKind.CLIENT]);
    const commit = seen(spans.startMetadataSpan(telemetry, flush, "commit"));
    assert.deepEqual([commit.name, commit.kind], ["metadata commit", SpanKind.CLIENT]);
    const flushed = seen(flush);
    assert.deepEqual([flushed.name, flushed.kind], ["flush", SpanKind.INTERNAL]);
    const served = seen(server);
    assert.deepEqual([served.name, served.kind], ["ProducerService.produce", SpanKind.SERVER]);
    assert.equal(served.parentSpanContext?.spanId, "b".repeat(16));
    for (const span of [put, commit, flushed]) {
      assert.equal(span.spanContext().traceId, "a".repeat(32));
    }
    assert.equal(put.parentSpanContext?.spanId, flushed.spanContext().spanId);
    assert.equal(served.attributes["rpc.method"], "streamhouse.v1.ProducerService/Produce");
  });

  it("of store calls do not exist under a flush that is not recorded", () => {
    const lineage = new Lineage();
    lineage.add(trace.getSpanContext(unsampled));
    const flush = spans.startFlushSpan(telemetry, { batches: 1, bytes: 1, lineage });
    assert.equal(spans.startStoreSpan(telemetry, flush, "put"), undefined);
    assert.equal(spans.startMetadataSpan(telemetry, undefined, "commit"), undefined);
  });

  it("of consuming name the group, and link to what created the record", () => {
    const idle = { count: 0, records: () => [], from: [], events: [], beganAtMs: 1_000 };
    assert.equal(records.recordReceiveSpan(telemetry, { ...idle, endedAtMs: 1_250 }), undefined);
    const at = [{ topic: "orders", partition: 1, offset: 9, headers: [] }];
    const one = { ...idle, count: 1, records: () => at, from: at, endedAtMs: 1_250.5 };
    records.recordReceiveSpan(telemetry, { ...one, timeoutMs: 250, group: "g" });
    const receive = ended();
    assert.deepEqual([receive.name, receive.kind], ["receive orders", SpanKind.CLIENT]);
    assert.deepEqual(
      [receive.startTime, receive.endTime],
      [
        [1, 0],
        [1, 250_500_000],
      ],
    );
    assert.equal(receive.attributes.timeout_ms, 250);
    assert.equal(receive.attributes["messaging.consumer.group.name"], "g");
    const created = telemetry.tracer.startSpan("create");
    const headers = createHeaderWriter(telemetry).headers(spans.contextOfSpan(created));
    const record = { topic: "orders", partition: 1, offset: 9, headers };
    const process = seen(records.startProcessSpan(telemetry, record, "g")?.span);
    assert.deepEqual([process.name, process.kind], ["process orders", SpanKind.CONSUMER]);
    assert.deepEqual(
      process.links.map((link) => link.context.spanId),
      [created.spanContext().spanId],
    );
    const settle = seen(records.startSettleSpan(telemetry, "g", [record]));
    assert.equal(settle.name, "commit orders");
  });

  it("say by code what failed", () => {
    const error = new StreamHouseError({
      code: "OVERLOADED",
      kind: "unavailable",
      message: "full",
    });
    const span = seen(spans.startBatchSpan(telemetry, { recordCount: 1 }), error);
    assert.equal(span.attributes["error.type"], "OVERLOADED");
    assert.deepEqual(span.status, { code: 2, message: "full" });
  });

  it("of calls have the gRPC status, which is an error of a server only where the server failed", () => {
    const method = "streamhouse.v1.ConsumerService/Fetch";
    const fault = new StreamHouseError({ code: "INTERNAL", kind: "internal", message: "broken" });
    rpc.endCall(rpc.startServerSpan(telemetry, method, call), "server", "INTERNAL", fault);
    const failed = ended();
    assert.deepEqual([failed.name, failed.kind], [method, SpanKind.SERVER]);
    assert.equal(failed.attributes["rpc.response.status_code"], "INTERNAL");
    assert.equal(failed.attributes["error.type"], "INTERNAL");
    assert.equal(failed.status.code, 2);
    const gone = new StreamHouseError({ code: "TOPIC_NOT_FOUND", kind: "invalid", message: "no" });
    rpc.endCall(rpc.startServerSpan(telemetry, method, call), "server", "NOT_FOUND", gone);
    const refused = ended();
    assert.equal(refused.attributes["streamhouse.error.code"], "TOPIC_NOT_FOUND");
    assert.equal(refused.attributes["error.type"], undefined);
    assert.equal(refused.status.code, 0);
  });

  it("carry events", () => {
    const span = records.startSettleSpan(telemetry, "g");
    spans.addSpanEvent(span, "rebalance", { epoch: 3 });
    assert.deepEqual(
      seen(span).events.map((event) => [event.name, event.attributes]),
      [["rebalance", { epoch: 3 }]],
    );
  });

  it("do not exist with telemetry off", () => {
    const parent = telemetry.tracer.startSpan("handler");
    spans.withSpan(parent, () => {
      assert.equal(records.startSendSpan(off, "t", { value: "x" }), undefined);
      assert.equal(spans.startBatchSpan(off, { recordCount: 1 }), undefined);
      assert.equal(
        rpc.startProduceServerSpan(off, call, { recordCount: 1, batches: 1, bytes: 1 }),
        undefined,
      );
      assert.equal(records.startBulkSpans(off, "t", [{ value: "x" }]), undefined);
    });
    assert.doesNotThrow(() => spans.endSpan(undefined));
    assert.equal(
      spans.withSpan(undefined, () => 5),
      5,
    );
  });

  it("do not throw into the application when its SDK does", () => {
    const broken = createTelemetry(
      {
        tracerProvider: {
          getTracer: () => ({
            startSpan() {
              throw new Error("broken sampler");
            },
            startActiveSpan() {
              throw new Error("broken sampler");
            },
          }),
        },
      },
      { name: "test" },
    );
    assert.equal(spans.startBatchSpan(broken, { recordCount: 1 }), undefined);
    broken.close();
  });

  it("hand their context to the other process", () => {
    const span = spans.startBatchSpan(telemetry, { recordCount: 1 });
    const fields = traceFields(span?.spanContext());
    const server = seen(
      rpc.startProduceServerSpan(telemetry, fields, { recordCount: 1, batches: 1, bytes: 1 }),
    );
    assert.equal(server.parentSpanContext?.spanId, span?.spanContext().spanId);
    assert.equal(server.parentSpanContext?.isRemote, true);
  });
});
