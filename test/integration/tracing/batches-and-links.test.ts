/** How batches belong to the traces of their records, on the producer's side, in the agent and at the consumer. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { context, trace } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";
import type { ConsumerRecord } from "../../../src/core/record.ts";
import type { Producer } from "../../../src/producer/producer.ts";
import { idOf, linkedIds, openTraced, parentOf, type Traced, traceOf } from "./harness.ts";

describe("the spans of batches", () => {
  let traced: Traced;
  /** Lingers until it is flushed, so that a test decides what a batch is. */
  let producer: Producer;

  before(async () => {
    traced = await openTraced({
      t: 1,
      one: 1,
      mixed: 1,
      many: 1,
      bulk: 1,
      large: 1,
      read: 1,
      shared: 1,
    });
    producer = traced.house.producer({ lingerMs: 60_000 });
  });
  after(() => traced.close());

  const send = (topic: string, name: string) =>
    traced.under(name, async () => void producer.send({ topic, value: name }));

  async function request(topic: string): Promise<ReadableSpan> {
    await producer.flush();
    const found = traced.book
      .named("send_batch_to_agent")
      .filter((it) => it.attributes.topic === topic);
    assert.equal(found.length, 1);
    return found[0] as ReadableSpan;
  }

  it("belong to the trace that all their records come from, with links to the other sends", async () => {
    await traced.under("handler", async () => {
      for (const value of ["a", "b", "c"]) void producer.send({ topic: "one", value });
    });
    const batch = await request("one");
    const sends = traced.book.named("send one");
    assert.equal(sends.length, 3);
    assert.equal(traceOf(batch), traceOf(traced.book.one("handler")));
    assert.equal(parentOf(batch), idOf(sends[0] as ReadableSpan));
    assert.deepEqual(linkedIds(batch), sends.slice(1).map(idOf));
    assert.equal(batch.attributes.record_count, 3);
    const flush = traced.book.named("flush").find((it) => traceOf(it) === traceOf(batch));
    assert.ok(flush, "the agent's flush is in the same trace");
  });

  it("of several traces have no parent, and a link to every sampled send", async () => {
    await send("mixed", "first");
    await send("mixed", "second");
    await traced.underUnsampled(async () => void producer.send({ topic: "mixed", value: "third" }));
    void producer.send({ topic: "mixed", value: "fourth" });
    const batch = await request("mixed");
    assert.equal(parentOf(batch), undefined);
    assert.deepEqual(linkedIds(batch), traced.book.named("send mixed").map(idOf));
    assert.equal(batch.links.length, 2);
    assert.equal(batch.attributes.links_dropped, undefined);
  });

  it("have at most 128 links, and count the rest", async () => {
    for (let i = 0; i < 131; i++) await send("many", `request ${i}`);
    const batch = await request("many");
    assert.equal(batch.links.length, 128);
    assert.equal(batch.attributes.links_dropped, 3);
    assert.equal(batch.attributes.record_count, 131);
  });

  it("of a sendBatch are its send, linked to a create span for each record, whose contexts the records carry", async () => {
    await traced.under("import", async () => {
      void producer.sendBatch({ topic: "bulk", records: [{ value: "ä" }, { value: null }] });
    });
    await producer.flush();
    const application = traced.book.one("import");
    const created = traced.book.named("create bulk");
    const sent = traced.book.one("send bulk");
    assert.deepEqual(created.map(parentOf), [idOf(application), idOf(application)]);
    assert.deepEqual(
      created.map((it) => it.attributes.value_len),
      [2, 0],
      "bytes of UTF-8",
    );
    assert.equal(parentOf(sent), idOf(application));
    assert.deepEqual(linkedIds(sent), created.map(idOf));
    assert.equal(parentOf(await request("bulk")), idOf(sent));
    const records = await read("bulk", 2);
    assert.deepEqual(
      records.map((it) => it.header("traceparent")?.slice(36, 52)),
      created.map(idOf),
    );
  });

  it("of a large sendBatch are one send, whose context all records carry", async () => {
    await traced.under("import all", async () => {
      const records = Array.from({ length: 200 }, (_, i) => ({ value: `${i}` }));
      void producer.sendBatch({ topic: "large", records });
    });
    await producer.flush();
    const sent = traced.book.one("send large");
    assert.equal(traced.book.named("create large").length, 0);
    assert.equal(sent.attributes["messaging.batch.message_count"], 200);
    const records = await read("large", 200);
    const carried = new Set(records.map((it) => it.header("traceparent")?.slice(36, 52)));
    assert.deepEqual([...carried], [idOf(sent)]);
  });

  async function read(topic: string, count: number): Promise<ConsumerRecord[]> {
    const consumer = traced.house.consumer({ assign: [{ topic, partition: 0 }] });
    const records: ConsumerRecord[] = [];
    while (records.length < count) records.push(...(await consumer.poll(10_000)));
    await consumer.close();
    return records;
  }

  it("that a consumer receives and processes are linked to what created their records", async () => {
    for (const name of ["x", "y"]) await send("read", name);
    void producer.send({ topic: "read", value: "untraced" });
    await producer.flush();
    const created = traced.book.named("send read").map(idOf);
    const consumer = traced.house.consumer({ assign: [{ topic: "read", partition: 0 }] });
    const records = await consumer.poll(10_000);
    assert.equal(records.length, 3);
    await consumer.process(records, () => {});
    const inside = await traced.under("job", () =>
      consumer.process(records, () => trace.getSpanContext(context.active())),
    );
    const receive = traced.book.one("receive read");
    const [alone, under] = traced.book.named("process read");
    assert.ok(alone && under);
    for (const it of [receive, alone, under]) {
      assert.deepEqual(linkedIds(it), created, it.name);
      assert.equal(it.attributes["messaging.batch.message_count"], 3);
    }
    assert.equal(parentOf(alone), undefined, "its records come from different traces");
    assert.equal(parentOf(under), idOf(traced.book.one("job")));
    assert.equal(inside?.spanId, idOf(under), "the handler runs inside");
    await consumer.close();
  });

  it("whose records all have one creation context belong to its trace where nothing else is active", async () => {
    await traced.under("shared origin", async () => {
      const records = Array.from({ length: 129 }, (_, i) => ({ value: `${i}` }));
      void producer.sendBatch({ topic: "shared", records });
    });
    await producer.flush();
    const consumer = traced.house.consumer({ assign: [{ topic: "shared", partition: 0 }] });
    for await (const batch of consumer.batches()) {
      await consumer.process(batch, (it) => assert.equal(it.count, 129));
      break;
    }
    const process = traced.book.one("process shared");
    const sent = traced.book.one("send shared");
    assert.equal(parentOf(process), idOf(sent));
    assert.deepEqual(linkedIds(process), [idOf(sent)], "one link, although 129 records carry it");
    await consumer.close();
  });

  it("of an iteration are received a batch at a time", async () => {
    for (const value of ["1", "2"]) void producer.send({ topic: "t", value });
    await producer.flush();
    const consumer = traced.house.consumer({ assign: [{ topic: "t", partition: 0 }] });
    let seen = 0;
    await traced.under("loop", async () => {
      for await (const _ of consumer) if (++seen === 2) break;
    });
    const receive = traced.book.one("receive t");
    assert.equal(parentOf(receive), idOf(traced.book.one("loop")));
    assert.equal(receive.attributes.record_count, 2);
    await consumer.close();
  });
});
