import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RetryLater } from "../../../src/consumer/run-retry-later.ts";
import { invalid } from "../../../src/core/errors.ts";
import { settle } from "../../../src/testing/manual-clock.ts";
import { refused, setUp, take, values } from "./setup.ts";
import { DeadLetters, WorkBench } from "./work-bench.ts";

/** `a1` and `a2` have the key `a`. */
const firstLetter = (value: unknown) => String(value).slice(0, 1);
const keyed = { key: firstLetter };

describe("consumer.run", () => {
  it("works on as many records as it may at once, and on no more", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(10));
    const consumer = open();
    const bench = new WorkBench();
    const done = consumer.run(bench.handler, { concurrency: 3 });
    await clock.run(100);
    assert.deepEqual(bench.working, ["v0", "v1", "v2"]);
    await bench.finish("v1");
    assert.deepEqual(bench.working, ["v0", "v2", "v3"]);
    await bench.finish("v0", "v2", "v3");
    assert.deepEqual(bench.working, ["v4", "v5", "v6"]);
    for (const value of values(6, 4)) await bench.finish(value);
    assert.equal(bench.most, 3);
    await until(consumer.close());
    await done;
    assert.equal(agent.groups.committed("t"), 10);
    assert.equal(clock.pending, 0);
  });

  it("keeps the order of each key, and lets other keys pass", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["a1", "a2", "b1", "a3", "c1", "b2"], keyed);
    const consumer = open();
    const bench = new WorkBench();
    const done = consumer.run(bench.handler);
    await clock.run(100);
    assert.deepEqual(bench.working, ["a1", "b1", "c1"]);
    await bench.finish("b1", "c1");
    assert.deepEqual(bench.working, ["a1", "b2"]);
    await bench.finish("b2");
    await bench.finish("a1");
    await bench.finish("a2");
    await bench.finish("a3");
    assert.deepEqual(bench.begun, ["a1", "b1", "c1", "b2", "a2", "a3"]);
    await until(consumer.close());
    await done;
  });

  it("does not let a record overtake one of its key that is tried again", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["a1", "a2", "b1"], keyed);
    const consumer = open();
    const bench = new WorkBench();
    const done = consumer.run(bench.handler, { retry: { baseMs: 1_000 } });
    await clock.run(100);
    await bench.fail("a1", new Error("not today"));
    await agent.append("t", ["a3"], keyed);
    await clock.run(500);
    assert.deepEqual(bench.working, ["b1"], "none of its key during the pause");
    await clock.run(1_000);
    assert.deepEqual(bench.working, ["b1", "a1"]);
    await bench.finish("a1");
    assert.deepEqual(bench.working, ["b1", "a2"]);
    await bench.finish("a2", "b1");
    await bench.finish("a3");
    assert.deepEqual(bench.begun, ["a1", "b1", "a1#2", "a2", "a3"]);
    await until(consumer.close());
    await done;
  });

  it("works on one record of a partition at a time with orderBy partition, on any with none", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 2);
    await agent.append("t", ["a1", "b1"], keyed);
    await agent.append("t", ["c1", "d1"], { ...keyed, partition: 1 });
    const consumer = open();
    const bench = new WorkBench();
    const stop = new AbortController();
    const done = consumer.run(bench.handler, { orderBy: "partition", signal: stop.signal });
    await clock.run(100);
    assert.deepEqual(bench.working, ["a1", "c1"]);
    stop.abort();
    await bench.finish("a1", "c1");
    await until(done);
    await agent.append("t", ["b2"], keyed);
    const all = consumer.run(bench.handler, { orderBy: "none" });
    await clock.run(100);
    assert.deepEqual([...bench.working].sort(), ["b1", "b2", "d1"]);
    await bench.finish("b1", "b2", "d1");
    await until(consumer.close());
    await all;
  });

  it("has no order among records without a key", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["x", "y"]);
    const consumer = open();
    const bench = new WorkBench();
    const done = consumer.run(bench.handler);
    await clock.run(100);
    assert.deepEqual(bench.working, ["x", "y"]);
    await bench.finish("x", "y");
    await until(consumer.close());
    await done;
  });

  it("commits what is finished without a gap, now and then and at the end", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(6));
    const consumer = open({ autoCommitIntervalMs: 1_000 });
    const bench = new WorkBench();
    const stop = new AbortController();
    const done = consumer.run(bench.handler, { signal: stop.signal });
    await clock.run(100);
    await bench.finish("v0", "v1", "v3", "v5");
    await clock.run(1_500);
    assert.equal(agent.groups.committed("t"), 2, "v2 is not finished");
    await bench.finish("v2");
    await clock.run(1_500);
    assert.equal(agent.groups.committed("t"), 4);
    stop.abort();
    await clock.run(5_000);
    let ended = false;
    void done.then(() => {
      ended = true;
    });
    await clock.run(5_000);
    assert.ok(!ended, "v4 is in flight");
    await bench.finish("v4");
    await until(done);
    assert.equal(agent.groups.committed("t"), 6);
    await until(consumer.close());
  });

  it("hands out again what it did not finish, and nothing else if there was no gap", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["a1", "a2", "b1", "a3"], keyed);
    const consumer = open();
    const bench = new WorkBench();
    const stop = new AbortController();
    const done = consumer.run(bench.handler, { signal: stop.signal });
    await clock.run(100);
    stop.abort();
    await bench.finish("a1", "b1");
    await until(done);
    assert.equal(agent.groups.committed("t"), 1);
    assert.deepEqual(await until(take(consumer, 3)), ["a2", "b1", "a3"], "b1 was behind a gap");
    await until(consumer.close());
  });

  it("gives commit() what is finished without a gap, and refuses offsets beyond it", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(4));
    const consumer = open({ autoCommit: false });
    const bench = new WorkBench();
    const done = consumer.run(bench.handler);
    await clock.run(100);
    await bench.finish("v0", "v2");
    await until(consumer.commit());
    assert.equal(agent.groups.committed("t"), 1);
    const beyond = consumer.commit([{ topic: "t", partition: 0, offset: 3 }]);
    await refused(until(beyond), "INVALID_ARGUMENT");
    await bench.finish("v1", "v3");
    await until(consumer.close());
    await done;
    assert.equal(agent.groups.committed("t"), 1, "autoCommit is off");
  });

  it("is one reader among the others", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    const consumer = open();
    const done = consumer.run(() => {});
    await clock.run(100);
    await refused(until(consumer.poll(1)), "INVALID_ARGUMENT");
    const second = await refused(
      consumer.run(() => {}),
      "INVALID_ARGUMENT",
    );
    assert.match(second.message, /being read by run\(\)/);
    await until(consumer.close());
    await done;
    await refused(
      consumer.run(() => {}),
      "CLOSED",
    );
  });

  it("resolves at once for a signal that has aborted, and with its own when nothing comes", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    const consumer = open();
    await until(consumer.run(() => {}, { signal: AbortSignal.abort() }));
    const stop = new AbortController();
    const done = consumer.run(() => {}, { signal: stop.signal });
    await clock.run(30_000);
    stop.abort();
    await until(done);
    await until(consumer.close());
    assert.equal(clock.pending, 0);
  });

  it("leaves pauses and seeks to the application", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["a1", "a2", "a3"], keyed);
    const consumer = open();
    const bench = new WorkBench();
    const done = consumer.run(bench.handler);
    await clock.run(100);
    consumer.pause();
    await bench.finish("a1");
    await clock.run(1_000);
    assert.deepEqual(bench.working, [], "paused");
    consumer.resume();
    await clock.run(1_000);
    assert.deepEqual(bench.working, ["a2"]);
    consumer.seek("t", 0, 0);
    await clock.run(1_000);
    assert.deepEqual(bench.working, ["a2"], "a1 is of the same key: it waits");
    await bench.finish("a2");
    await clock.run(100);
    assert.deepEqual(bench.working, ["a1"]);
    await bench.finish("a1");
    await bench.finish("a2");
    await bench.finish("a3");
    await until(consumer.close());
    await done;
    assert.equal(agent.groups.committed("t"), 3);
  });

  it("rejects with what reading throws, after what is in flight", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 2);
    await agent.append("t", ["v0"]);
    const consumer = open();
    const bench = new WorkBench();
    const done = consumer.run(bench.handler);
    done.catch(() => {});
    await clock.run(100);
    agent.log("t", 1).error = invalid("CORRUPT_BATCH", "damaged");
    agent.log("t", 1).next = 1;
    await agent.append("t", ["v1"]);
    await clock.run(5_000);
    await bench.finish(...bench.working);
    await refused(until(done), "CORRUPT_BATCH");
    assert.equal(agent.groups.committed("t"), 2);
    await until(consumer.close());
  });

  it("gives the event loop its turn between handlers that end at once", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(2_000));
    const consumer = open();
    let calls = 0;
    const stop = new AbortController();
    await until(
      consumer.run(
        () => {
          if (++calls === 2_000) stop.abort();
        },
        { signal: stop.signal },
      ),
    );
    assert.equal(calls, 2_000);
    assert.equal(agent.groups.committed("t"), 2_000);
    await until(consumer.close());
  });
});

