import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { invalid } from "../../../src/core/errors.ts";
import { refused, setUp, take, texts, values } from "./setup.ts";

const zero = { topic: "t", partition: 0 };

describe("an offset that is out of range", () => {
  it("is reset to the log's start, after what had been fetched before", async () => {
    const { agent, open, until, warnings } = setUp();
    agent.createTopic("t");
    for (const value of values(6)) await agent.append("t", [value]);
    const consumer = open({ prefetchBytes: 150, maxPollRecords: 1 });
    assert.deepEqual(texts(await until(consumer.poll(1_000))), ["v0"]);
    agent.log("t").logStart = 4;
    const rest: string[] = [];
    while (rest.at(-1) !== "v5") rest.push(...texts(await until(consumer.poll(1_000))));
    assert.deepEqual(rest.slice(-2), ["v4", "v5"]);
    assert.deepEqual(
      warnings.map(({ fields }) => [fields?.partition, fields?.to]),
      [["t/0", 4]],
    );
    await until(consumer.close());
  });

  it("is reset to the end with `latest`", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(4));
    agent.log("t").logStart = 4;
    agent.groups.setCommitted("t", 0, 1);
    const consumer = open({ offsetReset: "latest" });
    const waiting = consumer.poll(5_000);
    await clock.run(1_000);
    assert.equal(consumer.position("t", 0), 4);
    await agent.append("t", ["new"]);
    assert.deepEqual(texts(await until(waiting)), ["new"]);
    await until(consumer.close());
  });

  it("is told with partition, offset and range with `error`, until a seek", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(9));
    agent.log("t").logStart = 5;
    agent.groups.setCommitted("t", 0, 2);
    const consumer = open({ offsetReset: "error" });
    for (let i = 0; i < 2; i++) {
      const error = await refused(until(consumer.poll(1_000)), "OFFSET_OUT_OF_RANGE");
      assert.match(error.message, /offset 2 of t\/0 .* 5 to 8/);
      assert.deepEqual(error.range, { ...zero, firstOffset: 2, lastOffset: 4 });
    }
    consumer.seek("t", 0, 9);
    await agent.append("t", ["after"]);
    assert.deepEqual(texts(await until(consumer.poll(1_000))), ["after"]);
    await until(consumer.close());
  });

  it("with `error` is also where a group has never committed; nothing is committed for it", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(3));
    const consumer = open({ offsetReset: "error" });
    const error = await refused(until(consumer.poll(1_000)), "OFFSET_OUT_OF_RANGE");
    assert.match(error.message, /group g has no committed offset.*t\/0.*0 .*3/);
    await until(consumer.commit());
    assert.equal(agent.groups.committed("t"), undefined);
    consumer.seek("t", 0, 1);
    assert.deepEqual(texts(await until(consumer.poll(1_000))), ["v1", "v2"]);
    await until(consumer.close());
    assert.equal(agent.groups.committed("t"), 1);
  });
});

describe("an agent that is wrong", () => {
  it("about the range does not move a consumer whose offset the log still has, or will have", async () => {
    for (const committed of [2, 9]) {
      const { agent, open, until, warnings } = setUp();
      agent.createTopic("t");
      await agent.append("t", values(5));
      agent.groups.setCommitted("t", 0, committed);
      agent.fault("fetch", invalid("OFFSET_OUT_OF_RANGE", "injected: knows nothing of it"));
      const consumer = open({ offsetReset: "latest" });
      const first = until(consumer.poll(1_000));
      if (committed < 5) assert.deepEqual(texts(await first), values(3, 2));
      else assert.deepEqual(texts(await first), []);
      assert.equal(consumer.position("t", 0), Math.max(5, committed));
      assert.deepEqual(warnings, []);
      await until(consumer.close());
    }
  });

  it("and answers from too far on makes nothing be skipped in silence", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    for (let i = 0; i < 3; i++) await agent.append("t", values(2, i * 2));
    const log = agent.log("t");
    const [lost] = log.batches.splice(1, 1);
    assert.ok(lost);
    const consumer = open({ maxPollRecords: 2 });
    assert.deepEqual(texts(await until(consumer.poll(1_000))), values(2));
    // Another agent, or the same one later, may have them.
    assert.deepEqual(texts(await until(consumer.poll(150))), []);
    const error = await refused(until(consumer.poll(20_000)), "CORRUPT_SEGMENT");
    assert.deepEqual(error.range, { ...zero, firstOffset: 2, lastOffset: 3 });
    assert.match(error.message, /offsets 2 to 3 are missing/);
    consumer.seek("t", 0, 4);
    assert.deepEqual(texts(await until(consumer.poll(1_000))), values(2, 4));
    consumer.seek("t", 0, 1);
    log.batches.splice(1, 0, lost);
    assert.deepEqual(texts(await until(consumer.poll(1_000))), values(2, 1));
    assert.deepEqual(texts(await until(consumer.poll(1_000))), values(2, 3));
    await until(consumer.close());
  });
});

