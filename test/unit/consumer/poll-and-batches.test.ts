import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { refused, setUp, texts, values } from "./setup.ts";

describe("poll", () => {
  it("answers what is there at once, of several batches and partitions, up to its limit", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 2);
    for (const value of values(4)) await agent.append("t", [value]);
    await agent.append("t", values(3, 10), { partition: 1 });
    const consumer = open({ maxPollRecords: 5 });
    const first = await until(consumer.poll(1_000));
    const at = clock.monotonic();
    assert.equal(first.length, 5);
    const second = await until(consumer.poll(1_000));
    assert.equal(clock.monotonic(), at, "no waiting while there are records");
    const of = (partition: number) =>
      texts([...first, ...second].filter((it) => it.partition === partition));
    assert.deepEqual(of(0), values(4));
    assert.deepEqual(of(1), values(3, 10));
    await until(consumer.close());
  });

  it("waits as long as it was told to, and no longer", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    const consumer = open();
    await until(consumer.poll(0));
    await clock.run(100);
    const at = clock.monotonic();
    assert.deepEqual(await until(consumer.poll(1_234)), []);
    assert.equal(Math.round(clock.monotonic() - at), 1_234);
    const waiting = consumer.poll(60_000);
    await clock.run(700);
    await agent.append("t", ["a"]);
    assert.deepEqual(texts(await until(waiting)), ["a"]);
    assert.ok(clock.monotonic() - at < 3_000);
    await until(consumer.close());
  });

  it("finishes what the last poll gave, of every batch of it", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t", 2);
    for (const value of values(3)) await agent.append("t", [value]);
    await agent.append("t", values(2, 10), { partition: 1 });
    const consumer = open();
    assert.equal((await until(consumer.poll(1_000))).length, 5);
    await until(consumer.close());
    assert.equal(agent.groups.committed("t"), 0, "not finished: no further poll");
    const again = open();
    assert.equal((await until(again.poll(1_000))).length, 5);
    await until(again.poll(0));
    await until(again.close());
    assert.equal(agent.groups.committed("t", 0), 3);
    assert.equal(agent.groups.committed("t", 1), 2);
  });

  it("is ended by its signal and by close, and refuses nonsense", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    const consumer = open();
    const abort = new AbortController();
    const waiting = consumer.poll(60_000, { signal: abort.signal });
    await clock.run(1_000);
    abort.abort();
    await refused(until(waiting), "ABORTED");
    await refused(consumer.poll(-1), "INVALID_ARGUMENT");
    await refused(consumer.poll(Number.NaN), "INVALID_ARGUMENT");
    const last = consumer.poll(60_000);
    await clock.run(1_000);
    await until(consumer.close());
    assert.deepEqual(await last, []);
    assert.equal(clock.pending, 0);
  });
});

describe("batches", () => {
  it("are given as they were produced, from the position on", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(4));
    await agent.append("t", values(2, 4), { compression: "zstd" });
    agent.groups.setCommitted("t", 0, 1);
    const consumer = open();
    const batches = consumer.batches();
    const first = (await until(batches.next())).value;
    assert.deepEqual(
      [first?.topic, first?.partition, first?.firstOffset, first?.lastOffset, first?.count],
      ["t", 0, 1, 3, 3],
    );
    assert.equal(first?.appendTimestamp, clock.now());
    assert.deepEqual(texts([...(first ?? [])]), values(3, 1));
    const second = (await until(batches.next())).value;
    assert.deepEqual(texts([...(second?.records ?? [])]), values(2, 4));
    await until(consumer.close());
    assert.equal(agent.groups.committed("t"), 4, "the second one was not finished");
  });

  it("are given again when the loop was left by a throw", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(2));
    const consumer = open();
    const failing = (async () => {
      for await (const _ of consumer.batches()) throw new Error("the handler failed");
    })();
    await assert.rejects(until(failing), /the handler failed/);
    const batch = (await until(consumer.batches().next())).value;
    assert.equal(batch?.firstOffset, 0);
    await until(consumer.close());
    assert.equal(agent.groups.committed("t"), 0);
  });

  it("commit themselves, and a late commit of an older one moves nothing back", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(2));
    await agent.append("t", values(2, 2));
    const consumer = open({ autoCommit: false });
    const batches = consumer.batches();
    const first = (await until(batches.next())).value;
    const second = (await until(batches.next())).value;
    await until(second?.commit() ?? Promise.resolve());
    assert.equal(agent.groups.committed("t"), 4);
    await until(first?.commit() ?? Promise.resolve());
    assert.equal(agent.groups.committed("t"), 4);
    assert.equal(agent.groups.commits.length, 1);
    await until(consumer.close());
  });
});
