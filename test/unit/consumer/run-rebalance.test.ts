import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { settle } from "../../../src/testing/manual-clock.ts";
import { setUp, values } from "./setup.ts";
import { WorkBench } from "./work-bench.ts";

const keyed = { key: (value: unknown) => String(value).slice(0, 1) };

describe("a run whose partition is taken away", () => {
  it("begins nothing more of it, waits for what is in flight, and commits that", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 2);
    await agent.append("t", ["a1", "a2", "b1", "b2", "c1"], keyed);
    const consumer = open({ autoCommitIntervalMs: 3_600_000 });
    const told: string[] = [];
    consumer.onRevoked((partitions, { lost }) => {
      told.push(`${partitions.map((it) => it.partition)} ${lost} ${agent.groups.committed("t")}`);
    });
    const bench = new WorkBench();
    const done = consumer.run(bench.handler);
    await clock.run(100);
    assert.deepEqual(bench.working, ["a1", "b1", "c1"]);
    agent.groups.plan = [["t", 1]];
    await clock.run(5_000);
    await bench.finish("a1");
    await bench.fail("b1", new Error("not any more"));
    await clock.run(5_000);
    assert.deepEqual(told, [], "c1 is still being worked on");
    assert.deepEqual(bench.working, ["c1"], "neither a2 nor another attempt at b1");
    assert.ok(!bench.signal("c1").aborted);
    await bench.finish("c1");
    await clock.run(1_000);
    assert.deepEqual(told, ["0 false 1"], "a2 was not begun, so c1 is behind a gap");
    await agent.append("t", ["other"], { partition: 1 });
    await clock.run(1_000);
    assert.deepEqual(bench.working, ["other"]);
    await bench.finish("other");
    await until(consumer.close());
    await done;
  });

  it("does not wait for records that were put off, and hands them out again when the partition comes back", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 2);
    await agent.append("t", ["a1", "a2"], keyed);
    const consumer = open();
    const bench = new WorkBench();
    const done = consumer.run(bench.handler, { retry: { baseMs: 3_600_000, maxMs: 3_600_000 } });
    await clock.run(100);
    await bench.fail("a1", new Error("later"));
    agent.groups.plan = [["t", 1]];
    await clock.run(3_000);
    assert.deepEqual(consumer.assignment(), [{ topic: "t", partition: 1 }]);
    agent.groups.plan = undefined;
    await clock.run(3_000);
    assert.deepEqual(bench.begun, ["a1", "a1"]);
    await bench.finish("a1");
    await bench.finish("a2");
    await until(consumer.close());
    await done;
    assert.equal(agent.groups.committed("t"), 2);
    assert.equal(clock.pending, 0);
  });

  it("waits no longer than the rebalance timeout, and asks the handlers to end then", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 2);
    await agent.append("t", ["a1"], keyed);
    const consumer = open({ rebalanceTimeoutMs: 4_000 });
    const bench = new WorkBench();
    const done = consumer.run(bench.handler);
    await clock.run(100);
    const signal = bench.signal("a1");
    agent.groups.plan = [["t", 1]];
    await clock.run(2_000);
    assert.ok(!signal.aborted);
    await clock.run(5_000);
    assert.equal((signal.reason as { code: string }).code, "GROUP_FENCED");
    assert.deepEqual(consumer.assignment(), [{ topic: "t", partition: 1 }]);
    await bench.finish("a1");
    await until(consumer.close());
    await done;
    assert.equal(agent.groups.committed("t"), 0, "it was another's by then");
  });

  it("asks the handlers to end when it is lost, and does not overlap with them when it comes back", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["a1", "b1"], keyed);
    const consumer = open();
    const bench = new WorkBench();
    const done = consumer.run(bench.handler);
    await clock.run(100);
    const signal = bench.signal("a1");
    const old = [...bench.calls.values()];
    bench.calls.clear();
    agent.groups.expel();
    await clock.run(3_000);
    assert.equal((signal.reason as { code: string }).code, "GROUP_FENCED");
    assert.deepEqual(consumer.assignment(), [{ topic: "t", partition: 0 }], "joined anew");
    assert.deepEqual(bench.working, [], "a1 and b1 wait for their earlier handlers");
    old[0]?.end();
    await settle();
    assert.deepEqual(bench.working, ["a1"]);
    assert.equal(agent.groups.committed("t") ?? 0, 0, "an end after the loss counts for nothing");
    old[1]?.end(new Error("aborted"));
    await settle();
    await bench.finish("a1", "b1");
    await until(consumer.close());
    await done;
    assert.equal(agent.groups.committed("t"), 2);
    assert.equal(clock.pending, 0);
  });

  it("leaves the group for a handler that hangs, and comes back when it returns", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["a1", "b1"], keyed);
    const consumer = open({ maxPollIntervalMs: 60_000 });
    const bench = new WorkBench();
    const done = consumer.run(bench.handler);
    await clock.run(100);
    await bench.finish("b1");
    await agent.append("t", values(3));
    await clock.run(50_000);
    await bench.finish("v0", "v1", "v2");
    assert.equal(agent.groups.members.size, 1);
    const hung = bench.calls.get("a1");
    bench.calls.clear();
    await clock.run(20_000);
    assert.equal(agent.groups.members.size, 0, "out of the group");
    assert.ok(hung?.context.signal.aborted);
    await clock.run(200_000);
    assert.equal(agent.groups.members.size, 0, "and not back while it hangs");
    assert.deepEqual(bench.working, []);
    hung?.end();
    await clock.run(5_000);
    assert.equal(agent.groups.members.size, 1);
    assert.deepEqual([...bench.working].sort(), ["a1", "b1", "v0", "v1", "v2"]);
    await bench.finish(...bench.working);
    await until(consumer.close());
    await done;
    assert.equal(agent.groups.committed("t"), 5);
  });

  it("stays in the group while its handlers come back in time, and while nothing comes, and while all is put off", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    const consumer = open({ maxPollIntervalMs: 60_000 });
    const bench = new WorkBench();
    const done = consumer.run(bench.handler, { concurrency: 1, bufferRecords: 2 });
    await clock.run(200_000);
    assert.equal(agent.groups.members.size, 1);
    await agent.append("t", values(6));
    for (const value of values(6)) {
      await clock.run(50_000);
      await bench.finish(value);
    }
    assert.equal(agent.groups.left, 0);
    await until(consumer.close());
    await done;
    assert.equal(agent.groups.committed("t"), 6);
  });
});
