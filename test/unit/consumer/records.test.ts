import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { refused, setUp, take, texts, values } from "./setup.ts";

describe("iterating over records", () => {
  it("gives them in order across batches, codecs and what arrives later", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(3));
    await agent.append("t", values(3, 3), { compression: "gzip" });
    const consumer = open();
    const reading = take(consumer, 9);
    await until(take(open({ group: "other" }), 6));
    await agent.append("t", values(3, 6), { compression: "zstd" });
    assert.deepEqual(await until(reading), values(9));
    await until(consumer.close());
  });

  it("finishes a record when the next one is asked for, and leaves the one of a break", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(5));
    const consumer = open();
    await until(take(consumer, 3));
    await until(consumer.close());
    assert.equal(agent.groups.committed("t"), 2);
    assert.deepEqual(await until(take(open(), 3)), ["v2", "v3", "v4"]);
  });

  it("gives the record at which a loop threw again, so that nothing is lost", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(4));
    const consumer = open();
    const boom = new Error("the handler failed");
    const failing = (async () => {
      for await (const record of consumer) if (record.text() === "v1") throw boom;
    })();
    await assert.rejects(until(failing), boom);
    assert.deepEqual(await until(take(consumer, 3)), ["v1", "v2", "v3"]);
    await until(consumer.close());
    assert.equal(agent.groups.committed("t"), 3);
  });

  it("commits the record in hand with commit() in the loop, and does not give it again", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(4));
    const consumer = open({ autoCommit: false });
    const reading = (async () => {
      for await (const record of consumer) {
        if (record.text() !== "v1") continue;
        await consumer.commit();
        break;
      }
    })();
    await until(reading);
    assert.equal(agent.groups.committed("t"), 2);
    assert.deepEqual(await until(take(consumer, 1)), ["v2"]);
    await until(consumer.close());
    assert.equal(agent.groups.committed("t"), 2);
  });

  it("lets one reader read at a time, and says so to a second", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    const consumer = open();
    const iterator = consumer[Symbol.asyncIterator]();
    const waiting = iterator.next();
    const error = await refused(until(consumer.poll(0)), "INVALID_ARGUMENT");
    assert.match(error.message, /read by for await/);
    await refused(until(consumer.batches().next()), "INVALID_ARGUMENT");
    await agent.append("t", ["a"]);
    assert.equal((await until(waiting)).value?.text(), "a");
    await until(Promise.resolve(iterator.return?.()));
    assert.deepEqual(texts(await until(consumer.poll(0))), ["a"]);
    await until(consumer.close());
  });

  it("answers several calls of next() in their order", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    for (const value of values(4)) await agent.append("t", [value], { compression: "gzip" });
    const iterator = open()[Symbol.asyncIterator]();
    const results = await until(Promise.all(values(4).map(() => iterator.next())));
    assert.deepEqual(
      results.map((it) => it.value?.text()),
      values(4),
    );
  });

  it("ends a wait at once when the loop's signal aborts, and can be read again", async () => {
    const { agent, open, until, clock } = setUp();
    agent.createTopic("t");
    const consumer = open();
    const abort = new AbortController();
    const waiting = consumer.records({ signal: abort.signal }).next();
    await clock.run(10_000);
    abort.abort(new Error("enough"));
    const error = await refused(until(waiting), "ABORTED");
    assert.equal((error.cause as Error).message, "enough");
    await refused(consumer.records({ signal: AbortSignal.abort() }).next(), "ABORTED");
    await agent.append("t", ["a"]);
    assert.deepEqual(await until(take(consumer, 1)), ["a"]);
    await until(consumer.close());
  });

  it("stops within a batch when its signal aborts, with what was finished finished", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(9));
    const consumer = open();
    const abort = new AbortController();
    const reading = (async () => {
      for await (const record of consumer.records({ signal: abort.signal })) {
        if (record.text() === "v1") abort.abort();
      }
    })();
    await refused(until(reading), "ABORTED");
    await until(consumer.close());
    assert.equal(agent.groups.committed("t"), 2);
  });

  it("ends when the consumer is closed, waiting or not, and leaves no timer", async () => {
    const { agent, open, until, clock } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(5));
    const consumer = open();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const record of consumer) {
        seen.push(record.text());
        if (seen.length === 2) void consumer.close();
      }
    })();
    await until(reading);
    await until(consumer.close());
    assert.deepEqual(seen, ["v0", "v1"]);
    assert.equal(agent.groups.committed("t"), 2, "v1 was finished: the loop asked for the next");
    assert.equal(agent.groups.left, 1);
    assert.equal(agent.waitingFetches, 0);
    assert.equal(clock.pending, 0);

    const waiting = open();
    const end = take(waiting, 9);
    await clock.run(3_000);
    await until(waiting.close());
    assert.deepEqual(await until(end), ["v2", "v3", "v4"]);
    assert.equal(clock.pending, 0);
  });

  it("is refused on a closed consumer", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    const consumer = open();
    await until(consumer.close());
    await until(consumer.close());
    await refused(until(consumer.poll(0)), "CLOSED");
    await refused(until(take(consumer, 1)), "CLOSED");
    await refused(until(consumer.commit()), "CLOSED");
    assert.equal(agent.groups.heartbeats.length, 0, "nothing was sent");
  });

  it("hands a stream each record only when its reader asks", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(4));
    const consumer = open();
    const reader = consumer.readable.getReader();
    assert.equal((await until(reader.read())).value?.text(), "v0");
    assert.equal((await until(reader.read())).value?.text(), "v1");
    await until(reader.cancel());
    assert.equal(consumer.position("t", 0), 1, "v1 is not finished");
    await until(consumer.close());
    assert.equal(agent.groups.committed("t"), 1);
  });
});
