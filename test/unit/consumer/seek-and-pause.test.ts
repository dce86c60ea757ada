import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { refused, setUp, take, texts, values } from "./setup.ts";

describe("seek", () => {
  it("drops what was fetched and goes on where it points, backwards and forwards", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(5));
    await agent.append("t", values(5, 5));
    const consumer = open();
    const iterator = consumer[Symbol.asyncIterator]();
    await until(iterator.next());
    consumer.seek("t", 0, 7);
    assert.equal((await until(iterator.next())).value?.text(), "v7");
    consumer.seek("t", 0, 3);
    assert.equal(consumer.position("t", 0), 3);
    assert.equal((await until(iterator.next())).value?.text(), "v3");
    assert.equal((await until(iterator.next())).value?.text(), "v4");
    await until(consumer.close());
    assert.equal(agent.groups.committed("t"), 4);
  });

  it("wakes a fetch that waits at the end of the log", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(2));
    const consumer = open({ fetchMaxWaitMs: 30_000 });
    await until(take(consumer, 2));
    const waiting = until(consumer.poll(60_000).then(() => consumer.poll(60_000)));
    await clock.run(100);
    const at = clock.monotonic();
    consumer.seek("t", 0, 0);
    assert.deepEqual(texts(await waiting), values(2));
    assert.equal(clock.monotonic(), at);
    await until(consumer.close());
  });

  it("moves a committed offset back, which nothing else does", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(5));
    const consumer = open({ autoCommit: false });
    await until(consumer.poll(1_000));
    await until(consumer.commit());
    await until(consumer.commit([{ topic: "t", partition: 0, offset: 2 }]));
    assert.equal(agent.groups.committed("t"), 5);
    consumer.seek("t", 0, 1);
    await until(consumer.commit());
    assert.equal(agent.groups.committed("t"), 1);
    await until(consumer.close());
  });

  it("finds the beginning, the end and a time, also from within onAssigned", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(2));
    await clock.run(1_000);
    const time = clock.now();
    await agent.append("t", values(2, 2));
    const consumer = open();
    const forget = consumer.onAssigned(() => consumer.seekToEnd());
    assert.deepEqual(await until(consumer.poll(1_000)), []);
    assert.equal(consumer.position("t", 0), 4);
    forget();
    await until(consumer.seekToBeginning());
    assert.equal((await until(consumer.poll(1_000))).length, 4);
    await until(consumer.seekToTimestamp(time));
    assert.deepEqual(texts(await until(consumer.poll(1_000))), ["v2", "v3"]);
    await until(consumer.seekToTimestamp(time + 1, [{ topic: "t", partition: 0 }]));
    assert.equal(consumer.position("t", 0), 4);
    await until(consumer.close());
  });

  it("is refused for partitions that are not assigned, and for what is no offset", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    const consumer = open();
    assert.throws(() => consumer.seek("t", 0, 0), /not assigned/);
    await until(consumer.poll(0).then(() => consumer.poll(10)));
    assert.throws(() => consumer.seek("t", 1, 0), /t\/1 is not assigned/);
    assert.throws(() => consumer.seek("t", 0, -1), /offset -1/);
    await refused(consumer.seekToTimestamp(-5), "INVALID_ARGUMENT");
    await refused(
      until(consumer.commit([{ topic: "t", partition: 0, offset: 9 }])),
      "INVALID_ARGUMENT",
    );
    await until(consumer.close());
  });
});

describe("pause", () => {
  it("holds a partition back, record for record, while the others go on", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 2);
    await agent.append("t", values(6));
    const consumer = open();
    const first = consumer[Symbol.asyncIterator]();
    assert.equal((await until(first.next())).value?.text(), "v0");
    const zero = { topic: "t", partition: 0 };
    consumer.pause([zero]);
    assert.deepEqual(consumer.paused(), [zero]);
    const next = first.next();
    await clock.run(5_000);
    await agent.append("t", ["other"], { partition: 1 });
    assert.equal((await until(next)).value?.text(), "other");
    consumer.resume();
    const rest: (string | undefined)[] = [];
    for (let i = 1; i < 6; i++) rest.push((await until(first.next())).value?.text());
    assert.deepEqual(rest, values(5, 1));
    await until(consumer.close());
  });

  it("lets fetched batches go, so that they do not fill the room of the others", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t", 2);
    for (let i = 0; i < 20; i++) await agent.append("t", [new Uint8Array(1_000)]);
    const consumer = open({ prefetchBytes: 4_000, maxPollRecords: 1 });
    await until(consumer.poll(1_000));
    consumer.pause([{ topic: "t", partition: 0 }]);
    await agent.append("t", ["other"], { partition: 1 });
    assert.deepEqual(texts(await until(consumer.poll(5_000))), ["other"]);
    consumer.resume();
    let seen = 1;
    while (seen < 20) seen += (await until(consumer.poll(5_000))).length;
    assert.equal(consumer.position("t", 0), 20);
    await until(consumer.close());
  });
});