describe("a handler that throws", () => {
  it("is called again after pauses that double, up to its attempts, and then ends the run with its error", async () => {
    const { agent, clock, open, until, warnings } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["v0", "poison", "v2"]);
    const consumer = open();
    const error = new Error("cannot");
    const at: number[] = [];
    const done = consumer.run(
      (record) => {
        if (record.text() !== "poison") return;
        at.push(clock.monotonic());
        throw error;
      },
      { retry: { attempts: 4, baseMs: 1_000, maxMs: 2_000 } },
    );
    await assert.rejects(until(done), (thrown) => thrown === error);
    const pauses = at.slice(1).map((it, i) => it - (at[i] ?? 0));
    assert.equal(at.length, 4);
    for (const [i, base] of [1_000, 2_000, 2_000].entries()) {
      const pause = pauses[i] ?? 0;
      assert.ok(pause >= 0.8 * base && pause <= 1.2 * base, `${pause} is ${base} give or take`);
    }
    assert.equal(agent.groups.committed("t"), 1, "the record stays uncommitted");
    assert.ok(warnings.some((it) => it.fields?.record === "t/0@1" && it.fields.attempts === 4));
    const again: string[] = [];
    const stop = new AbortController();
    const second = consumer.run(
      (record) => {
        again.push(record.text());
        if (again.length === 2) stop.abort();
      },
      { signal: stop.signal },
    );
    await until(second);
    assert.deepEqual(again, ["poison", "v2"]);
    await until(consumer.close());
  });

  it("is not called again for what is refused for good, or as `when` says", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["v0"]);
    const consumer = open();
    let calls = 0;
    const mismatch = invalid("SCHEMA_MISMATCH", "no");
    const first = consumer.run(() => {
      calls++;
      throw mismatch;
    });
    await refused(until(first), "SCHEMA_MISMATCH");
    assert.equal(calls, 1);
    const when = (error: unknown) => (error as Error).message === "again";
    const second = consumer.run(
      () => {
        calls++;
        throw new Error(calls < 4 ? "again" : "enough");
      },
      { retry: { when } },
    );
    await assert.rejects(until(second), /enough/);
    assert.equal(calls, 4);
    await until(consumer.close());
  });

  it("puts a record off with RetryLater: its key waits, other keys do not, and it counts as no failure", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["a1", "a2", "b1", "b2"], keyed);
    const consumer = open();
    const bench = new WorkBench();
    const done = consumer.run(bench.handler, { retry: { attempts: 1 } });
    await clock.run(100);
    await bench.fail("a1", new RetryLater(60_000));
    await bench.finish("b1");
    await bench.finish("b2");
    await clock.run(59_000);
    assert.deepEqual(bench.working, []);
    await clock.run(2_000);
    assert.deepEqual(bench.working, ["a1"]);
    await bench.fail("a1", new RetryLater(0));
    await clock.run(10);
    await bench.finish("a1");
    await bench.finish("a2");
    assert.deepEqual(bench.begun, ["a1", "b1", "b2", "a1#2", "a1#3", "a2"]);
    await until(consumer.close());
    await done;
    assert.equal(agent.groups.committed("t"), 4);
    assert.equal(clock.pending, 0);
  });

  it("may put a record off only so often", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["v0"]);
    const consumer = open();
    let calls = 0;
    const done = consumer.run(
      () => {
        calls++;
        throw new RetryLater(10, "busy");
      },
      { retry: { laterMax: 2 } },
    );
    await assert.rejects(until(done), /busy/);
    assert.equal(calls, 3);
    await until(consumer.close());
  });

  it("is asked to end after handlerTimeoutMs, and its slot and key are free when it has", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["a1", "a2"], keyed);
    const consumer = open();
    const bench = new WorkBench();
    const done = consumer.run(bench.handler, {
      handlerTimeoutMs: 5_000,
      retry: { attempts: 2, baseMs: 100 },
    });
    done.catch(() => {});
    await clock.run(4_000);
    const signal = bench.signal("a1");
    assert.ok(!signal.aborted);
    await clock.run(2_000);
    assert.equal((signal.reason as { code: string }).code, "DEADLINE_EXCEEDED");
    await clock.run(20_000);
    assert.deepEqual(bench.begun, ["a1"], "the same record is never worked on twice at once");
    await bench.fail("a1", new Error("because of the signal"));
    await clock.run(1_000);
    assert.deepEqual(bench.begun, ["a1", "a1#2"]);
    await clock.run(10_000);
    await bench.finish("a1");
    assert.deepEqual(bench.working, ["a2"], "late and finished is finished");
    await clock.run(10_000);
    await bench.fail("a2", new Error("x"));
    await clock.run(10_000);
    await bench.fail("a2", new Error("x"));
    await refused(until(done), "DEADLINE_EXCEEDED");
    assert.equal(agent.groups.committed("t"), 1);
    await until(consumer.close());
    assert.equal(clock.pending, 0);
  });
});

