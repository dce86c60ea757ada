import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SpanKind, SpanStatusCode } from "@opentelemetry/api";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { Acks } from "../../../src/rpc/gen/streamhouse/v1/producer.ts";
import { type BenchAgent, batchOf, createTopic, readAll, startAgent } from "./bench-agent.ts";

const trace = (digit: string) => `00-${digit.repeat(32)}-${digit.repeat(16)}-01`;

async function start() {
  const exporter = new InMemorySpanExporter();
  const tracerProvider = new BasicTracerProvider({
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  });
  const bench = await startAgent({ telemetry: { tracerProvider } });
  const topicId = await createTopic(bench, "t", { partitions: 2 });
  return { bench, exporter, topicId };
}

const produce = (bench: BenchAgent, partition: number, traceparent: string | undefined) =>
  bench.agent.api.produce(
    {
      acks: Acks.ACKS_DURABLE,
      timeoutMs: 0,
      batches: [{ topic: "t", topicId: "", partition, records: batchOf(["a", "b"]) }],
    },
    { traceparent },
  );

const named = (spans: readonly ReadableSpan[], name: string) =>
  spans.filter((it) => it.name === name);

describe("the trace of a produce call", () => {
  it("goes on from the caller's: ProducerService.produce, flush, store put and metadata commit", async () => {
    const { bench, exporter } = await start();
    await bench.clock.until(produce(bench, 0, trace("a")));
    await bench.clock.until(bench.agent.stop());
    const spans = exporter.getFinishedSpans();
    const [server] = named(spans, "ProducerService.produce");
    assert.equal(server?.kind, SpanKind.SERVER);
    assert.equal(server?.parentSpanContext?.spanId, "a".repeat(16));
    assert.equal(server?.attributes.record_count, 2);
    const [flush] = named(spans, "flush");
    assert.equal(flush?.parentSpanContext?.spanId, server?.spanContext().spanId);
    for (const name of ["store put", "metadata commit"]) {
      const [span] = named(spans, name);
      assert.equal(span?.parentSpanContext?.spanId, flush?.spanContext().spanId, name);
      assert.equal(span?.spanContext().traceId, "a".repeat(32));
    }
  });

  it("is linked, not joined, where a flush holds batches of several traces", async () => {
    const { bench, exporter } = await start();
    const both = [produce(bench, 0, trace("a")), produce(bench, 1, trace("b"))];
    await bench.clock.until(Promise.all(both));
    await bench.clock.until(bench.agent.stop());
    const spans = exporter.getFinishedSpans();
    const [flush] = named(spans, "flush");
    assert.equal(flush?.parentSpanContext, undefined);
    const linked = flush?.links.map((it) => it.context.traceId).sort();
    assert.deepEqual(linked, ["a".repeat(32), "b".repeat(32)]);
  });

  it("shows a failed write and the flush that followed it", async () => {
    const { bench, exporter } = await start();
    bench.sink.fates.push("fail");
    await bench.clock.until(produce(bench, 0, trace("a")));
    await bench.clock.until(bench.agent.stop());
    const flushes = named(exporter.getFinishedSpans(), "flush");
    assert.deepEqual(
      flushes.map((it) => it.status.code),
      [SpanStatusCode.ERROR, SpanStatusCode.UNSET],
    );
  });
});

describe("telemetry", () => {
  it("changes nothing: offsets, order and bytes are the same with it, without it, and with one that throws", async () => {
    const broken = {
      getTracer: () => {
        throw new Error("no tracer");
      },
    };
    const results: unknown[] = [];
    for (const telemetry of [
      false,
      {},
      { tracerProvider: new BasicTracerProvider() },
      { tracerProvider: { getTracer: () => ({ startSpan: broken.getTracer }) } as never },
    ] as const) {
      const bench = await startAgent({ telemetry });
      const topicId = await createTopic(bench, "t", { partitions: 2 });
      bench.sink.fates.push("fail");
      const answers = [0, 1, 0].map((partition) => produce(bench, partition, trace("a")));
      const offsets = (await bench.clock.until(Promise.all(answers))).map(
        (it) => it.results[0]?.baseOffset,
      );
      results.push([offsets, await readAll(bench, topicId, 0), await readAll(bench, topicId, 1)]);
      await bench.clock.until(bench.agent.stop());
      assert.equal(bench.clock.pending, 0);
    }
    for (const it of results) assert.deepEqual(it, results[0]);
  });
});
