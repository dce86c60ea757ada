/** Records through producer, agent, store and consumer, as an application sees them. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { ConsumerRecord, ProducerRecord } from "../../src/core/record.ts";
import type { House } from "../../src/house/house.ts";
import type { SendResult } from "../../src/producer/send-result.ts";
import { ways } from "./ways.ts";

/** Reads until `count` records are there. */
async function read(
  house: House,
  group: string,
  topic: string,
  count: number,
): Promise<ConsumerRecord[]> {
  await using consumer = house.consumer({ group, topics: [topic] });
  const records: ConsumerRecord[] = [];
  if (count === 0) return records;
  for await (const record of consumer) {
    records.push(record);
    if (records.length === count) {
      await consumer.commit();
      break;
    }
  }
  return records;
}

const bytes = (...values: number[]) => new Uint8Array(values);
const plain = (value: Uint8Array | null) => (value === null ? null : [...value]);

for (const way of ways) {
  describe(`a record's whole way, ${way.name}`, () => {
    let house: House;
    let close: () => Promise<void>;

    before(async () => {
      ({ house, close } = await way.open());
    });

    after(() => close());

    it("keeps keys, values, headers and timestamps of every shape", async () => {
      await house.admin.createTopic("shapes");
      const sent: (Omit<ProducerRecord, "headers"> & {
        headers?: [string, Uint8Array | string | null][];
      })[] = [
        { key: null, value: null },
        { key: "", value: "" },
        { key: "k", value: "ünïcödé ☃" },
        { key: bytes(0, 255), value: bytes(254, 0, 10, 13), timestamp: 1_700_000_000_123 },
        {
          value: "h",
          headers: [
            ["a", "1"],
            ["a", bytes(2)],
            ["", ""],
            ["null", null],
          ],
        },
        { value: "x".repeat(500_000) },
      ];
      await using producer = house.producer();
      const results = [];
      for (const record of sent) results.push(await producer.send({ topic: "shapes", ...record }));
      assert.deepEqual(
        results.map((result) => result.offset),
        [0, 1, 2, 3, 4, 5],
      );
      const got = await read(house, "shapes", "shapes", sent.length);
      const encode = (it: Uint8Array | string | null | undefined) =>
        it == null ? null : [...(typeof it === "string" ? new TextEncoder().encode(it) : it)];
      for (const [i, record] of got.entries()) {
        assert.deepEqual(plain(record.key), encode(sent[i]?.key));
        assert.deepEqual(plain(record.value), encode(sent[i]?.value));
        assert.deepEqual(
          record.headers.map(([name, value]) => [name, plain(value)]),
          (sent[i]?.headers ?? []).map(([name, value]) => [name, encode(value)]),
        );
        assert.equal(record.timestamp, results[i]?.timestamp);
        assert.equal(record.offset, i);
        assert.ok(record.appendTimestamp > 0);
      }
      assert.equal(got[3]?.timestamp, 1_700_000_000_123);
    });

    it("keeps the order of each partition, with every codec, and leaves no gap in the offsets", async () => {
      await house.admin.createTopic("order", { partitions: 4 });
      const total = 3_000;
      const results: SendResult[] = [];
      for (const compression of ["none", "gzip", "zstd"] as const) {
        await using producer = house.producer({ compression, batchBytes: 4_096 });
        const sends = Array.from({ length: total }, (_, i) =>
          producer.send({
            topic: "order",
            key: `key-${i % 97}`,
            value: JSON.stringify({ compression, i }),
          }),
        );
        results.push(...(await Promise.all(sends)));
      }
      const got = await read(house, "order", "order", 3 * total);
      for (const partition of [0, 1, 2, 3]) {
        const mine = got.filter((record) => record.partition === partition);
        assert.deepEqual(
          mine.map((record) => record.offset),
          mine.map((_, i) => i),
        );
        for (const compression of ["none", "gzip", "zstd"]) {
          const numbers = mine
            .map((record) => record.json<{ compression: string; i: number }>())
            .filter((value) => value.compression === compression)
            .map((value) => value.i);
          assert.deepEqual(
            numbers,
            numbers.toSorted((a, b) => a - b),
          );
        }
        // What send() answered is where the record is.
        for (const record of mine.slice(0, 50)) {
          const { compression, i } = record.json<{ compression: string; i: number }>();
          const sent = results[["none", "gzip", "zstd"].indexOf(compression) * total + i];
          assert.deepEqual([sent?.partition, sent?.offset], [partition, record.offset]);
        }
      }
    });

    it("tells for many records with one promise where they went", async () => {
      await house.admin.createTopic("many", { partitions: 3 });
      await using producer = house.producer();
      const records = Array.from({ length: 5_000 }, (_, i) => ({ key: `${i}`, value: `${i}` }));
      const { count, ranges } = await producer.sendBatch({ topic: "many", records });
      assert.equal(count, 5_000);
      assert.equal(
        ranges.reduce((sum, range) => sum + range.count, 0),
        5_000,
      );
      assert.equal((await read(house, "many", "many", 5_000)).length, 5_000);
    });

    it("delivers what was acknowledged as buffered or not at all, without offsets", async () => {
      await house.admin.createTopic("acks");
      for (const acks of ["buffered", "none"] as const) {
        await using producer = house.producer({ acks });
        const result = await producer.send({ topic: "acks", value: acks });
        assert.equal(result.offset, undefined);
      }
      const values = (await read(house, "acks", "acks", 2)).map((record) => record.text());
      assert.deepEqual(values.sort(), ["buffered", "none"]);
    });

    it("goes on for a group where it committed, and counts its lag", async () => {
      await house.admin.createTopic("groups");
      await using producer = house.producer();
      const records = Array.from({ length: 10 }, (_, i) => ({ value: `${i}` }));
      await producer.sendBatch({ topic: "groups", records });
      const first = await read(house, "workers", "groups", 4);
      assert.deepEqual(
        first.map((record) => record.text()),
        ["0", "1", "2", "3"],
      );
      await using consumer = house.consumer({ group: "workers", topics: ["groups"] });
      const { records: lag, seconds } = await consumer.lag("groups", 0);
      assert.equal(lag, 6);
      assert.ok(seconds > 0);
      const rest = [];
      for await (const record of consumer) {
        rest.push(record.text());
        if (rest.length < 6) continue;
        // In the loop: a record that is left by `break` is not finished.
        await consumer.commit();
        break;
      }
      assert.deepEqual(rest, ["4", "5", "6", "7", "8", "9"]);
      assert.deepEqual(await consumer.lag("groups", 0), { records: 0, seconds: 0 });
    });

    it("reads again from where it is told to: an offset, a time, the beginning", async () => {
      await house.admin.createTopic("seek");
      await using producer = house.producer({ lingerMs: 0 });
      for (let i = 0; i < 6; i++) {
        await producer.send({ topic: "seek", value: `${i}`, timestamp: 1_000_000 + i * 1_000 });
      }
      const assign = [{ topic: "seek", partition: 0 }];
      await using consumer = house.consumer({ assign });
      const next = async () => {
        for await (const record of consumer) return record.text();
        return assert.fail("the iteration ended");
      };
      assert.equal(await next(), "0");
      consumer.seek("seek", 0, 4);
      assert.equal(await next(), "4");
      await consumer.seekToTimestamp(1_002_000);
      assert.equal(await next(), "2");
      await consumer.seekToBeginning();
      assert.equal(await next(), "0");
    });

    it("hands over batches that are committed by hand", async () => {
      await house.admin.createTopic("batches");
      await using producer = house.producer();
      await producer.sendBatch({
        topic: "batches",
        records: Array.from({ length: 100 }, (_, i) => ({ value: `${i}` })),
      });
      const options = { group: "batches", topics: ["batches"], autoCommit: false };
      await using consumer = house.consumer(options);
      let seen = 0;
      for await (const batch of consumer.batches()) {
        seen += batch.records.length;
        await batch.commit();
        if (seen === 100) break;
      }
      assert.equal(await consumer.committed("batches", 0), 100);
    });

    it("moves records through streams", async () => {
      await house.admin.createTopic("streams");
      const producer = house.producer();
      const numbers = new ReadableStream({
        start(controller) {
          for (let i = 0; i < 50; i++) controller.enqueue({ topic: "streams", value: `${i}` });
          controller.close();
        },
      });
      await numbers.pipeTo(producer.writable);
      await using consumer = house.consumer({ group: "streams", topics: ["streams"] });
      const got: string[] = [];
      const reader = consumer.readable.getReader();
      while (got.length < 50) {
        const { value } = await reader.read();
        if (value !== undefined) got.push(value.text());
      }
      await reader.cancel();
      assert.deepEqual(
        got,
        Array.from({ length: 50 }, (_, i) => `${i}`),
      );
    });

    it("types a topic at both ends", async () => {
      await house.admin.createTopic("typed");
      const topic = house.topic<{ n: number }>("typed");
      await using producer = topic.producer();
      await producer.sendBatch([{ n: 1 }, { n: 2 }]);
      await using consumer = topic.consumer({ group: "typed" });
      const values: number[] = [];
      for await (const { value } of consumer) {
        values.push(value.n);
        if (values.length === 2) break;
      }
      assert.deepEqual(values, [1, 2]);
    });
  });

  describe(`the end of a house, ${way.name}`, () => {
    it("sends what is pending and leaves no promise open", async () => {
      const { house, close } = await way.open();
      await house.admin.createTopic("last", { partitions: 2 });
      const producer = house.producer({ lingerMs: 60_000 });
      const sends = Array.from({ length: 100 }, (_, i) =>
        producer.send({ topic: "last", value: `${i}` }),
      );
      await house.close();
      assert.equal((await Promise.all(sends)).length, 100);
      assert.equal(producer.pending, 0);
      await assert.rejects(producer.send({ topic: "last", value: "" }), { code: "CLOSED" });
      assert.throws(() => house.producer(), { code: "CLOSED" });
      assert.throws(() => house.consumer({ group: "g", topics: ["last"] }), { code: "CLOSED" });
      await close();
    });

    it("ends the iteration of a consumer that waits", async () => {
      const { house, close } = await way.open();
      await house.admin.createTopic("quiet");
      const consumer = house.consumer({ group: "quiet", topics: ["quiet"] });
      let entered = 0;
      const reading = (async () => {
        for await (const _ of consumer) entered += 1;
      })();
      await house.close();
      await reading;
      assert.equal(entered, 0);
      await close();
    });
  });
}
