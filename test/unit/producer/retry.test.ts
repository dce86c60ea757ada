import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { settle } from "../../../src/testing/manual-clock.ts";
import { fault } from "./fake-agents.ts";
import { errorOf, resultOf, setUp, watch } from "./setup.ts";

const lost = fault("AGENT_UNREACHABLE", "unavailable", { outcome: "unknown" });

describe("a failed attempt", () => {
  it("is made again, in order, and nothing overtakes it meanwhile", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0 });
    const topic = cluster.addTopic("t");
    cluster.agent.script = (_request, _call, nth) =>
      nth === 1 ? { reject: fault("OVERLOADED") } : {};
    const sends = [];
    for (const value of ["a", "b", "c"]) {
      sends.push(watch(producer.send({ topic: "t", value })));
      await settle();
    }
    await clock.run(500);
    assert.deepEqual(
      sends.map((it) => resultOf(it).offset),
      [0, 1, 2],
    );
    assert.deepEqual(cluster.log.values(topic.id, 0), ["a", "b", "c"]);
  });

  it("with several requests on their way: the later ones are sent again behind the first", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0 });
    const topic = cluster.addTopic("t");
    const answers = Promise.withResolvers<void>();
    cluster.agent.script = (_request, _call, nth) => {
      if (nth === 1) return { until: answers.promise, reject: lost };
      return nth <= 4 ? { until: answers.promise } : {};
    };
    const sends = [];
    for (const value of ["a", "b", "c", "d"]) {
      sends.push(watch(producer.send({ topic: "t", value })));
      await settle();
    }
    // None of them waited for an answer of the one before.
    assert.equal(cluster.agent.requests.length, 4);
    answers.resolve();
    await clock.run(500);
    assert.deepEqual(
      sends.map((it) => resultOf(it).offset),
      [0, 1, 2, 3],
    );
    assert.deepEqual(cluster.log.values(topic.id, 0), ["a", "b", "c", "d"]);
  });

  it("pauses longer each time, at least as long as the agent asks for", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0, retryBackoffMs: 100 });
    cluster.addTopic("t");
    const times: number[] = [];
    cluster.agent.script = (_request, _call, nth) => {
      times.push(clock.monotonic());
      if (nth === 4) return { reject: fault("OVERLOADED", "unavailable", { retryAfterMs: 3_000 }) };
      return nth < 6 ? { reject: fault("OVERLOADED") } : {};
    };
    const send = watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(10_000);
    assert.equal(resultOf(send).offset, 0);
    const pauses = times.slice(1).map((it, i) => it - (times[i] ?? 0));
    const expected = [100, 200, 400, 3_000, 1_000];
    expected.forEach((ms, i) => {
      const pause = pauses[i] ?? 0;
      assert.ok(pause >= ms * 0.8 && pause <= ms * 1.2 + 1, `pause ${i}: ${pause}, about ${ms}`);
    });
  });

  it("at an agent that does not hold the lease: goes to the holder at once", async () => {
    const { cluster, clock, producer } = setUp({}, { agents: 2 });
    const topic = cluster.addTopic("t");
    const [first, second] = cluster.agents;
    assert.ok(first && second);
    const elsewhere = fault("NOT_LEASE_HOLDER", "unavailable", { holderAddress: second.address });
    first.script = () => ({ reject: elsewhere });
    const send = watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(6);
    assert.equal(resultOf(send).offset, 0);
    assert.equal(second.requests.length, 1);
    assert.deepEqual(cluster.noted, [elsewhere]);
    watch(producer.send({ topic: "t", value: "b" }));
    await clock.run(6);
    assert.deepEqual([first.requests.length, second.requests.length], [1, 2]);
    assert.deepEqual(cluster.log.values(topic.id, 0), ["a", "b"]);
  });

  it("that concerns one batch of a request: the others are sent again at once", async () => {
    const { cluster, clock, producer } = setUp();
    const topic = cluster.addTopic("t", 3);
    cluster.agent.script = (request) => {
      const at = request.batches.findIndex((it) => it.partition === 1);
      const field = `batches[${at}].records`;
      return at < 0 ? {} : { reject: fault("TIMESTAMP_OUT_OF_BOUNDS", "invalid", { field }) };
    };
    const sends = [0, 1, 2].map((partition) =>
      watch(producer.send({ topic: "t", partition, value: `${partition}` })),
    );
    await clock.run(6);
    const [a, bad, c] = sends;
    assert.ok(a && bad && c);
    assert.deepEqual([resultOf(a).offset, resultOf(c).offset], [0, 0]);
    assert.equal(errorOf(bad).code, "TIMESTAMP_OUT_OF_BOUNDS");
    assert.equal(errorOf(bad).outcome, "none");
    assert.deepEqual(cluster.log.values(topic.id, 1), []);
  });

  it("of which nobody says which batch it concerns: each goes alone, and only the bad one fails", async () => {
    const { cluster, clock, producer } = setUp();
    cluster.addTopic("t", 3);
    cluster.agent.script = (request) =>
      request.batches.some((it) => it.partition === 1)
        ? { reject: fault("INVALID_ARGUMENT", "invalid") }
        : {};
    const sends = [0, 1, 2].map((partition) =>
      watch(producer.send({ topic: "t", partition, value: "x" })),
    );
    await clock.run(50);
    assert.deepEqual(
      sends.map((it) => "value" in (it.ending ?? {})),
      [true, false, true],
    );
  });

  it("is not made again if it cannot succeed: the agent's error is reported once", async () => {
    const { cluster, clock, producer } = setUp();
    cluster.addTopic("t");
    cluster.agent.script = () => ({
      batchError: fault("RECORD_TOO_LARGE", "invalid"),
      apply: false,
    });
    const send = watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(1_000);
    assert.equal(errorOf(send).code, "RECORD_TOO_LARGE");
    assert.equal(cluster.agent.requests.length, 1);
    assert.equal(producer.pending, 0);
  });
});

