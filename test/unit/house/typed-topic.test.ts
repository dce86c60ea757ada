import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Consumer } from "../../../src/consumer/consumer.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { silentLogger } from "../../../src/core/logger.ts";
import { ConsumerRecord } from "../../../src/core/record.ts";
import type { StandardSchema, StandardSchemaResult } from "../../../src/house/standard-schema.ts";
import { createTypedTopic, type TopicOptions } from "../../../src/house/typed-topic.ts";
import type { Producer, SendBatch, SendRecord } from "../../../src/producer/producer.ts";

interface Order {
  readonly id: string;
  readonly total: number;
}

const orderOnly = (value: unknown): StandardSchemaResult<Order> => {
  const { id, total } = (value ?? {}) as Partial<Order>;
  const issues = [];
  if (typeof id !== "string") issues.push({ message: "must be text", path: ["id"] });
  if (typeof total !== "number") {
    issues.push({ message: "must be a number", path: [{ key: "total" }] });
  }
  return issues.length > 0 ? { issues } : { value: { id: id ?? "", total: total ?? 0 } };
};

function schemaOf(validate: StandardSchema<Order>["~standard"]["validate"]): StandardSchema<Order> {
  return { "~standard": { version: 1, vendor: "test", validate } };
}

const schema = schemaOf(orderOnly);

/** Checks later, and the longer the smaller the total. */
const slowSchema = schemaOf(async (value) => {
  const turns = 20 - ((value as Order).total % 20);
  for (let i = 0; i < turns; i++) await Promise.resolve();
  return orderOnly(value);
});

function setUp(options: TopicOptions<Order, Order>, incoming: readonly (string | null)[] = []) {
  const sent: SendRecord[] = [];
  const producer = {
    async send(record: SendRecord) {
      sent.push(record);
      return { topic: record.topic, partition: 0, offset: sent.length - 1, timestamp: 0 };
    },
    async sendBatch({ topic, records }: SendBatch) {
      sent.push(...records.map((record) => ({ ...record, topic })));
      return { topic, count: records.length, ranges: [] };
    },
    async flush() {},
    async close() {},
  } as Partial<Producer> as Producer;
  const consumer = {
    async *[Symbol.asyncIterator]() {
      for (const [offset, value] of incoming.entries()) {
        const bytes = value === null ? null : new TextEncoder().encode(value);
        yield new ConsumerRecord("orders", 0, offset, 0, 0, null, bytes, []);
      }
    },
    async commit() {},
    async close() {},
  } as unknown as Consumer;
  const skipped: string[] = [];
  const logger = {
    ...silentLogger,
    warn: (_: string, fields?: Readonly<Record<string, unknown>>) =>
      void skipped.push(String(fields?.reason)),
  };
  const source = { producer: () => producer, consumer: () => consumer };
  const topic = createTypedTopic<Order, Order>(source, logger, "orders", options);
  return { topic, sent, skipped };
}

async function readAll(topic: ReturnType<typeof setUp>["topic"]): Promise<Order[]> {
  const values: Order[] = [];
  for await (const { value } of topic.consumer({ group: "g" })) values.push(value);
  return values;
}

const bad = { id: 7 } as unknown as Order;

describe("typed topic", () => {
  it("sends a value as JSON under the key that the topic's function names", async () => {
    const { topic, sent } = setUp({ schema, key: (order) => order.id });
    const { offset } = await topic.producer().send({ id: "a", total: 2 }, { headers: { x: "y" } });
    assert.equal(offset, 0);
    assert.deepEqual(sent[0]?.value, '{"id":"a","total":2}');
    assert.equal(sent[0]?.key, "a");
    assert.deepEqual(sent[0]?.headers, { x: "y" });
  });

  it("refuses a value that does not match, naming every issue, and sends nothing", async () => {
    const { topic, sent } = setUp({ schema });
    await assert.rejects(topic.producer().send(bad), (error) => {
      assert.ok(StreamHouseError.is(error));
      assert.equal(error.code, "SCHEMA_MISMATCH");
      assert.match(error.message, /orders.*id: must be text; total: must be a number/);
      return true;
    });
    await assert.rejects(topic.producer().sendBatch([{ id: "a", total: 1 }, bad]), {
      code: "SCHEMA_MISMATCH",
    });
    assert.equal(sent.length, 0);
  });

  it("refuses a value that has no JSON form", async () => {
    const { topic } = setUp({});
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    await assert.rejects(topic.producer().send(circular as unknown as Order), {
      code: "SCHEMA_MISMATCH",
    });
    await assert.rejects(topic.producer().send((() => 1) as unknown as Order), /no JSON form/);
  });

  it("hands values over in the order of the calls although the schema takes its time", async () => {
    const { topic, sent } = setUp({ schema: slowSchema });
    const producer = topic.producer();
    const sends = Array.from({ length: 40 }, (_, total) =>
      total === 17
        ? assert.rejects(producer.send({ total } as unknown as Order), { code: "SCHEMA_MISMATCH" })
        : producer.send({ id: "a", total }),
    );
    await producer.close();
    const expected = Array.from({ length: 40 }, (_, total) => total).filter((it) => it !== 17);
    assert.deepEqual(
      sent.map((record) => (JSON.parse(String(record.value)) as Order).total),
      expected,
    );
    await Promise.all(sends);
  });

  it("reads values back through the schema", async () => {
    const { topic } = setUp({ schema }, ['{"id":"a","total":2,"more":1}']);
    assert.deepEqual(await readAll(topic), [{ id: "a", total: 2 }]);
  });

  it("ends the reading at a record that does not match, naming where it is", async () => {
    for (const value of ['{"id":7}', "not JSON", null]) {
      const { topic } = setUp({ schema }, ['{"id":"a","total":2}', value]);
      await assert.rejects(readAll(topic), (error) => {
        assert.ok(StreamHouseError.is(error));
        assert.equal(error.code, "SCHEMA_MISMATCH");
        assert.match(error.message, /record orders\/0@1/);
        return true;
      });
    }
  });

  it("passes over records that do not match if it is told to, and says so", async () => {
    const incoming = ["not JSON", '{"id":"a","total":2}', "{}", '{"id":"b","total":3}'];
    const { topic, skipped } = setUp({ schema, onMismatch: "skip" }, incoming);
    assert.deepEqual(
      (await readAll(topic)).map((order) => order.id),
      ["a", "b"],
    );
    assert.equal(skipped.length, 2);
    assert.match(skipped[1] ?? "", /orders\/0@2/);
  });

  it("does not take a schema's own failure for a record that does not match", async () => {
    const broken = schemaOf(() => {
      throw new Error("the schema is broken");
    });
    const { topic } = setUp({ schema: broken, onMismatch: "skip" }, ["{}"]);
    await assert.rejects(readAll(topic), /the schema is broken/);
  });

  it("uses another serializer where one is given", async () => {
    const serializer = {
      encode: (value: unknown) => `${(value as Order).id}:${(value as Order).total}`,
      decode: (bytes: Uint8Array) => {
        const [id, total] = new TextDecoder().decode(bytes).split(":");
        return { id, total: Number(total) };
      },
    };
    const { topic, sent } = setUp({ schema, serializer }, ["z:9"]);
    await topic.producer().send({ id: "a", total: 1 });
    assert.equal(sent[0]?.value, "a:1");
    assert.deepEqual(await readAll(topic), [{ id: "z", total: 9 }]);
  });
});
