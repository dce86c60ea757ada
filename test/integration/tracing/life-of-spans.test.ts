/** Every span that is started is ended, once, whatever becomes of the work: success, failure, abort, close, a stop in the middle. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { context, ROOT_CONTEXT } from "@opentelemetry/api";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { fault } from "../../unit/producer/fake-agents.ts";
import { setUp, watch } from "../../unit/producer/setup.ts";
import { openTraced, type Recorded, record, type Traced } from "./harness.ts";

function assertNoLeak({ book, complaints }: Recorded): void {
  assert.deepEqual([...book.open.values()], [], "spans that were never ended");
  assert.deepEqual(complaints, [], "what the SDK complained of: ends of spans that had ended");
  const ids = book.ended.map((it) => it.spanContext().spanId);
  assert.equal(new Set(ids).size, ids.length);
}

async function within(work: (traced: Traced) => Promise<void>): Promise<void> {
  const traced = await openTraced({ t: 2 });
  try {
    await work(traced);
  } finally {
    await traced.close();
  }
  assertNoLeak(traced);
}

const code = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "nothing",
    (error: unknown) => (StreamHouseError.is(error) ? error.code : String(error)),
  );

describe("the life of a span", () => {
  it("ends with the work that it measures", () =>
    within(async ({ house, under }) => {
      const producer = house.producer();
      await under("handler", async () => {
        await producer.send({ topic: "t", value: "x" });
        await producer.sendBatch({ topic: "t", records: [{ value: "a" }, { value: "b" }] });
        const consumer = house.consumer({ group: "g", topics: ["t"] });
        let seen = 0;
        for await (const one of consumer) {
          await consumer.process(one, () => {});
          if (++seen === 3) break;
        }
        await consumer.commit();
        await house.admin.describeGroup("g");
        await consumer.close();
      });
    }));

  it("ends when the work fails", () =>
    within(async ({ house, under, book }) => {
      const producer = house.producer({ lingerMs: 0 });
      const consumer = house.consumer({ group: "g", topics: ["t"] });
      await under("handler", async () => {
        const unknown = producer.send({ topic: "no-such-topic", value: "x" });
        assert.equal(await code(unknown), "TOPIC_NOT_FOUND");
        const beyond = producer.send({ topic: "t", value: "x", partition: 9 });
        assert.equal(await code(beyond), "PARTITION_OUT_OF_RANGE");
        const bad = producer.send({ topic: "t", value: 5 as never });
        assert.equal(await code(bad), "INVALID_ARGUMENT");
        const records = [{ value: "a" }, { value: "b", partition: 9 }, null as never];
        assert.notEqual(await code(producer.sendBatch({ topic: "t", records })), "nothing");
        const sent = await producer.send({ topic: "t", value: "x" });
        assert.equal(sent.offset !== undefined, true);
        const [one] = await consumer.poll(10_000);
        assert.ok(one);
        const boom = consumer.process(one, () => Promise.reject(new RangeError("boom")));
        assert.equal(await code(boom), "RangeError: boom");
        assert.equal(await code(house.admin.describeTopic("none")), "TOPIC_NOT_FOUND");
      });
      const [process] = book.named("process t");
      assert.equal(process?.attributes["error.type"], "RangeError");
      const failed = book.named("send no-such-topic");
      assert.equal(failed[0]?.attributes["error.type"], "TOPIC_NOT_FOUND");
      await consumer.close();
    }));

  it("ends when the caller aborts", () =>
    within(async ({ house, under }) => {
      const producer = house.producer({ lingerMs: 60_000 });
      const consumer = house.consumer({ group: "g", topics: ["t"] });
      await under("handler", async () => {
        await producer.sendBatch({ topic: "t", records: [] });
        const abort = new AbortController();
        const sent = producer.send({ topic: "t", value: "x" }, { signal: abort.signal });
        const polled = consumer.poll(60_000, { signal: abort.signal });
        const looped = (async () => {
          await polled.catch(() => {});
          for await (const _ of consumer.records({ signal: abort.signal })) break;
        })();
        abort.abort();
        assert.equal(await code(sent), "ABORTED");
        assert.equal(await code(polled), "ABORTED");
        assert.equal(await code(looped), "ABORTED");
      });
      await consumer.close();
    }));

  it("ends when producer and consumer are closed in the middle", () =>
    within(async ({ house, under }) => {
      const producer = house.producer({ lingerMs: 60_000 });
      const consumer = house.consumer({ group: "g", topics: ["t"] });
      await under("handler", async () => {
        const sent = code(producer.send({ topic: "t", value: "x" }));
        const loop = (async () => {
          for await (const _ of consumer);
        })();
        await Promise.all([producer.close({ timeoutMs: 0 }), consumer.close()]);
        await Promise.all([sent, loop]);
      });
    }));

  it("ends when the producer is closed while an agent does not answer", async () => {
    const recorded = record();
    const { cluster, clock, producer } = setUp({ lingerMs: 0 }, { telemetry: recorded.sdk });
    cluster.addTopic("t");
    cluster.agent.script = () => ({ until: new Promise(() => {}) });
    await recorded.under("handler", async () => {
      watch(producer.send({ topic: "t", value: "x" }));
      await clock.run(100);
      await clock.until(producer.close({ timeoutMs: 10 }));
    });
    assert.equal(recorded.book.one("send_batch_to_agent").attributes["error.type"], "ABORTED");
    assert.equal(recorded.book.one("send t").attributes["error.type"], "CLOSED");
    await recorded.close();
    assertNoLeak(recorded);
  });

  it("ends when the delivery deadline ends, however many attempts were made", async () => {
    const recorded = record();
    const { cluster, clock, producer } = setUp(
      { lingerMs: 0, deliveryTimeoutMs: 1_000 },
      { telemetry: recorded.sdk },
    );
    cluster.addTopic("t");
    cluster.agent.script = (_request, _call, nth) =>
      nth < 4 ? { reject: fault("OVERLOADED") } : { until: new Promise(() => {}) };
    await recorded.under("handler", async () => {
      watch(producer.send({ topic: "t", value: "x" }));
      await clock.run(5_000);
    });
    await clock.until(producer.close());
    assert.equal(recorded.book.one("send t").attributes["error.type"], "DEADLINE_EXCEEDED");
    await recorded.close();
    assertNoLeak(recorded);
  });

  it("does not change what is sent, received and thrown when the SDK throws in every call", async () => {
    const traced = await openTraced(["t"], {
      tracerProvider: { getTracer: () => throwingTracer },
    });
    const producer = traced.house.producer({ lingerMs: 0 });
    const consumer = traced.house.consumer({ group: "g", topics: ["t"] });
    await traced.under("handler", async () => {
      const { offset } = await producer.send({ topic: "t", value: "x" });
      assert.equal(offset, 0);
      await producer.sendBatch({ topic: "t", records: [{ value: "y" }] });
      const [first] = await context.with(ROOT_CONTEXT, () => consumer.poll(10_000));
      assert.ok(first);
      assert.equal(await consumer.process(first, () => 7), 7);
      await consumer.commit();
    });
    await traced.close();
  });
});

const throwingTracer = {
  startSpan(): never {
    throw new Error("a broken sampler");
  },
  startActiveSpan(): never {
    throw new Error("a broken sampler");
  },
};
