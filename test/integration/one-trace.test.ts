/** One trace from the application's span through producer, gRPC and agent, and from the record's headers to its consumer. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { context, SpanKind, trace } from "@opentelemetry/api";
import {
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import { type Served, serve } from "../../src/serve/serve.ts";
import { bootstrap, type TelemetrySdk } from "../../src/telemetry/bootstrap.ts";
import { eventually } from "./child.ts";
import { temporaryFolder } from "./ways.ts";

describe("the trace of a record over gRPC", () => {
  const exporter = new InMemorySpanExporter();
  let sdk: TelemetrySdk;
  let served: Served;
  let house: House;
  let removeFolder: () => Promise<void>;
  let traceId = "";
  let applicationSpanId = "";
  let headers: readonly string[] = [];

  const spans = () => exporter.getFinishedSpans();
  const named = (name: string): ReadableSpan => {
    const found = spans().find(
      (span) => span.name === name && span.spanContext().traceId === traceId,
    );
    const names = spans().map((span) => span.name);
    assert.ok(found, `no span ${name} of the trace; there are ${names}`);
    return found;
  };
  const idOf = (span: ReadableSpan) => span.spanContext().spanId;

  before(async () => {
    const folder = await temporaryFolder();
    removeFolder = folder.remove;
    sdk = bootstrap({ env: {}, spanProcessors: [new SimpleSpanProcessor(exporter)] });
    served = await serve({
      data: folder.path,
      grpc: "127.0.0.1:0",
      http: false,
      telemetry: sdk,
    });
    house = await connect({ agents: [served.grpc], telemetry: sdk });
    await house.admin.createTopic("traced");
    const tracer = sdk.tracerProvider.getTracer("application");
    await tracer.startActiveSpan("checkout", async (span) => {
      traceId = span.spanContext().traceId;
      applicationSpanId = span.spanContext().spanId;
      await house.producer().send({ topic: "traced", value: "traced" });
      span.end();
    });
    const consumer = house.consumer({ group: "tracing", topics: ["traced"] });
    for await (const record of consumer) {
      headers = record.headers.map(([name]) => name);
      await consumer.process(record, () => {
        assert.ok(trace.getSpan(context.active()), "no span is active while processing");
      });
      break;
    }
    await eventually("the last span", () =>
      spans().some((span) => span.name.startsWith("process")),
    );
  });

  after(async () => {
    await house.close();
    await served.stop();
    await sdk.shutdown();
    await removeFolder();
  });

  it("begins with a PRODUCER span under the application's own", () => {
    const send = named("send traced");
    assert.equal(send.kind, SpanKind.PRODUCER);
    assert.equal(send.parentSpanContext?.spanId, applicationSpanId);
    assert.equal(send.attributes.topic, "traced");
    assert.equal(send.attributes.value_len, 6);
  });

  it("goes on in the request to the agent, a CLIENT span", () => {
    const batch = named("send_batch_to_agent");
    assert.equal(batch.kind, SpanKind.CLIENT);
    assert.equal(batch.parentSpanContext?.spanId, idOf(named("send traced")));
    assert.equal(batch.attributes.record_count, 1);
  });

  it("crosses gRPC in the stream's frame to the agent's SERVER span", () => {
    const produce = named("ProducerService.produce");
    assert.equal(produce.kind, SpanKind.SERVER);
    assert.equal(produce.parentSpanContext?.spanId, idOf(named("send_batch_to_agent")));
    assert.equal(produce.parentSpanContext?.isRemote, true);
    const all = spans().filter((span) => span.name === "ProducerService.produce");
    assert.equal(all.length, 1, "one request frame makes one span");
  });

  it("holds the flush that made the record durable", () => {
    const flush = named("flush");
    assert.equal(flush.parentSpanContext?.spanId, idOf(named("ProducerService.produce")));
  });

  it("travels in the record's header to the consumer, whose span links to it", () => {
    assert.ok(headers.includes("traceparent"), `headers: ${headers}`);
    const process = spans().find((span) => span.name === "process traced");
    assert.equal(process?.kind, SpanKind.CONSUMER);
    const linked = process?.links.map((link) => link.context.traceId);
    assert.deepEqual(linked, [traceId]);
    assert.equal(process?.links[0]?.context.spanId, idOf(named("send traced")));
  });
});
