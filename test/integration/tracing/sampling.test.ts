/** What is not recorded: records of traces that are not sampled, single records when that is switched off, idle polls. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { context, ROOT_CONTEXT } from "@opentelemetry/api";
import { eventually } from "../child.ts";
import { idOf, linkedIds, openTraced, parentOf, type Traced } from "./harness.ts";

async function work(traced: Traced, topic: string): Promise<void> {
  const producer = traced.house.producer({ lingerMs: 0 });
  await producer.send({ topic, value: "x" });
  await producer.sendBatch({ topic, records: [{ value: "y" }, { value: "z" }] });
  const consumer = traced.house.consumer({ group: `${topic}-group`, topics: [topic] });
  let seen = 0;
  while (seen < 3) {
    const records = await consumer.poll(10_000);
    for (const record of records) await consumer.process(record, () => {});
    seen += records.length;
  }
  await consumer.commit();
  await consumer.close();
  await producer.close();
}

describe("sampling", () => {
  it("makes no span at all of work under a span that is not sampled", async () => {
    const traced = await openTraced(["t"]);
    try {
      await traced.underUnsampled(() => work(traced, "t"));
      assert.deepEqual(
        traced.book.ended.map((it) => it.name),
        [],
      );
      assert.equal(traced.book.open.size, 0);
    } finally {
      await traced.close();
    }
  });

  it("does not even ask the SDK for spans of records that are not sampled", async () => {
    const asked: string[] = [];
    const { trace } = await import("@opentelemetry/api");
    const tracerProvider = {
      getTracer: (name: string) => {
        const tracer = trace.getTracer(name);
        const startSpan: typeof tracer.startSpan = (span, ...rest) => {
          asked.push(span);
          return tracer.startSpan(span, ...rest);
        };
        return Object.assign(Object.create(tracer), { startSpan });
      },
    };
    const traced = await openTraced(["t"], { tracerProvider });
    try {
      await traced.underUnsampled(() => work(traced, "t"));
      const ofRecords = asked.filter((name) => name === "send t" || name === "create t");
      assert.deepEqual(ofRecords, []);
      assert.ok(asked.includes("send_batch_to_agent"), `${asked}`);
    } finally {
      await traced.close();
    }
  });

  it("makes no span of single records with recordSpans: false, and keeps those of batches and calls", async () => {
    const traced = await openTraced(["t"], { recordSpans: false });
    try {
      await traced.under("handler", () => work(traced, "t"));
      const names = new Set(traced.book.ended.map((it) => it.name));
      for (const gone of ["create t", "process t"]) assert.equal(names.has(gone), false, gone);
      for (const kept of ["receive t", "commit t", "send_batch_to_agent", "flush"]) {
        assert.ok(names.has(kept), kept);
      }
      const sends = traced.book.named("send t");
      assert.equal(sends.length, 1, "one for the sendBatch, none for the record");
      assert.equal(sends[0]?.attributes["messaging.batch.message_count"], 2);
    } finally {
      await traced.close();
    }
  });

  it("makes no span of a poll that brought nothing, unless it belongs to a sampled trace", async () => {
    const traced = await openTraced(["t"]);
    try {
      const consumer = traced.house.consumer({ group: "g", topics: ["t"], autoCommit: false });
      // The group's first assignment is told of once, in whichever poll comes after it.
      await eventually("the first assignment", async () => {
        await consumer.poll(10);
        return traced.book.named("receive t").length > 0;
      });
      const told = traced.book.named("receive t").map((it) => it.events.map(({ name }) => name));
      assert.deepEqual(told, [["rebalance"]]);
      traced.book.clear();
      await context.with(ROOT_CONTEXT, () => consumer.poll(1));
      assert.deepEqual(traced.book.ended, []);
      await traced.under("handler", () => consumer.poll(1));
      const idle = traced.book.one("receive t");
      assert.equal(idle.attributes.record_count, 0);
      assert.equal(parentOf(idle), idOf(traced.book.one("handler")));
      await consumer.close();
    } finally {
      await traced.close();
    }
  });

  it("records a batch of several traces where one of them is sampled, although the ratio says no", async () => {
    const env = { OTEL_TRACES_SAMPLER: "parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG: "0" };
    const traced = await openTraced(["t"], {}, env);
    try {
      const producer = traced.house.producer({ lingerMs: 60_000 });
      const sampled = { traceId: "a".repeat(32), spanId: "b".repeat(16), traceFlags: 1 };
      const { trace } = await import("@opentelemetry/api");
      await context.with(trace.setSpanContext(ROOT_CONTEXT, sampled), async () => {
        void producer.send({ topic: "t", value: "sampled" });
      });
      await traced.underUnsampled(async () => void producer.send({ topic: "t", value: "other" }));
      await producer.flush();
      const [batch] = await traced.book.until("send_batch_to_agent");
      assert.deepEqual(batch && linkedIds(batch), [idOf(traced.book.one("send t"))]);
      await traced.book.until("flush");
      assert.equal(traced.book.named("metadata commit").length, 1);
      await producer.close();
    } finally {
      await traced.close();
    }
  });

  it("keeps the consumer's background out of the trace in which it was started", async () => {
    const traced = await openTraced(["t"]);
    try {
      const consumer = traced.house.consumer({
        group: "g",
        topics: ["t"],
        autoCommitIntervalMs: 20,
      });
      await traced.under("start-up", () => consumer.poll(50));
      const producer = traced.house.producer();
      await producer.send({ topic: "t", value: "x" });
      await context.with(ROOT_CONTEXT, () => consumer.poll(10_000));
      await context.with(ROOT_CONTEXT, () => consumer.poll(1));
      const [commit] = await traced.book.until("commit t");
      assert.ok(commit);
      assert.equal(parentOf(commit), undefined);
      const startUp = idOf(traced.book.one("start-up"));
      const under = traced.book.ended.filter((it) => parentOf(it) === startUp);
      assert.deepEqual(
        under.map((it) => it.name),
        ["receive t"],
      );
      await consumer.close();
    } finally {
      await traced.close();
    }
  });
});
