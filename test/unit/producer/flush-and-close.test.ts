import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { SendRecord } from "../../../src/producer/producer.ts";
import { settle } from "../../../src/testing/manual-clock.ts";
import { fault } from "./fake-agents.ts";
import { errorOf, resultOf, setUp, watch } from "./setup.ts";

describe("flush()", () => {
  it("sends what lingers at once, and afterwards nothing is pending", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 60_000 });
    cluster.addTopic("t", 3);
    const sends = [0, 1, 2].map((partition) =>
      watch(producer.send({ topic: "t", partition, value: "x" })),
    );
    await clock.run(10);
    assert.equal(producer.pending, 3);
    await producer.flush();
    assert.equal(producer.pending, 0);
    assert.equal(sends.map(resultOf).length, 3);
    assert.equal(clock.pending, 0);
  });

  it("waits for sends that are still looking for their topic", async () => {
    const { cluster, producer } = setUp({ lingerMs: 60_000 });
    cluster.addTopic("t");
    const send = watch(producer.send({ topic: "t", value: "x" }));
    await producer.flush();
    assert.equal(resultOf(send).offset, 0);
  });

  it("waits for sends that wait for room", async () => {
    const { cluster, producer } = setUp({ lingerMs: 60_000, bufferBytes: 100 });
    cluster.addTopic("t");
    const sends = Array.from({ length: 50 }, () =>
      watch(producer.send({ topic: "t", value: "0123456789" })),
    );
    await producer.flush();
    assert.equal(sends.map(resultOf).length, 50);
    assert.equal(producer.pending, 0);
  });

  it("ends although others go on sending", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 60_000 });
    cluster.addTopic("t");
    const before = watch(producer.send({ topic: "t", value: "before" }));
    await settle();
    const flushed = watch(producer.flush());
    const after = watch(producer.send({ topic: "t", value: "after" }));
    await settle();
    assert.ok(flushed.ending && "value" in flushed.ending);
    assert.equal(resultOf(before).offset, 0);
    // It went into the same batch, or it lingers in its own: flush() did not wait for it.
    await clock.run(60_000);
    assert.equal(resultOf(after).offset, 1);
  });

  it("never rejects: a failed record is reported by its own promise only", async () => {
    const { cluster, producer } = setUp();
    cluster.addTopic("t");
    cluster.agent.script = () => ({ reject: fault("INVALID_ARGUMENT", "invalid") });
    const send = watch(producer.send({ topic: "t", value: "x" }));
    await producer.flush();
    assert.equal(errorOf(send).code, "INVALID_ARGUMENT");
  });

  it("with nothing to do is done", async () => {
    const { producer } = setUp();
    await producer.flush();
    await producer.flush();
  });
});

describe("close()", () => {
  it("flushes, then refuses, and leaves nothing that runs", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 60_000 });
    cluster.addTopic("t");
    const send = watch(producer.send({ topic: "t", value: "x" }));
    await producer.close();
    assert.equal(resultOf(send).offset, 0);
    assert.equal(clock.pending, 0);
    const late = watch(producer.send({ topic: "t", value: "y" }));
    const lateBatch = watch(producer.sendBatch({ topic: "t", records: [] }));
    await settle();
    assert.equal(errorOf(late).code, "CLOSED");
    assert.equal(errorOf(lateBatch).code, "CLOSED");
  });

  it("fails what is left after its time limit: outcome none here, unknown on its way", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0, inFlight: 1 });
    cluster.addTopic("t");
    cluster.agent.script = () => ({ until: new Promise(() => {}) });
    const first = watch(producer.send({ topic: "t", value: "a" }));
    await settle();
    const second = watch(producer.send({ topic: "t", value: "b" }));
    await settle();
    const closed = watch(producer.close({ timeoutMs: 3_000 }));
    await clock.run(2_999);
    assert.equal(closed.ending, undefined);
    await clock.run(1);
    assert.ok(closed.ending && "value" in closed.ending);
    assert.deepEqual([errorOf(first).code, errorOf(first).outcome], ["CLOSED", "unknown"]);
    assert.deepEqual([errorOf(second).code, errorOf(second).outcome], ["CLOSED", "none"]);
    assert.equal(producer.pending, 0);
    assert.equal(clock.pending, 0);
    assert.equal(cluster.agent.calls[0]?.signal?.aborted, true);
  });

  it("fails calls that wait for their topic or for room", async () => {
    const { cluster, clock, producer } = setUp({ bufferBytes: 50 });
    cluster.addTopic("full");
    cluster.agent.script = () => ({ until: new Promise(() => {}) });
    cluster.onTopic = (name) => (name === "slow" ? new Promise(() => {}) : undefined);
    const slow = watch(producer.send({ topic: "slow", value: "a" }));
    const sends = Array.from({ length: 5 }, () =>
      watch(producer.send({ topic: "full", value: "b" })),
    );
    await clock.run(10);
    const closing = producer.close({ timeoutMs: 1 });
    await clock.run(1);
    await closing;
    for (const it of [slow, ...sends]) assert.equal(errorOf(it).code, "CLOSED");
    assert.equal(producer.pending, 0);
    assert.equal(clock.pending, 0);
  });

  it("twice is once, and disposal is close", async () => {
    const { producer } = setUp();
    assert.equal(producer.close(), producer.close());
    await producer[Symbol.asyncDispose]();
  });
});

describe("writable", () => {
  it("sends what is piped into it, in order, and is done when everything is acknowledged", async () => {
    const { cluster, clock, producer } = setUp({ bufferBytes: 200 });
    const topic = cluster.addTopic("t");
    const values = Array.from({ length: 100 }, (_, i) => `${i}`);
    const source = new ReadableStream<SendRecord>({
      start(controller) {
        for (const value of values) controller.enqueue({ topic: "t", value });
        controller.close();
      },
    });
    const piped = watch(source.pipeTo(producer.writable));
    await clock.run(5_000);
    assert.ok(piped.ending && "value" in piped.ending);
    assert.deepEqual(cluster.log.values(topic.id, 0), values);
  });

  it("fails with the first record that fails", async () => {
    const { cluster, clock, producer } = setUp();
    cluster.addTopic("t");
    const writer = producer.writable.getWriter();
    writer.closed.catch(() => {});
    await writer.write({ topic: "t", value: "fine" });
    watch(writer.write({ topic: "t", value: "bad", timestamp: -1 }));
    await clock.run(100);
    const failed = watch(writer.write({ topic: "t", value: "later" }));
    await settle();
    assert.equal(errorOf(failed).code, "INVALID_ARGUMENT");
  });
});
