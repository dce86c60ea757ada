import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Consumer } from "../../../src/consumer/consumer.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { unavailable } from "./fake-agent.ts";
import { refused, type Setup, setUp, take, texts, values } from "./setup.ts";

const KIB = 1_024;

/** A topic with `count` batches of one record of a KiB each. */
async function fill({ agent }: Setup, count: number): Promise<void> {
  agent.createTopic("t");
  for (let i = 0; i < count; i++) await agent.append("t", [new Uint8Array(KIB)]);
}

async function readAll({ until }: Setup, consumer: Consumer, count: number): Promise<number[]> {
  const offsets: number[] = [];
  while (offsets.length < count) {
    offsets.push(...(await until(consumer.poll(5_000))).map((it) => it.offset));
  }
  return offsets;
}

describe("fetching ahead", () => {
  it("stops when the buffer is full, and goes on when it was read, with every record once", async () => {
    const setup = setUp();
    await fill(setup, 100);
    const { agent, clock, open, until } = setup;
    const consumer = open({ prefetchBytes: 16 * KIB, maxPollRecords: 1 });
    const first = (await until(consumer.poll(1_000))).map((it) => it.offset);
    await clock.run(20_000);
    const fetches = agent.fetches.length;
    const ahead = Math.max(...agent.fetches.map((it) => it.partitions[0]?.offset ?? 0));
    assert.ok(ahead <= 17, `asked up to offset ${ahead} with room for 16 KiB`);
    await clock.run(20_000);
    assert.equal(agent.fetches.length, fetches, "no fetch while the buffer is full");
    assert.ok(agent.fetches.every((it) => it.maxBytes <= 8 * KIB));
    assert.deepEqual(
      [...first, ...(await readAll(setup, consumer, 99))],
      Array.from({ length: 100 }, (_, i) => i),
    );
    await until(consumer.close());
  });

  it("brings a batch that is larger than the buffer", async () => {
    const setup = setUp();
    await fill(setup, 3);
    const consumer = setup.open({ prefetchBytes: 1, fetchPartitionBytes: 1 });
    assert.deepEqual(await readAll(setup, consumer, 3), [0, 1, 2]);
    await setup.until(consumer.close());
  });

  it("has one long poll for all partitions of an agent, with the member's identity", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 3);
    const consumer = open({ fetchMaxWaitMs: 700, fetchMinBytes: 10, fetchPartitionBytes: 5_000 });
    await until(consumer.poll(10_000));
    await clock.run(100);
    assert.equal(agent.waitingFetches, 1);
    const last = agent.fetches.at(-1);
    assert.deepEqual(
      last?.partitions.map((it) => [it.partition, it.offset, it.maxBytes]),
      [
        [0, 0, 5_000],
        [1, 0, 5_000],
        [2, 0, 5_000],
      ],
    );
    assert.deepEqual(
      [last?.maxWaitMs, last?.minBytes, last?.group, last?.memberId, last?.memberEpoch],
      [700, 10, "g", consumer.memberId, 1],
    );
    await until(consumer.close());
    assert.equal(agent.waitingFetches, 0);
  });

  it("gives the event loop its turn while there are records", async () => {
    const setup = setUp();
    const { clock, open, until } = setup;
    await fill(setup, 50);
    const consumer = open();
    let turned = 0;
    const reading = (async () => {
      for await (const { offset } of consumer) {
        if (offset === 0) setImmediate(() => turned++);
        if (offset === 40) return turned;
        clock.advance(1);
      }
      return 0;
    })();
    assert.equal(await until(reading), 1, "other work of the process ran meanwhile");
    await until(consumer.close());
  });
});

