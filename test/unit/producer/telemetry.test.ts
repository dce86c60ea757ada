import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { context, propagation, ROOT_CONTEXT, SpanKind, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  ParentBasedSampler,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { decodeBatch, plainRecord } from "../../../src/format/batch-decoder.ts";
import type { ProducerOptions } from "../../../src/producer/options.ts";
import type { TelemetryOptions } from "../../../src/telemetry/telemetry.ts";
import { settle } from "../../../src/testing/manual-clock.ts";
import { MemoryReader } from "../telemetry/memory-reader.ts";
import { type FakeCluster, fault } from "./fake-agents.ts";
import { errorOf, type Setup, setUp, watch } from "./setup.ts";

function measured(options: ProducerOptions = {}): Setup & {
  /** Points of one metric by their labels; of histograms the count and the sum. */
  read(name: string): Promise<Record<string, unknown>>;
} {
  const reader = new MemoryReader();
  const meterProvider = new MeterProvider({ readers: [reader] });
  const setup = setUp(options, { telemetry: { meterProvider } });
  return {
    ...setup,
    async read(name) {
      const points = (await reader.read())[`streamhouse.${name}`]?.points ?? {};
      const plain = Object.entries(points).map(([labels, it]) => {
        const { count, sum } = (it ?? {}) as { count?: number; sum?: number };
        return [labels, count === undefined ? it : [count, sum]];
      });
      return Object.fromEntries(plain);
    },
  };
}

describe("the producer's metrics", () => {
  it("count records and bytes when they are acknowledged, and one duration for each send()", async () => {
    const { cluster, clock, producer, read } = measured({ lingerMs: 0 });
    cluster.addTopic("orders");
    cluster.agent.script = () => ({ until: new Promise<void>((done) => clock.schedule(30, done)) });
    for (let i = 0; i < 3; i++) watch(producer.send({ topic: "orders", value: "0123456789" }));
    await clock.run(10);
    assert.equal((await read("pending.records"))["topic=orders"], 3);
    assert.equal((await read("records.sent"))["topic=orders"] ?? 0, 0);
    await clock.run(100);
    const bytes = cluster.agent.requests[0]?.batches[0]?.records.length ?? 0;
    assert.equal((await read("pending.records"))["topic=orders"], 0);
    assert.deepEqual(await read("records.sent"), { "topic=orders": 3 });
    assert.deepEqual(await read("bytes.sent"), { "topic=orders": bytes });
    assert.deepEqual(await read("send.duration.seconds"), { "topic=orders": [3, 0.09] });
    assert.deepEqual(await read("batch.flush.duration.seconds"), { "topic=orders": [1, 0.03] });
    assert.deepEqual(await read("batch.size.records"), { "topic=orders": [1, 3] });
    assert.deepEqual(await read("batch.size.bytes"), { "topic=orders": [1, bytes] });
    assert.deepEqual(await read("send.errors"), {});
  });

  it("count a record that failed for good once, by our code, and its duration; a retry is no error", async () => {
    const { cluster, clock, producer, read } = measured();
    cluster.addTopic("orders");
    cluster.agent.script = (_request, _call, nth) =>
      nth <= 2 ? { reject: fault("OVERLOADED") } : { reject: fault("STORE_FULL", "invalid") };
    for (let i = 0; i < 2; i++) watch(producer.send({ topic: "orders", value: "x" }));
    await clock.run(5_000);
    assert.deepEqual(await read("send.errors"), { "error.type=STORE_FULL,topic=orders": 2 });
    assert.deepEqual(await read("client.retries"), { "error.type=OVERLOADED": 2 });
    assert.equal((await read("records.sent"))["topic=orders"] ?? 0, 0);
    assert.equal((await read("pending.records"))["topic=orders"], 0);
    const [count] = (await read("send.duration.seconds"))["topic=orders"] as number[];
    assert.equal(count, 2);
    const [batches] = (await read("batch.flush.duration.seconds"))["topic=orders"] as number[];
    assert.equal(batches, 1);
  });

  it("show records as pending while their topic is still looked up, and then under its name", async () => {
    const { cluster, clock, producer, read } = measured({ lingerMs: 50 });
    cluster.addTopic("orders");
    const found = Promise.withResolvers<void>();
    cluster.onTopic = () => found.promise;
    watch(producer.send({ topic: "orders", value: "x" }));
    await settle();
    assert.deepEqual(await read("pending.records"), { "topic=_OTHER": 1 });
    found.resolve();
    await clock.run(10);
    assert.deepEqual(await read("pending.records"), { "topic=_OTHER": 0, "topic=orders": 1 });
    await producer.close();
  });

  it("never make a label of a topic that does not exist", async () => {
    const { clock, producer, read } = measured();
    watch(producer.send({ topic: "no-such-topic", value: "x" }));
    await settle();
    await clock.run(100);
    assert.deepEqual(await read("send.errors"), { "error.type=TOPIC_NOT_FOUND,topic=_OTHER": 1 });
    assert.deepEqual(await read("pending.records"), { "topic=_OTHER": 0 });
    assert.deepEqual(await read("records.sent"), {});
  });

  it("count records that no batch takes, aborted ones, and those of a failed sendBatch", async () => {
    const { cluster, clock, producer, read } = measured({ lingerMs: 50 });
    cluster.addTopic("t");
    const abort = new AbortController();
    watch(producer.send({ topic: "t", value: 5 as never }));
    watch(producer.send({ topic: "t", value: "x" }, { signal: abort.signal }));
    const records = [{ value: "a" }, { value: "b", partition: 7 }];
    watch(producer.sendBatch({ topic: "t", records }));
    await settle();
    abort.abort();
    await clock.run(500);
    assert.deepEqual(await read("send.errors"), {
      "error.type=INVALID_ARGUMENT,topic=t": 1,
      "error.type=ABORTED,topic=t": 1,
      "error.type=PARTITION_OUT_OF_RANGE,topic=t": 1,
    });
    assert.deepEqual(await read("records.sent"), { "topic=t": 1 });
    assert.equal((await read("pending.records"))["topic=t"], 0);
  });
});

describe("the producer's metrics by the conventions", () => {
  /** `messaging.…` by labels; of histograms the count. */
  function conventional(options: ProducerOptions = {}, more: Partial<TelemetryOptions> = {}) {
    const reader = new MemoryReader();
    const meterProvider = new MeterProvider({ readers: [reader] });
    const setup = setUp(options, { telemetry: { meterProvider, ...more } });
    const read = async (name: string) => {
      const points = (await reader.read())[name]?.points ?? {};
      return Object.fromEntries(
        Object.entries(points).map(([labels, it]) => {
          const { count } = (it ?? {}) as { count?: number };
          return [labels, count ?? it];
        }),
      );
    };
    return { ...setup, read };
  }
  const labels = "messaging.destination.name=orders,messaging.operation.name=send";
  const system = "messaging.system=streamhouse";

  it("count records that reached an agent once, with the code of those that failed there", async () => {
    const { cluster, clock, producer, read } = conventional({ lingerMs: 0 });
    cluster.addTopic("orders");
    cluster.agent.script = (_request, _call, nth) =>
      nth === 1
        ? { reject: fault("OVERLOADED") }
        : nth === 3
          ? { reject: fault("STORE_FULL", "invalid") }
          : {};
    watch(producer.sendBatch({ topic: "orders", records: [{ value: "a" }, { value: "b" }] }));
    await clock.run(1_000);
    watch(producer.send({ topic: "orders", value: "fails" }));
    watch(producer.send({ topic: "orders", value: "x", partition: 9 }));
    await clock.run(1_000);
    assert.deepEqual(await read("messaging.client.sent.messages"), {
      [`${labels},${system}`]: 2,
      [`error.type=STORE_FULL,${labels},${system}`]: 1,
    });
    assert.deepEqual(await read("messaging.client.operation.duration"), {
      [`${labels},${system}`]: 1,
      [`error.type=STORE_FULL,${labels},${system}`]: 1,
    });
  });

  it("name the partition only where partitions are labels", async () => {
    const { cluster, clock, producer, read } = conventional({}, { partitionLabels: true });
    cluster.addTopic("orders", 2);
    for (const partition of [0, 1])
      watch(producer.send({ topic: "orders", value: "x", partition }));
    await clock.run(100);
    const where = "messaging.destination.name=orders,messaging.destination.partition.id";
    const rest = `messaging.operation.name=send,${system}`;
    assert.deepEqual(await read("messaging.client.sent.messages"), {
      [`${where}=0,${rest}`]: 1,
      [`${where}=1,${rest}`]: 1,
    });
  });

  it("sample the longest wait of each batch where single sends are not measured", async () => {
    const { cluster, clock, producer, read } = conventional(
      { lingerMs: 50 },
      { sendDuration: "per-batch" },
    );
    cluster.addTopic("orders");
    for (let i = 0; i < 10; i++) watch(producer.send({ topic: "orders", value: "x" }));
    watch(producer.sendBatch({ topic: "orders", records: [{ value: "a" }] }));
    await clock.run(200);
    assert.deepEqual(await read("streamhouse.send.duration.seconds"), { "topic=orders": 1 });
    assert.deepEqual(await read("streamhouse.records.sent"), { "topic=orders": 11 });
  });

  it("count look-ups and ids that were asked for again", async () => {
    const { cluster, clock, producer, read } = conventional();
    cluster.addTopic("orders");
    let asked = 0;
    cluster.onTopic = async () => {
      if (++asked <= 2) throw fault("AGENT_UNREACHABLE", "unavailable", { retriable: true });
    };
    watch(producer.send({ topic: "orders", value: "x" }));
    await clock.run(3_000);
    assert.deepEqual(await read("streamhouse.client.retries"), {
      "error.type=AGENT_UNREACHABLE": 2,
    });
  });
});

describe("the producer's traces", () => {
  const exporter = new InMemorySpanExporter();
  const tracerProvider = new BasicTracerProvider({
    sampler: new ParentBasedSampler({ root: new AlwaysOnSampler() }),
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  });
  const tracer = tracerProvider.getTracer("application");
  const meterProvider = new MeterProvider();

  before(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  });
  after(() => {
    context.disable();
    propagation.disable();
  });

  function traced(): Setup {
    exporter.reset();
    return setUp({}, { telemetry: { tracerProvider, meterProvider } });
  }

  function spansNamed(name: string): ReadableSpan[] {
    return exporter.getFinishedSpans().filter((it) => it.name === name);
  }

  async function traceparents(cluster: FakeCluster): Promise<(string | undefined)[]> {
    const batches = cluster.agent.requests.flatMap((it) => it.batches);
    const records = await Promise.all(batches.map((it) => decodeBatch(it.records, plainRecord)));
    return records.flat().map(({ headers }) => {
      const value = headers.find(([name]) => name === "traceparent")?.[1];
      return value ? new TextDecoder().decode(value) : undefined;
    });
  }

  it("follow a record: send under the active span, its batch under the send, its context in the headers and in the call", async () => {
    const { cluster, clock, producer } = traced();
    cluster.addTopic("orders");
    const parent = tracer.startSpan("handler");
    context.with(trace.setSpan(ROOT_CONTEXT, parent), () => {
      watch(producer.send({ topic: "orders", value: "12345" }));
    });
    await clock.run(100);
    const [send] = spansNamed("send orders");
    const [batch] = spansNamed("send_batch_to_agent");
    assert.ok(send && batch);
    assert.equal(send.kind, SpanKind.PRODUCER);
    assert.equal(send.parentSpanContext?.spanId, parent.spanContext().spanId);
    assert.equal(send.attributes.offset, 0);
    assert.equal(send.attributes.value_len, 5);
    assert.equal(batch.kind, SpanKind.CLIENT);
    assert.equal(batch.parentSpanContext?.spanId, send.spanContext().spanId);
    assert.equal(batch.attributes.record_count, 1);
    const traceId = parent.spanContext().traceId;
    assert.deepEqual(await traceparents(cluster), [
      `00-${traceId}-${send.spanContext().spanId}-01`,
    ]);
    const call = cluster.agent.calls[0];
    assert.equal(call?.traceparent, `00-${traceId}-${batch.spanContext().spanId}-01`);
  });

  it("give a batch whose records come from several traces no parent, but links", async () => {
    const { cluster, clock, producer } = traced();
    cluster.addTopic("orders");
    for (const name of ["one", "two"]) {
      context.with(trace.setSpan(ROOT_CONTEXT, tracer.startSpan(name)), () => {
        watch(producer.send({ topic: "orders", value: "x" }));
      });
    }
    watch(producer.send({ topic: "orders", value: "untraced" }));
    await clock.run(100);
    const [batch] = spansNamed("send_batch_to_agent");
    assert.ok(batch);
    assert.equal(batch.parentSpanContext, undefined);
    assert.deepEqual(
      batch.links.map((it) => it.context.spanId),
      spansNamed("send orders").map((it) => it.spanContext().spanId),
    );
  });

  it("make no span for a record whose trace is not sampled, but pass its context on", async () => {
    const { cluster, clock, producer } = traced();
    cluster.addTopic("orders");
    const spanContext = { traceId: "c".repeat(32), spanId: "d".repeat(16), traceFlags: 0 };
    context.with(trace.setSpanContext(ROOT_CONTEXT, spanContext), () => {
      watch(producer.send({ topic: "orders", value: "x" }));
      watch(producer.sendBatch({ topic: "orders", records: [{ value: "y" }] }));
    });
    await clock.run(100);
    assert.equal(spansNamed("send orders").length, 0);
    const carried = `00-${"c".repeat(32)}-${"d".repeat(16)}-00`;
    assert.deepEqual(await traceparents(cluster), [carried, carried]);
  });

  it("leave a traceparent that the user set alone", async () => {
    const { cluster, clock, producer } = traced();
    cluster.addTopic("orders");
    const own = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    context.with(trace.setSpan(ROOT_CONTEXT, tracer.startSpan("handler")), () => {
      watch(producer.send({ topic: "orders", value: "x", headers: { traceparent: own } }));
    });
    await clock.run(100);
    assert.deepEqual(await traceparents(cluster), [own]);
  });

  it("end with the error's code when a record fails", async () => {
    const { cluster, clock, producer } = traced();
    cluster.addTopic("orders");
    cluster.agent.script = () => ({ reject: fault("STORE_FULL", "invalid") });
    const send = context.with(trace.setSpan(ROOT_CONTEXT, tracer.startSpan("handler")), () =>
      watch(producer.send({ topic: "orders", value: "x" })),
    );
    await clock.run(100);
    assert.equal(errorOf(send).code, "STORE_FULL");
    for (const name of ["send orders", "send_batch_to_agent"]) {
      const [span] = spansNamed(name);
      assert.equal(span?.attributes["error.type"], "STORE_FULL", name);
    }
  });

  it("cost a record without an active trace no span and no header", async () => {
    const { cluster, clock, producer } = traced();
    cluster.addTopic("orders");
    watch(producer.send({ topic: "orders", value: "x" }));
    await clock.run(100);
    assert.equal(spansNamed("send orders").length, 0);
    assert.deepEqual(await traceparents(cluster), [undefined]);
    assert.equal(spansNamed("send_batch_to_agent").length, 1);
  });
});
