import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deadLetterHeaders } from "../../../src/consumer/run-dead-letter.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";
import type { ConsumerRecord } from "../../../src/core/record.ts";
import type { House } from "../../../src/house/house.ts";
import type { StandardSchema } from "../../../src/house/standard-schema.ts";
import { createTestHouse } from "../../../src/testing/test-house.ts";

interface Order {
  readonly id: number;
}

/** Takes orders with a whole number as their id. */
const orderSchema: StandardSchema<Order> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) => {
      const id = (value as { id?: unknown } | null)?.id;
      if (Number.isInteger(id)) return { value: { id: id as number } };
      return { issues: [{ message: "no id", path: ["id"] }] };
    },
  },
};

async function readAll(house: House, topic: string, count: number): Promise<ConsumerRecord[]> {
  await using consumer = house.consumer({ assign: [{ topic, partition: 0 }] });
  const records: ConsumerRecord[] = [];
  while (records.length < count) records.push(...(await consumer.poll(60_000)));
  return records;
}

async function setUp(): Promise<House> {
  const house = await createTestHouse();
  await house.admin.createTopic("orders", { partitions: 2 });
  await house.admin.createTopic("orders-dead", { partitions: 1 });
  return house;
}

describe("a house's consumer that runs", () => {
  it("writes what it gave up to the dead-letter topic, whole, and commits", async () => {
    await using house = await setUp();
    await using producer = house.producer();
    const records = Array.from({ length: 200 }, (_, i) => ({
      ...{ key: `k${i % 7}`, value: String(i), headers: { number: String(i) } },
    }));
    await producer.sendBatch({ topic: "orders", records });
    await using consumer = house.consumer({ group: "g", topics: ["orders"] });
    const stop = new AbortController();
    const seen: number[] = [];
    const check = () => {
      if (seen.length === 180 && dead.size === 20) setTimeout(() => stop.abort(), 0);
    };
    const dead = new Set<number>();
    await consumer.run(
      (record) => {
        const value = Number(record.text());
        if (value % 10 === 3) {
          dead.add(value);
          check();
          throw new RangeError(`no ${value}`);
        }
        seen.push(value);
        check();
      },
      { deadLetterTopic: "orders-dead", retry: { attempts: 1 }, signal: stop.signal },
    );
    const letters = await readAll(house, "orders-dead", 20);
    assert.equal(letters.length, 20);
    for (const letter of letters) {
      const value = letter.text();
      assert.equal(letter.keyText(), `k${Number(value) % 7}`);
      assert.equal(letter.header("number"), value);
      assert.equal(letter.header(deadLetterHeaders.error), "RangeError");
      assert.equal(letter.header(deadLetterHeaders.message), `no ${value}`);
      assert.equal(letter.header(deadLetterHeaders.group), "g");
    }
    const lags = await consumer.lags();
    assert.deepEqual(
      lags.map((it) => it.records),
      [0, 0],
    );
  });

  it("loses nothing when the dead-letter topic is deleted under it", async () => {
    await using house = await setUp();
    await using producer = house.producer();
    await producer.send({ topic: "orders", partition: 0, value: "poison" });
    await using consumer = house.consumer({ group: "g", topics: ["orders"] });
    const options = { deadLetterTopic: "orders-dead", retry: { attempts: 1 } };
    const run = consumer.run(async () => {
      await house.admin.deleteTopic("orders-dead");
      throw new Error("poison");
    }, options);
    await assert.rejects(
      run,
      (error) => StreamHouseError.is(error) && error.code === "TOPIC_NOT_FOUND",
    );
    assert.deepEqual((await consumer.lags())[0]?.records, 1);
    await house.admin.createTopic("orders-dead", { partitions: 1 });
    const stop = new AbortController();
    const again = consumer.run(
      () => {
        setTimeout(() => stop.abort(), 0);
        throw new Error("poison");
      },
      { ...options, signal: stop.signal },
    );
    await again;
    assert.equal((await readAll(house, "orders-dead", 1))[0]?.text(), "poison");
  });

  it("is closed with its house", async () => {
    const house = await setUp();
    const consumer = house.consumer({ group: "g", topics: ["orders"] });
    const done = consumer.run(() => {});
    await house.close();
    await done;
  });
});

describe("a typed topic's consumer that runs", () => {
  it("gives handlers checked values; what does not match is given up without another attempt", async () => {
    await using house = await setUp();
    await using producer = house.producer();
    for (const value of ['{"id":1}', '{"id":"x"}', "no json", '{"id":2}']) {
      await producer.send({ topic: "orders", partition: 0, value });
    }
    const orders = house.topic<Order>("orders", { schema: orderSchema });
    await using consumer = orders.consumer({ group: "g" });
    const stop = new AbortController();
    const ids: number[] = [];
    const done = consumer.run(
      ({ value, record }, { attempt }) => {
        assert.equal(attempt, 1);
        assert.equal(record.topic, "orders");
        ids.push(value.id);
      },
      { deadLetterTopic: "orders-dead", signal: stop.signal, orderBy: "partition" },
    );
    const letters = await readAll(house, "orders-dead", 2);
    stop.abort();
    await done;
    assert.deepEqual(
      letters.map((it) => [it.text(), it.header(deadLetterHeaders.error)]),
      [
        ['{"id":"x"}', "SCHEMA_MISMATCH"],
        ["no json", "SCHEMA_MISMATCH"],
      ],
    );
    assert.equal(letters[0]?.header(deadLetterHeaders.attempts), "1");
    assert.deepEqual(ids.slice(0, 1), [1]);
  });

  it("skips what does not match, if the topic says so", async () => {
    await using house = await setUp();
    await using producer = house.producer();
    for (const value of ["no json", '{"id":2}']) {
      await producer.send({ topic: "orders", partition: 0, value });
    }
    const orders = house.topic<Order>("orders", { schema: orderSchema, onMismatch: "skip" });
    await using consumer = orders.consumer({ group: "g" });
    const stop = new AbortController();
    const ids: number[] = [];
    await consumer.run(
      ({ value }) => {
        ids.push(value.id);
        stop.abort();
      },
      { signal: stop.signal, orderBy: "partition" },
    );
    assert.deepEqual(ids, [2]);
    assert.equal(await consumer.raw.committed("orders", 0), 2);
  });
});