describe("an outage", () => {
  it("before the first contact is told after the connect timeout, with the address", async () => {
    const { agent, clock, network, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["a"]);
    network.down = true;
    const consumer = open({ connectTimeoutMs: 3_000 });
    assert.deepEqual(
      await until(consumer.poll(500)),
      [],
      "a poll waits no longer than it was told",
    );
    const at = clock.monotonic();
    const error = await refused(until(take(consumer, 1)), "AGENT_UNREACHABLE");
    assert.match(error.message, /fake:1/);
    assert.ok(clock.monotonic() - at <= 3_000);
    network.down = false;
    assert.deepEqual(await until(take(consumer, 1)), ["a"]);
    await until(consumer.close());
  });

  it("before the first contact is told to the next poll if no poll was waiting for it", async () => {
    const { agent, clock, network, open, until } = setUp();
    agent.createTopic("t");
    network.down = true;
    const consumer = open({ connectTimeoutMs: 1_000 });
    await until(consumer.poll(0));
    await clock.run(5_000);
    network.down = false;
    await refused(until(consumer.poll(1_000)), "AGENT_UNREACHABLE");
    assert.deepEqual(await until(consumer.poll(1_000)), []);
    await until(consumer.close());
  });

  it("later is waited out, with pauses, and one warning", async () => {
    const { agent, clock, network, open, until, warnings } = setUp();
    agent.createTopic("t");
    await agent.append("t", ["a"]);
    const consumer = open({ sessionTimeoutMs: 300_000 });
    await until(take(consumer, 1));
    agent.fault("fetch", ...Array.from({ length: 5 }, () => unavailable("connection reset")));
    network.down = true;
    const reading = take(consumer, 2);
    await clock.run(120_000);
    assert.equal(warnings.filter((it) => it.message.includes("cannot be read now")).length, 1);
    network.down = false;
    await agent.append("t", ["b"]);
    assert.deepEqual(await until(reading), ["a", "b"]);
    await until(consumer.close());
  });

  it("of one call is retried where the agent says when", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(2));
    const consumer = open({ autoCommit: false });
    await until(consumer.poll(1_000));
    const busy = new StreamHouseError({
      code: "OVERLOADED",
      kind: "unavailable",
      message: "later",
      retryAfterMs: 4_000,
    });
    agent.fault("commitOffsets", busy);
    const at = clock.monotonic();
    await until(consumer.commit());
    assert.ok(clock.monotonic() - at >= 4_000);
    assert.equal(agent.groups.committed("t"), 2);
    await until(consumer.close());
  });

  it("of commits does not end auto-commit", async () => {
    const { agent, clock, open, until, warnings } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(3));
    const consumer = open({ autoCommitIntervalMs: 1_000 });
    await until(consumer.poll(100));
    await until(consumer.poll(0));
    agent.fault("commitOffsets", unavailable("down"), unavailable("down"));
    await clock.run(4_000);
    assert.equal(agent.groups.committed("t"), 3);
    assert.equal(warnings.filter((it) => it.message.includes("auto-commit failed")).length, 2);
    const sent = agent.groups.commits.length;
    await clock.run(10_000);
    assert.equal(agent.groups.commits.length, sent, "nothing new, nothing sent");
    await until(consumer.close());
  });

  it("at the end is not waited for longer than the close timeout", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(3));
    const consumer = open({ closeTimeoutMs: 2_000 });
    await until(consumer.poll(1_000));
    await until(consumer.poll(0));
    agent.hanging.add("commitOffsets");
    const at = clock.monotonic();
    await until(consumer.close());
    assert.ok(clock.monotonic() - at <= 2_100, `${clock.monotonic() - at} ms`);
    assert.equal(clock.pending, 0);
  });

  it("does not keep an abandoned start alive", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    agent.hanging.add("heartbeat");
    const consumer = open();
    assert.deepEqual(await until(consumer.poll(100)), []);
    await until(consumer.close());
    assert.equal(clock.pending, 0);
    assert.equal(agent.groups.heartbeats.length, 0);
  });
});

describe("two consumers of different groups", () => {
  it("each read everything and commit for themselves", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(3));
    const one = open({ group: "one" });
    const two = open({ group: "two" });
    assert.deepEqual(texts(await until(one.poll(1_000))), values(3));
    assert.deepEqual(texts(await until(two.poll(1_000))), values(3));
    await until(Promise.all([one.close(), two.close()]));
  });
});