describe("an unknown outcome", () => {
  it("is found out by sending the same sequence again: the record is there once", async () => {
    const { cluster, clock, producer } = setUp();
    const topic = cluster.addTopic("t");
    cluster.agent.script = (_request, _call, nth) =>
      nth <= 2 ? { apply: true, reject: lost } : {};
    const send = watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(1_000);
    assert.equal(resultOf(send).offset, 0);
    assert.equal(cluster.agent.requests.length, 3);
    assert.deepEqual(cluster.log.values(topic.id, 0), ["a"]);
  });

  it("that is long in coming holds later batches back, so that the agent still remembers the first one", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0 });
    const topic = cluster.addTopic("t");
    const late = Promise.withResolvers<void>();
    cluster.agent.script = (_request, _call, nth) =>
      nth === 1 ? { apply: true, until: late.promise, reject: lost } : {};
    const sends = [];
    for (let i = 0; i < 20; i++) {
      sends.push(watch(producer.send({ topic: "t", value: `${i}` })));
      await clock.run(5);
    }
    // An agent remembers five: the first and four more.
    assert.equal(cluster.agent.requests.length, 5);
    late.resolve();
    await clock.run(5_000);
    assert.deepEqual(
      sends.map((it) => resultOf(it).offset),
      sends.map((_, i) => i),
    );
    assert.equal(cluster.log.values(topic.id, 0).length, sends.length);
  });

  it("is reported and not sent again without idempotence; later records go on", async () => {
    const { cluster, clock, producer } = setUp({ idempotent: false });
    const topic = cluster.addTopic("t");
    cluster.agent.script = (_request, _call, nth) =>
      nth === 1 ? { apply: true, reject: lost } : {};
    const first = watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(10);
    const second = watch(producer.send({ topic: "t", value: "b" }));
    await clock.run(2_000);
    const error = errorOf(first);
    assert.deepEqual([error.code, error.outcome], ["AGENT_UNREACHABLE", "unknown"]);
    assert.equal(resultOf(second).offset, 1);
    assert.deepEqual(cluster.log.values(topic.id, 0), ["a", "b"]);
    assert.equal(cluster.agent.requests.length, 2);
  });

  it("cannot hurt order without idempotence: a partition has one batch on its way", async () => {
    const { cluster, clock, producer } = setUp({ idempotent: false, lingerMs: 0 });
    cluster.addTopic("t");
    const answer = Promise.withResolvers<void>();
    cluster.agent.script = () => ({ until: answer.promise });
    for (const value of ["a", "b", "c"]) {
      watch(producer.send({ topic: "t", value }));
      await settle();
    }
    assert.equal(cluster.agent.requests.length, 1);
    answer.resolve();
    await clock.run(10);
    assert.equal(cluster.agent.requests.length, 2);
    assert.equal(producer.pending, 0);
  });
});

