import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { setUp, texts, values } from "./setup.ts";
import { WorkBench } from "./work-bench.ts";

const zero = { topic: "t", partition: 0 };
const keyed = { key: (value: unknown) => String(value).slice(0, 1) };

describe("what a consumer is done with", () => {
  it("is not what an earlier commit was of, after a seek back while it was under way", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(10));
    const consumer = open({ autoCommitIntervalMs: 1_000 });
    await until(consumer.poll(1_000));
    agent.hanging.add("commitOffsets");
    const committing = consumer.commit();
    await clock.run(100);
    consumer.seek("t", 0, 2);
    assert.deepEqual(texts(await until(consumer.poll(1_000))), values(8, 2));
    agent.hanging.clear();
    await until(committing);
    await clock.run(10_000);
    assert.equal(agent.groups.committed("t"), 2, "eight records are in the application's hands");
    await until(consumer.close());
    assert.equal(agent.groups.committed("t"), 2);
  });

  it("by a run leaves out no record in its hands when the log's start passes them", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["a1", "a2", "b1"], keyed);
    const consumer = open({ autoCommitIntervalMs: 1_000 });
    const bench = new WorkBench();
    const done = consumer.run(bench.handler);
    await clock.run(100);
    assert.deepEqual(bench.working, ["a1", "b1"]);
    Object.assign(agent.log("t"), { logStart: 100, next: 100, batches: [] });
    await agent.append("t", ["a3", "b2"], keyed);
    await clock.run(5_000);
    assert.equal(agent.groups.committed("t") ?? 0, 0, "nothing has been finished");
    await bench.finish("a1", "b1");
    await clock.run(5_000);
    assert.deepEqual(bench.working, ["a2", "b2"]);
    assert.equal(agent.groups.committed("t"), 1);
    await bench.finish("a2");
    assert.deepEqual(bench.working, ["b2", "a3"], "what is behind the gap comes after it");
    await clock.run(5_000);
    assert.equal(agent.groups.committed("t"), 100);
    await bench.finish("a3", "b2");
    await until(consumer.close());
    await done;
    assert.equal(agent.groups.committed("t"), 102);
    assert.equal(clock.pending, 0);
  });
});

describe("a partition that is taken away", () => {
  it("is let go of in time while commits hang, with a record of it in hand", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 2);
    await agent.append("t", values(2));
    const consumer = open({ rebalanceTimeoutMs: 8_000, sessionTimeoutMs: 12_000 });
    const told: number[] = [];
    consumer.onRevoked(() => void told.push(clock.monotonic()));
    const iterator = consumer[Symbol.asyncIterator]();
    await until(iterator.next());
    await until(iterator.next());
    agent.hanging.add("commitOffsets");
    const committing = consumer.commit().catch(() => {});
    agent.groups.plan = [["t", 1]];
    const at = clock.monotonic();
    await clock.run(9_000);
    assert.deepEqual(consumer.assignment(), [{ topic: "t", partition: 1 }]);
    assert.ok((told[0] ?? Number.POSITIVE_INFINITY) - at <= 9_000, "a second until it heard of it");
    const owned = agent.groups.heartbeats.at(-1)?.owned.map((it) => it.partition);
    assert.deepEqual(owned, [1]);
    agent.hanging.clear();
    await clock.run(40_000);
    await committing;
    await until(consumer.close());
  });
});

describe("a read", () => {
  it("joins anew when the membership ended while the first assignment was being taken over", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(1));
    const consumer = open({ groupInstanceId: "billing-0" });
    const told = Promise.withResolvers<void>();
    const forget = consumer.onAssigned(() => told.promise);
    assert.deepEqual(await until(consumer.poll(100)), []);
    agent.groups.expel();
    agent.fault("heartbeat", new StreamHouseError({ ...unknown, message: "who?" }));
    agent.fault("heartbeat", new StreamHouseError({ ...inUse, message: "another lives" }));
    await clock.run(5_000);
    forget();
    told.resolve();
    await clock.run(100);
    await assert.rejects(until(consumer.poll(100)), { code: "INSTANCE_ID_IN_USE" });
    assert.deepEqual(texts(await until(consumer.poll(5_000))), ["v0"]);
    assert.deepEqual(consumer.assignment(), [zero]);
    await until(consumer.close());
  });

  it("joins anew while the application is still being told what it lost", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(2));
    const consumer = open({ maxPollIntervalMs: 20_000 });
    const told = Promise.withResolvers<void>();
    consumer.onRevoked(() => told.promise);
    const iterator = consumer[Symbol.asyncIterator]();
    await until(iterator.next());
    await clock.run(30_000);
    assert.equal(agent.groups.members.size, 0, "out of the group");
    const next = iterator.next();
    await clock.run(5_000);
    told.resolve();
    await clock.run(5_000);
    assert.equal(agent.groups.members.size, 1, "and back");
    assert.equal((await until(next)).value?.text(), "v0");
    await until(consumer.close());
    assert.equal(clock.pending, 0);
  });

  it("of a run does so too, and what a listener asks does not wait for the listener", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["a1"], keyed);
    const consumer = open({ maxPollIntervalMs: 20_000 });
    const bench = new WorkBench();
    const told = Promise.withResolvers<void>();
    consumer.onRevoked(async () => {
      await consumer.lags();
      await told.promise;
    });
    const done = consumer.run(bench.handler);
    await clock.run(30_000);
    assert.equal(agent.groups.members.size, 0, "out of the group");
    await bench.finish("a1");
    await clock.run(5_000);
    told.resolve();
    await clock.run(5_000);
    assert.equal(agent.groups.members.size, 1, "and back");
    await bench.finish("a1");
    await until(consumer.close());
    await done;
    assert.equal(agent.groups.committed("t"), 1);
  });
});

const unknown = { code: "UNKNOWN_MEMBER", kind: "fenced" } as const;
const inUse = { code: "INSTANCE_ID_IN_USE", kind: "conflict" } as const;