describe("a batch that is corrupt", () => {
  it("is told with its offsets after what came before, and seek goes on behind it", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t", 2);
    await agent.append("t", values(2));
    await agent.append("t", values(3, 2));
    await agent.append("t", values(2, 5));
    const damaged = agent.log("t").batches[1];
    assert.ok(damaged);
    damaged.records[70] = (damaged.records[70] ?? 0) ^ 0xff;
    const consumer = open();
    assert.deepEqual(texts(await until(consumer.poll(1_000))), values(2));
    const error = await refused(until(consumer.poll(1_000)), "CORRUPT_BATCH");
    assert.equal(error.kind, "corrupt");
    assert.deepEqual(error.range, { ...zero, firstOffset: 2, lastOffset: 4 });
    assert.match(error.message, /offsets 2 to 4 of t\/0 .* seek to 5/);
    await agent.append("t", ["other"], { partition: 1 });
    assert.deepEqual(texts(await until(consumer.poll(1_000))), ["other"], "others go on");
    await refused(until(consumer.poll(15_000)), "CORRUPT_BATCH");
    consumer.seek("t", 0, (error.range?.lastOffset ?? 0) + 1);
    assert.deepEqual(texts(await until(consumer.poll(1_000))), values(2, 5));
    await until(consumer.close());
    assert.equal(agent.groups.committed("t"), 5);
  });

  it("is told when the agent could not read it, with the offset", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(3));
    const consumer = open();
    await until(consumer.poll(1_000));
    agent.log("t").error = invalid("CORRUPT_SEGMENT", "its checksum is wrong");
    const error = await refused(until(consumer.poll(5_000)), "CORRUPT_SEGMENT");
    assert.match(error.message, /offset 3 of t\/0 .*checksum/);
    await until(consumer.close());
    assert.equal(agent.groups.committed("t"), 3);
  });
});

describe("a seek", () => {
  it("before an error was told makes it void", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(3));
    const consumer = open();
    await until(consumer.poll(1_000));
    agent.log("t").error = invalid("CORRUPT_SEGMENT", "its checksum is wrong");
    await clock.run(2_000);
    agent.log("t").error = undefined;
    consumer.seek("t", 0, 1);
    assert.deepEqual(texts(await until(consumer.poll(1_000))), ["v1", "v2"]);
    await until(consumer.close());
  });
});

describe("a topic", () => {
  it("that does not exist is refused at the first read, and found once it is there", async () => {
    const { agent, open, until } = setUp();
    const consumer = open();
    const error = await refused(until(take(consumer, 1)), "TOPIC_NOT_FOUND");
    assert.match(error.message, /t/);
    await refused(until(open({ assign: [zero] }).poll(100)), "TOPIC_NOT_FOUND");
    agent.createTopic("t");
    await agent.append("t", ["a"]);
    assert.deepEqual(await until(take(consumer, 1)), ["a"]);
    await refused(
      until(open({ assign: [{ topic: "t", partition: 7 }] }).poll(100)),
      "PARTITION_OUT_OF_RANGE",
    );
    await until(consumer.close());
  });

  it("that was made anew under its name is another one: the group begins it by its rule", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(5));
    const consumer = open();
    assert.equal((await until(consumer.poll(1_000))).length, 5);
    agent.deleteTopic("t");
    agent.createTopic("t");
    await agent.append("t", ["new"]);
    assert.deepEqual(await until(take(consumer, 1)), ["new"]);
    await until(consumer.close());
    assert.equal(agent.groups.committed("t"), 0);
  });

  it("that was made anew is taken up by manual assignment too", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(5));
    const consumer = open({ assign: [{ ...zero, offset: 3 }] });
    assert.deepEqual(texts(await until(consumer.poll(1_000))), ["v3", "v4"]);
    agent.deleteTopic("t");
    agent.createTopic("t");
    await agent.append("t", ["new"]);
    assert.deepEqual(await until(take(consumer, 1)), ["new"]);
    await until(consumer.close());
  });

  it("that was deleted is told, and does not keep the others from being committed", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    agent.createTopic("u");
    await agent.append("t", values(2));
    await agent.append("u", values(2));
    const consumer = open({ topics: ["t", "u"], autoCommit: false });
    assert.equal((await until(consumer.poll(1_000))).length, 4);
    agent.deleteTopic("t");
    await refused(until(consumer.commit()), "TOPIC_NOT_FOUND");
    assert.equal(agent.groups.committed("u"), 2);
    await refused(until(consumer.poll(5_000)), "TOPIC_NOT_FOUND");
    await agent.append("u", ["more"]);
    assert.deepEqual(texts(await until(consumer.poll(5_000))), ["more"]);
    assert.deepEqual(consumer.assignment(), [{ topic: "u", partition: 0 }]);
    await until(consumer.close());
  });
});
