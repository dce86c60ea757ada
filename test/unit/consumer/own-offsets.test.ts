import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PartitionRef, StartOffset, StartOffsets } from "../../../src/consumer/options.ts";
import { refused, setUp, take, texts, values } from "./setup.ts";

const at = (partition: number, offset: number): StartOffset => ({ topic: "t", partition, offset });

async function withRecords(partitions: number) {
  const setup = setUp();
  setup.agent.createTopic("t", partitions);
  for (let partition = 0; partition < partitions; partition++) {
    await setup.agent.append("t", values(6, 10 * partition), { partition });
  }
  return setup;
}

describe("a consumer whose application keeps its own offsets", () => {
  it("begins where the application says, whatever the group has committed", async () => {
    const { agent, open, until } = await withRecords(1);
    agent.groups.setCommitted("t", 0, 5);
    const asked: (readonly PartitionRef[])[] = [];
    const startOffsets: StartOffsets = (partitions) => {
      asked.push(partitions);
      return [at(0, 2)];
    };
    const consumer = open({ startOffsets, autoCommit: false });
    assert.deepEqual(await until(take(consumer, 2)), ["v2", "v3"]);
    assert.deepEqual(asked, [[{ topic: "t", partition: 0 }]]);
    await until(consumer.commit([{ topic: "t", partition: 0, offset: 3 }]));
    assert.equal(agent.groups.committed("t"), 3, "a commit below the group's own is no late one");
    await until(consumer.close());
  });

  it("begins as usual in partitions of which the application says nothing", async () => {
    const { agent, open, until } = await withRecords(2);
    agent.groups.setCommitted("t", 1, 4);
    const consumer = open({ startOffsets: () => [at(0, 5)] });
    const records = texts(await until(consumer.poll(1_000)));
    records.push(...texts(await until(consumer.poll(1_000))));
    assert.deepEqual(records.sort(), ["v14", "v15", "v5"]);
    await until(consumer.close());
  });

  it("hands out and fetches nothing until the application has answered", async () => {
    const { agent, clock, open, until } = await withRecords(1);
    const { promise, resolve } = Promise.withResolvers<StartOffset[]>();
    const consumer = open({ startOffsets: () => promise });
    assert.deepEqual(await until(consumer.poll(5_000)), []);
    assert.equal(agent.fetches.length, 0);
    const before = agent.groups.heartbeats.length;
    await clock.run(5_000);
    assert.ok(agent.groups.heartbeats.length > before, "it stays a member");
    resolve([at(0, 4)]);
    assert.deepEqual(texts(await until(consumer.poll(1_000))), ["v4", "v5"]);
    assert.equal(agent.fetches[0]?.partitions[0]?.offset, 4);
    await until(consumer.close());
  });

  it("tells the reader what the application threw, gives nothing out, and asks again", async () => {
    const { agent, open, until } = await withRecords(1);
    let down = 2;
    const startOffsets: StartOffsets = async () => {
      if (down-- > 0) throw new Error("the database is away");
      return [at(0, 3)];
    };
    const consumer = open({ startOffsets });
    for (let i = 0; i < 2; i++) {
      const error = await refused(until(consumer.poll(10_000)), "INTERNAL");
      assert.match(error.message, /startOffsets failed: the database is away/);
      assert.equal(agent.fetches.length, 0);
    }
    assert.deepEqual(texts(await until(consumer.poll(10_000))), ["v3", "v4", "v5"]);
    await until(consumer.close());
  });

  it("asks again where the application does not answer in time, and tells it by the signal", async () => {
    const { open, until, warnings } = await withRecords(1);
    const signals: AbortSignal[] = [];
    const startOffsets: StartOffsets = (_, { signal }) => {
      signals.push(signal);
      return signals.length === 1 ? new Promise(() => {}) : [at(0, 5)];
    };
    const consumer = open({ startOffsets, requestTimeoutMs: 4_000 });
    assert.deepEqual(await until(take(consumer, 1)), ["v5"]);
    assert.deepEqual(
      signals.map((it) => it.aborted),
      [true, false],
    );
    const said = warnings.map(({ fields }) => String(fields?.error));
    assert.ok(said.some((it) => it.includes("startOffsets did not answer within 4000 ms")));
    await until(consumer.close());
  });

  it("asks anew when its membership ended while it was asking: the first answer is void", async () => {
    const { agent, clock, open, until } = await withRecords(1);
    const answers = [
      Promise.withResolvers<StartOffset[]>(),
      Promise.withResolvers<StartOffset[]>(),
    ];
    let asked = 0;
    const consumer = open({ startOffsets: () => answers[asked++]?.promise ?? [] });
    const reading = take(consumer, 1);
    await clock.run(1_000);
    agent.groups.expel();
    await clock.run(2_000);
    answers[0]?.resolve([at(0, 1)]);
    await clock.run(1_000);
    assert.equal(asked, 2);
    answers[1]?.resolve([at(0, 4)]);
    assert.deepEqual(await until(reading), ["v4"]);
    await until(consumer.close());
  });

  it("closes at once while the application is being asked", async () => {
    const { clock, open, until } = await withRecords(1);
    let signal: AbortSignal | undefined;
    const consumer = open({
      startOffsets: (_, options) => {
        signal = options.signal;
        return new Promise(() => {});
      },
    });
    await until(consumer.poll(100));
    await until(consumer.close());
    assert.equal(signal?.aborted, true);
    assert.equal(clock.pending, 0);
  });

  for (const [what, answer, words] of [
    ["an offset below 0", [at(0, -1)], /offset -1 for t\/0/],
    ["a partition twice", [at(0, 1), at(0, 2)], /t\/0 twice/],
    ["a partition that was not asked for", [at(7, 1)], /t\/7 without being asked/],
  ] as const) {
    it(`refuses ${what} in the answer`, async () => {
      const { agent, open, until } = await withRecords(1);
      const consumer = open({ startOffsets: () => answer });
      const error = await refused(until(consumer.poll(1_000)), "INVALID_ARGUMENT");
      assert.match(error.message, words);
      assert.equal(error.field, "startOffsets");
      assert.equal(agent.fetches.length, 0);
      await until(consumer.close());
    });
  }

  it("asks about assigned partitions too, unless their offset is given, and again by the next read", async () => {
    const { open, until } = await withRecords(2);
    const asked: number[][] = [];
    const startOffsets: StartOffsets = (partitions) => {
      asked.push(partitions.map((it) => it.partition));
      if (asked.length === 1) throw new Error("not now");
      return [at(0, 5)];
    };
    const assign = [{ topic: "t", partition: 0 }, at(1, 5)];
    const consumer = open({ assign, startOffsets });
    await refused(until(consumer.poll(1_000)), "INTERNAL");
    const seen = await until(take(consumer, 2));
    assert.deepEqual(seen.sort(), ["v15", "v5"]);
    assert.deepEqual(asked, [[0], [0]]);
    await until(consumer.close());
  });
});
