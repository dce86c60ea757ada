/** Consumers against a real agent in the same process: what the fake agent cannot show. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Consumer } from "../../../src/consumer/consumer.ts";
import type { House } from "../../../src/house/house.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { createTestHouse } from "../../../src/testing/test-house.ts";
import { take, texts, values } from "./setup.ts";

async function send(house: House, topic: string, wanted: readonly string[]): Promise<void> {
  const producer = house.producer({ lingerMs: 0 });
  await producer.sendBatch({ topic, records: wanted.map((value) => ({ value })) });
  await producer.close();
}

async function pollAll(consumer: Consumer, count: number): Promise<string[]> {
  const seen: string[] = [];
  while (seen.length < count) seen.push(...texts(await consumer.poll(5_000)));
  return seen;
}

describe("consumers of a real agent", () => {
  it("go on in a group where the last one committed", async () => {
    const house = await createTestHouse({ topics: { t: 1 } });
    await send(house, "t", values(10));
    const first = house.consumer({ group: "g", topics: ["t"] });
    await take(first, 4);
    await first.close();
    const second = house.consumer({ group: "g", topics: ["t"] });
    assert.equal(await second.committed("t", 0), 3);
    assert.deepEqual(await pollAll(second, 7), values(7, 3));
    assert.equal((await second.lag("t", 0)).records, 7);
    await second.commit();
    assert.deepEqual(await second.lag("t", 0), { records: 0, seconds: 0 });
    await second.close();
    await house.close();
  });

  it("take over when the member before them leaves, each record to one of them", async () => {
    const clock = new ManualClock();
    const house = await clock.until(createTestHouse({ clock, topics: { t: 2 } }));
    await clock.until(send(house, "t", values(20)));
    const first = house.consumer({ group: "g", topics: ["t"] });
    const second = house.consumer({ group: "g", topics: ["t"] });
    const seen = await clock.until(pollAll(first, 20));
    assert.deepEqual(await clock.until(second.poll(2_000)), []);
    assert.deepEqual(second.assignment(), []);
    await clock.until(first.commit());
    await clock.until(first.close());
    await clock.until(send(house, "t", values(5, 20)));
    seen.push(...(await clock.until(pollAll(second, 5))));
    assert.deepEqual(new Set(seen), new Set(values(25)));
    assert.equal(seen.length, 25);
    await clock.until(house.close());
    assert.equal(clock.pending, 0);
  });

  it("take over when the session of the member before them ends, from its last commit", async () => {
    const clock = new ManualClock();
    const house = await clock.until(createTestHouse({ clock, topics: { t: 1 } }));
    await clock.until(send(house, "t", values(6)));
    const options = { group: "g", topics: ["t"], sessionTimeoutMs: 3_000, autoCommit: false };
    // A member that joined and was never heard again.
    const { heartbeat } = house.agent.api;
    const lost = { group: "g", memberId: "11111111-1111-4111-8111-111111111111", memberEpoch: 0 };
    await heartbeat.call(
      house.agent.api,
      {
        ...{ ...lost, topics: ["t"], owned: [], clientId: "dead", instanceId: "" },
        ...{ sessionTimeoutMs: 3_000, rebalanceTimeoutMs: 0 },
      },
      {},
    );
    const second = house.consumer(options);
    assert.deepEqual(await clock.until(second.poll(1_000)), []);
    assert.deepEqual(await clock.until(pollAll(second, 6)), values(6));
    await clock.until(house.close());
  });

  it("of a topic that was made anew see the new one only", async () => {
    const house = await createTestHouse({ topics: { t: 1 } });
    await send(house, "t", values(5));
    const group = house.consumer({ group: "g", topics: ["t"], sessionTimeoutMs: 6_000 });
    const manual = house.consumer({ assign: [{ topic: "t", partition: 0 }] });
    await Promise.all([pollAll(group, 5), pollAll(manual, 5)]);
    await group.commit();
    await house.admin.deleteTopic("t");
    await house.admin.createTopic("t", { partitions: 1 });
    await send(house, "t", ["new"]);
    assert.deepEqual(await pollAll(group, 1), ["new"]);
    assert.deepEqual(await pollAll(manual, 1), ["new"]);
    await house.close();
  });

  it("read gzip and zstd, keys, headers and tombstones as they were sent", async () => {
    const house = await createTestHouse({ topics: { t: 1 } });
    for (const compression of ["none", "gzip", "zstd"] as const) {
      const producer = house.producer({ compression, lingerMs: 0 });
      await producer.send({ topic: "t", key: "k", value: null, headers: { codec: compression } });
      await producer.close();
    }
    const consumer = house.consumer({ group: "g", topics: ["t"] });
    const seen = [];
    for await (const record of consumer) {
      seen.push([record.offset, record.keyText(), record.value, record.header("codec")]);
      if (seen.length === 3) break;
    }
    assert.deepEqual(seen, [
      [0, "k", null, "none"],
      [1, "k", null, "gzip"],
      [2, "k", null, "zstd"],
    ]);
    await house.close();
  });

  it("find every record of many partitions while producers write", async () => {
    const house = await createTestHouse({ topics: { t: 7 } });
    const consumer = house.consumer({ group: "g", topics: ["t"], prefetchBytes: 20_000 });
    const writing = (async () => {
      for (let i = 0; i < 20; i++) await send(house, "t", values(100, i * 100));
    })();
    const seen = await pollAll(consumer, 2_000);
    await writing;
    assert.equal(new Set(seen).size, 2_000);
    await house.close();
  });
});