describe("the delivery deadline", () => {
  it("fails records that never left with outcome none, naming the agent that was tried", async () => {
    const { cluster, clock, producer } = setUp({ deliveryTimeoutMs: 5_000 });
    cluster.addTopic("t");
    const refused = fault("AGENT_UNREACHABLE", "unavailable", {
      message: "no agent answered; tried 10.0.0.1:7070 (connection refused)",
    });
    cluster.onHolder = () => {
      throw refused;
    };
    const send = watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(4_999);
    assert.equal(send.ending, undefined);
    await clock.run(1);
    const error = errorOf(send);
    assert.deepEqual([error.code, error.outcome], ["DEADLINE_EXCEEDED", "none"]);
    assert.match(error.message, /t\/0 .*within 5000 ms.*10\.0\.0\.1:7070/);
    assert.equal(error.cause, refused);
    assert.equal(producer.pending, 0);
    assert.equal(clock.pending, 0);
  });

  it("counts from send(), also while the topic is looked up", async () => {
    const { cluster, clock, producer } = setUp({ deliveryTimeoutMs: 1_000 });
    cluster.onTopic = () => {
      throw fault("AGENT_UNREACHABLE");
    };
    const send = watch(producer.send({ topic: "t", value: "a" }));
    const batch = watch(producer.sendBatch({ topic: "t", records: [{ value: "b" }] }));
    await clock.run(1_000);
    for (const it of [send, batch]) {
      assert.deepEqual([errorOf(it).code, errorOf(it).outcome], ["DEADLINE_EXCEEDED", "none"]);
      assert.match(errorOf(it).message, /fake AGENT_UNREACHABLE/);
    }
    assert.equal(producer.pending, 0);
  });

  it("fails a record that is on its way with outcome unknown, and its late answer changes nothing", async () => {
    const { cluster, clock, producer } = setUp({ deliveryTimeoutMs: 2_000, lingerMs: 0 });
    cluster.addTopic("t");
    const answer = Promise.withResolvers<void>();
    cluster.agent.script = (_request, _call, nth) => (nth === 1 ? { until: answer.promise } : {});
    const send = watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(2_000);
    assert.deepEqual([errorOf(send).code, errorOf(send).outcome], ["DEADLINE_EXCEEDED", "unknown"]);
    assert.equal(cluster.agent.calls[0]?.signal?.aborted, true);
    answer.resolve();
    const next = watch(producer.send({ topic: "t", value: "b" }));
    await clock.run(100);
    assert.equal(resultOf(next).offset, 1);
    assert.equal(producer.pending, 0);
  });

  it("bounds each request's own time limit", async () => {
    const { cluster, clock, producer } = setUp({ deliveryTimeoutMs: 2_000, requestTimeoutMs: 700 });
    cluster.addTopic("t");
    cluster.agent.script = (_request, _call, nth) =>
      nth === 1 ? { reject: fault("OVERLOADED") } : {};
    const send = watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(3_000);
    assert.equal(resultOf(send).offset, 0);
    assert.deepEqual(
      cluster.agent.calls.map((it) => it.timeoutMs),
      [700, 700],
    );
    assert.equal(cluster.agent.requests[0]?.timeoutMs, 700);
  });

  it("does not shorten the time of records sent much later to the same partition", async () => {
    const { cluster, clock, producer } = setUp({ deliveryTimeoutMs: 1_000, lingerMs: 900 });
    cluster.addTopic("t");
    cluster.onHolder = () => {
      throw fault("AGENT_UNREACHABLE");
    };
    const first = watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(500);
    const second = watch(producer.send({ topic: "t", value: "b" }));
    await clock.run(500);
    assert.equal(errorOf(first).code, "DEADLINE_EXCEEDED");
    assert.equal(second.ending, undefined);
    await clock.run(500);
    assert.equal(errorOf(second).code, "DEADLINE_EXCEEDED");
  });
});
