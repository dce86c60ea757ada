import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { settle } from "../../../src/testing/manual-clock.ts";
import { fault } from "./fake-agents.ts";
import { errorOf, resultOf, setUp, watch } from "./setup.ts";

describe("the buffer", () => {
  it("makes sends wait when it is full, and lets them in in the order of the calls", async () => {
    const { cluster, clock, producer } = setUp({ bufferBytes: 500, batchBytes: 250, inFlight: 1 });
    const topic = cluster.addTopic("t");
    let answer = Promise.withResolvers<void>();
    cluster.agent.script = () => ({ until: answer.promise });
    const sends = Array.from({ length: 60 }, (_, i) =>
      watch(producer.send({ topic: "t", value: `${i}`.padStart(20, "0") })),
    );
    for (let rounds = 0; producer.pending > 0; rounds++) {
      assert.ok(rounds < 60, "it must end");
      await clock.run(50);
      const inBatches = cluster.agent.requests.length;
      assert.ok(inBatches <= rounds + 1, "one request at a time");
      const before = answer;
      answer = Promise.withResolvers<void>();
      before.resolve();
      await settle();
    }
    assert.deepEqual(
      sends.map((it) => resultOf(it).offset),
      sends.map((_, i) => i),
    );
    assert.deepEqual(cluster.log.values(topic.id, 0)[59], "59".padStart(20, "0"));
  });

  it("does not let batches linger while sends wait for room", async () => {
    const { cluster, clock, producer } = setUp({ bufferBytes: 300, lingerMs: 60_000 });
    cluster.addTopic("t", 8);
    const sends = Array.from({ length: 40 }, (_, i) =>
      watch(producer.send({ topic: "t", partition: i % 8, value: "0123456789" })),
    );
    await clock.run(100);
    const settled = sends.filter((it) => it.ending !== undefined).length;
    assert.ok(settled >= 30, `${settled} of 40 went through`);
    await producer.flush();
    assert.equal(producer.pending, 0);
  });

  it("counts a record's time in line towards its deadline", async () => {
    const { cluster, clock, producer } = setUp({
      bufferBytes: 50,
      deliveryTimeoutMs: 1_000,
      lingerMs: 0,
    });
    cluster.addTopic("t");
    cluster.agent.script = () => ({ until: new Promise(() => {}) });
    const first = watch(producer.send({ topic: "t", value: "0123456789" }));
    await clock.run(300);
    const second = watch(producer.send({ topic: "t", value: "0123456789" }));
    await clock.run(700);
    assert.deepEqual(
      [errorOf(first).code, errorOf(first).outcome],
      ["DEADLINE_EXCEEDED", "unknown"],
    );
    assert.equal(second.ending, undefined);
    await clock.run(300);
    assert.equal(errorOf(second).code, "DEADLINE_EXCEEDED");
    assert.equal(producer.pending, 0);
  });

  it("keeps a topic that cannot be found from holding up others", async () => {
    const { cluster, clock, producer } = setUp();
    cluster.addTopic("there");
    cluster.onTopic = (name) => (name === "lost" ? new Promise(() => {}) : undefined);
    const lost = watch(producer.send({ topic: "lost", value: "a" }));
    const there = watch(producer.send({ topic: "there", value: "b" }));
    await clock.run(10);
    assert.equal(resultOf(there).offset, 0);
    assert.equal(lost.ending, undefined);
  });

  it("keeps the order of those in line while their topic is looked up again", async () => {
    const { cluster, clock, producer } = setUp({ bufferBytes: 50 });
    const topic = cluster.addTopic("t");
    const found = Promise.withResolvers<void>();
    cluster.onTopic = (_name, fresh) => (fresh ? found.promise : undefined);
    cluster.agent.script = (_request, _call, nth) =>
      nth === 1 ? { reject: fault("TOPIC_NOT_FOUND", "invalid") } : {};
    watch(producer.send({ topic: "t", value: "first" }));
    watch(producer.send({ topic: "t", value: "in line" }));
    await clock.run(10);
    assert.equal(cluster.agent.requests.length, 1);
    watch(producer.send({ topic: "t", value: "after" }));
    found.resolve();
    await clock.run(100);
    assert.deepEqual(cluster.log.values(topic.id, 0), ["first", "in line", "after"]);
  });

  it("keeps at most inFlight requests unanswered at an agent", async () => {
    for (const inFlight of [1, 3]) {
      const { cluster, clock, producer } = setUp({ inFlight, batchBytes: 100 });
      cluster.addTopic("t", 4);
      cluster.agent.script = () => ({
        until: new Promise<void>((done) => clock.schedule(20, done)),
      });
      for (let i = 0; i < 100; i++) {
        watch(producer.send({ topic: "t", partition: i % 4, value: "0123456789" }));
      }
      await clock.run(5_000);
      assert.equal(producer.pending, 0);
      assert.equal(cluster.agent.openMost, inFlight);
    }
  });
});
