import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { refused, setUp, take, texts, values } from "./setup.ts";

const zero = { topic: "t", partition: 0 };
const one = { topic: "t", partition: 1 };

describe("a member of a group", () => {
  it("joins with the first read, beats as told, and leaves at its end", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 2);
    const consumer = open({ clientId: "billing-1", sessionTimeoutMs: 7_000 });
    assert.equal(agent.groups.heartbeats.length, 0);
    await until(consumer.poll(100));
    const [join] = agent.groups.heartbeats;
    assert.deepEqual(
      [
        join?.group,
        join?.memberId,
        join?.memberEpoch,
        join?.topics,
        join?.sessionTimeoutMs,
        join?.clientId,
      ],
      ["g", consumer.memberId, 0, ["t"], 7_000, "billing-1"],
    );
    assert.deepEqual(consumer.assignment(), [zero, one]);
    await clock.run(5_000);
    assert.ok(agent.groups.heartbeats.length >= 5, "one a second");
    assert.equal(agent.groups.heartbeats.at(-1)?.memberEpoch, 1);
    assert.equal(agent.groups.heartbeats.at(-1)?.owned.length, 2);
    await until(consumer.close());
    assert.equal(agent.groups.left, 1);
    assert.equal(agent.groups.members.size, 0);
    assert.equal(clock.pending, 0);
  });

  it("lets a partition go after its record in hand, committed, and only then says so", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 2);
    await agent.append("t", values(5));
    const consumer = open();
    const told: string[] = [];
    consumer.onRevoked((partitions, { lost }) => {
      told.push(`${partitions.map((it) => it.partition)} ${lost} ${agent.groups.committed("t")}`);
    });
    const iterator = consumer[Symbol.asyncIterator]();
    await until(iterator.next());
    await until(iterator.next());
    agent.groups.plan = [["t", 1]];
    await clock.run(10_000);
    assert.deepEqual(told, [], "v1 is still being worked on");
    assert.equal(agent.groups.heartbeats.at(-1)?.owned.length, 2, "and still owned");
    const next = iterator.next();
    await clock.run(100);
    assert.deepEqual(told, ["0 false 2"]);
    assert.deepEqual(
      agent.groups.heartbeats.at(-1)?.owned.map((it) => it.partition),
      [1],
    );
    await agent.append("t", ["other"], { partition: 1 });
    assert.equal((await until(next)).value?.text(), "other", "no v2");
    await until(consumer.close());
  });

  it("waits for the record in hand no longer than the rebalance timeout; its commit is refused then", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 2);
    await agent.append("t", values(5));
    const consumer = open({ rebalanceTimeoutMs: 4_000 });
    const batches = consumer.batches();
    const batch = (await until(batches.next())).value;
    agent.groups.plan = [["t", 1]];
    await clock.run(3_000);
    assert.deepEqual(consumer.assignment(), [zero, one]);
    await clock.run(4_000);
    assert.deepEqual(consumer.assignment(), [one]);
    const error = await refused(until(batch?.commit() ?? Promise.resolve()), "GROUP_FENCED");
    assert.match(error.message, /t\/0 is no longer assigned/);
    await refused(until(consumer.commit()), "GROUP_FENCED");
    await until(consumer.close());
    assert.equal(agent.groups.committed("t"), 0);
  });

  it("begins anew, with what is committed, when its session ended", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(4));
    const consumer = open();
    const told: string[] = [];
    consumer.onRevoked((_, { lost }) => void told.push(`lost ${lost}`));
    consumer.onAssigned(() => void told.push("assigned"));
    const iterator = consumer[Symbol.asyncIterator]();
    await until(iterator.next());
    await until(iterator.next());
    await clock.run(6_000);
    assert.equal(agent.groups.committed("t"), 1);
    agent.groups.expel();
    await clock.run(2_000);
    assert.deepEqual(told, ["assigned", "lost true", "assigned"]);
    assert.equal((await until(iterator.next())).value?.text(), "v1", "given again");
    await until(consumer.close());
  });

  it("is told at once that it is out by a refused fetch or commit, and joins again", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(2));
    const consumer = open({ autoCommit: false });
    await until(consumer.poll(1_000));
    agent.groups.expel();
    await refused(until(consumer.commit()), "UNKNOWN_MEMBER");
    await clock.run(300);
    assert.equal(agent.groups.members.size, 1);
    assert.deepEqual(texts(await until(consumer.poll(1_000))), values(2));
    await until(consumer.close());
  });

  it("keeps beating while a listener takes its time, and hands out nothing before it is done", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(2));
    const consumer = open();
    let done = false;
    consumer.onAssigned(async () => {
      await new Promise<void>((resolve) => clock.schedule(20_000, resolve));
      consumer.seek("t", 0, 1);
      done = true;
    });
    const reading = take(consumer, 1);
    await clock.run(15_000);
    assert.ok(agent.groups.heartbeats.length > 10);
    assert.equal(agent.fetches.length, 0);
    assert.deepEqual(await until(reading), ["v1"]);
    assert.equal(done, true);
    await until(consumer.close());
  });

  it("tells the next read what a listener threw, and loses nothing by it", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(2));
    const consumer = open();
    const boom = new Error("the listener failed");
    consumer.onAssigned(() => {
      throw boom;
    });
    await assert.rejects(until(take(consumer, 1)), boom);
    assert.deepEqual(texts(await until(consumer.poll(1_000))), values(2));
    await until(consumer.close());
  });

  it("can be closed by its own listener", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    const consumer = open();
    consumer.onAssigned(() => consumer.close());
    assert.deepEqual(await until(take(consumer, 1)), []);
    await until(consumer.close());
    assert.equal(clock.pending, 0);
  });

  it("waits with nothing while the group gives it nothing, and begins when it is given something", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(2));
    agent.groups.plan = [];
    const consumer = open();
    assert.deepEqual(await until(consumer.poll(5_000)), []);
    assert.equal(agent.fetches.length, 0);
    agent.groups.plan = undefined;
    const reading = consumer.poll(5_000);
    await clock.run(1_500);
    assert.deepEqual(texts(await until(reading)), values(2));
    await until(consumer.close());
  });
});

describe("a consumer with manual assignment", () => {
  it("begins at the offset given, then at the group's commit, then at its start offset or by its rule", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t", 2);
    await agent.append("t", values(5));
    await agent.append("t", values(5, 10), { partition: 1 });
    agent.groups.setCommitted("t", 1, 3);
    const consumer = open({ group: "g", assign: [{ ...zero, offset: 4 }, one] });
    const seen = texts(await until(consumer.poll(1_000)));
    assert.deepEqual(seen.sort(), ["v13", "v14", "v4"]);
    await until(consumer.close());
    assert.equal(agent.groups.heartbeats.length, 0);

    const latest = open({ assign: [zero], offsetReset: "latest" });
    assert.deepEqual(await until(latest.poll(1_000)), []);
    await until(latest.close());
    const start = open({ assign: [zero], startOffset: 3 });
    assert.deepEqual(texts(await until(start.poll(1_000))), ["v3", "v4"]);
    await refused(until(start.commit()), "INVALID_ARGUMENT");
    await until(start.close());
  });

  it("commits for its group without being a member", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(2));
    const consumer = open({ group: "g", assign: [zero] });
    await until(consumer.poll(1_000));
    await until(consumer.commit());
    assert.equal(agent.groups.committed("t"), 2);
    assert.equal(await until(consumer.committed("t", 0)), 2);
    assert.equal(agent.groups.commits[0]?.memberId, "");
    await until(consumer.close());
  });
});