describe("closing a consumer that runs", () => {
  it("waits for what is in flight, as long as closing may take", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["v0", "v1", "v2"]);
    const consumer = open({ closeTimeoutMs: 5_000 });
    const bench = new WorkBench();
    const done = consumer.run(bench.handler, { concurrency: 2 });
    await clock.run(100);
    const closing = consumer.close();
    await clock.run(2_000);
    assert.deepEqual(bench.working, ["v0", "v1"], "and nothing new");
    assert.equal(agent.groups.left, 0);
    await bench.finish("v0");
    assert.deepEqual(bench.working, ["v1"]);
    const signal = bench.signal("v1");
    await until(closing);
    assert.equal(clock.monotonic(), 5_100);
    assert.equal((signal.reason as { code: string }).code, "CLOSED");
    assert.equal(agent.groups.committed("t"), 1);
    assert.equal(agent.groups.left, 1);
    let ended = false;
    void done.then(() => {
      ended = true;
    });
    await settle();
    assert.ok(!ended, "run() waits for its handler all the same");
    await bench.finish("v1");
    await until(done);
    assert.equal(agent.groups.committed("t"), 1);
    assert.equal(clock.pending, 0);
  });

  it("does not wait for pauses and delays", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["v0", "v1"]);
    const consumer = open();
    const bench = new WorkBench();
    const done = consumer.run(bench.handler);
    await clock.run(100);
    await bench.fail("v0", new RetryLater(3_600_000));
    await bench.fail("v1", new Error("x"));
    await until(consumer.close());
    await until(done);
    assert.equal(agent.groups.committed("t"), 0);
    assert.ok(clock.monotonic() < 5_000);
    assert.equal(clock.pending, 0);
  });

  it("writes the dead letter that is on its way, and closes what wrote it", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    agent.createTopic("dead");
    await agent.append("t", ["v0"]);
    const dead = new DeadLetters();
    const gate = Promise.withResolvers<void>();
    dead.gate = gate.promise;
    const consumer = open({}, { deadLetters: dead.source });
    const done = consumer.run(
      () => {
        throw new Error("x");
      },
      { deadLetterTopic: "dead", retry: { attempts: 1 } },
    );
    await clock.run(100);
    const closing = consumer.close();
    await clock.run(1_000);
    assert.equal(dead.closed, 0);
    gate.resolve();
    await until(closing);
    await until(done);
    assert.equal(dead.letters.length, 1);
    assert.equal(dead.closed, 1);
    assert.equal(agent.groups.committed("t"), 1);
  });
});
