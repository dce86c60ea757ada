/** The trace context in record headers: what is written, what is left alone, and what hostile bytes do (nothing). */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { context, propagation, ROOT_CONTEXT, SpanKind } from "@opentelemetry/api";
import type { ConsumerRecord, HeadersInput } from "../../../src/core/record.ts";
import type { TelemetryOptions } from "../../../src/telemetry/telemetry.ts";
import { idOf, linkedIds, openTraced, parentOf, type Traced, traceOf } from "./harness.ts";

const OWN = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;

async function sendAndRead(
  traced: Traced,
  topic: string,
  headers: HeadersInput | undefined,
): Promise<ConsumerRecord> {
  const producer = traced.house.producer({ lingerMs: 0 });
  const record = headers === undefined ? { topic, value: "x" } : { topic, value: "x", headers };
  await producer.send(record);
  await producer.close();
  const consumer = traced.house.consumer({ assign: [{ topic, partition: 0 }] });
  const records: ConsumerRecord[] = [];
  while (records.length === 0) records.push(...(await consumer.poll(10_000)));
  await consumer.close();
  return records.at(-1) as ConsumerRecord;
}

const named = (record: ConsumerRecord) => record.headers.map(([name]) => name);

describe("a record's headers", () => {
  let traced: Traced;
  let topics = 0;

  before(async () => {
    traced = await openTraced(Array.from({ length: 12 }, (_, i) => `t${i}`));
  });
  after(() => traced.close());

  const sent = (headers?: HeadersInput) => {
    const topic = `t${topics++}`;
    return traced
      .under("handler", () => sendAndRead(traced, topic, headers))
      .then((record) => ({ record, send: traced.book.one(`send ${topic}`) }));
  };

  it("carry the context of its send", async () => {
    const { record, send } = await sent({ source: "web" });
    assert.deepEqual(named(record), ["source", "traceparent"]);
    assert.equal(record.header("traceparent"), `00-${traceOf(send)}-${idOf(send)}-01`);
    assert.equal(send.kind, SpanKind.PRODUCER);
  });

  it("are left alone where the user brought a context, whose link the send then has", async () => {
    const { record, send } = await sent({ traceparent: OWN, tracestate: "a=1" });
    assert.equal(record.header("traceparent"), OWN);
    assert.equal(record.header("tracestate"), "a=1");
    assert.equal(record.headers.length, 2);
    assert.equal(send.kind, SpanKind.CLIENT, "its context is not the creation context");
    assert.deepEqual(linkedIds(send), ["b".repeat(16)]);
  });

  it("are left alone whatever case the user wrote, and a consumer reads them in any case", async () => {
    const { record } = await sent({ TraceParent: OWN });
    assert.deepEqual(named(record), ["TraceParent"]);
    const consumer = traced.house.consumer({ assign: [{ topic: record.topic, partition: 0 }] });
    await consumer.process(record, () => {});
    await consumer.close();
    const process = traced.book.one(`process ${record.topic}`);
    assert.deepEqual(linkedIds(process), ["b".repeat(16)]);
    assert.equal(parentOf(process), "b".repeat(16));
  });

  it("get no traceparent beside a tracestate of the user's: the two belong together", async () => {
    const { record } = await sent({ tracestate: "vendor=1" });
    assert.deepEqual(named(record), ["tracestate"]);
    assert.equal(record.header("tracestate"), "vendor=1");
  });

  it("get the trace's context beside baggage of the user's, which is left alone", async () => {
    const bag = propagation.createBaggage({ tenant: { value: "ours" } });
    const topic = `t${topics++}`;
    const record = await traced.under("handler", () =>
      context.with(propagation.setBaggage(context.active(), bag), () =>
        sendAndRead(traced, topic, { baggage: "tenant=mine" }),
      ),
    );
    assert.deepEqual(named(record), ["baggage", "traceparent"]);
    assert.equal(record.header("baggage"), "tenant=mine");
  });

  it("carry the application's baggage to the handler of a consumer", async () => {
    const bag = propagation.createBaggage({ tenant: { value: "blue" } });
    const topic = `t${topics++}`;
    const record = await traced.under("handler", () =>
      context.with(propagation.setBaggage(context.active(), bag), () =>
        sendAndRead(traced, topic, undefined),
      ),
    );
    const consumer = traced.house.consumer({ assign: [{ topic, partition: 0 }] });
    const tenant = await context.with(ROOT_CONTEXT, () =>
      consumer.process(record, () => propagation.getActiveBaggage()?.getEntry("tenant")?.value),
    );
    await consumer.close();
    assert.equal(tenant, "blue");
  });

  it("with hostile bytes give no context, and fail nothing", async () => {
    const bytes = (...values: number[]) => new Uint8Array(values);
    const hostile: [string, Uint8Array | string | null][][] = [
      [["traceparent", bytes(0xff, 0xfe, 0x80, 0x00)]],
      [["traceparent", "0".repeat(1_000_000)]],
      [["traceparent", null]],
      [["traceparent", ""]],
      [
        ["traceparent", OWN],
        ["traceparent", OWN.replace("a", "9")],
      ],
      [["traceparent", OWN.replace("00-", "ff-")]],
      [["traceparent", `${OWN}-extra`]],
      [["traceparent", `00-${"0".repeat(32)}-${"b".repeat(16)}-01`]],
      [["traceparent", `00-${"a".repeat(32)}-${"0".repeat(16)}-01`]],
      [["traceparent", OWN.toUpperCase()]],
      [["baggage", bytes(0xff)]],
      [["tracestate", "a=1"]],
      [["__proto__", OWN]],
    ];
    const topic = `t${topics++}`;
    const producer = traced.house.producer();
    await producer.sendBatch({
      topic,
      records: hostile.map((headers) => ({ value: "x", headers })),
    });
    const consumer = traced.house.consumer({ assign: [{ topic, partition: 0 }] });
    const records: ConsumerRecord[] = [];
    // A megabyte more than a batch takes.
    while (records.length < hostile.length) records.push(...(await consumer.poll(10_000)));
    for (const record of records) await consumer.process(record, () => {});
    await consumer.process(records, () => {});
    const spans = traced.book.named(`process ${topic}`);
    assert.equal(spans.length, hostile.length + 1);
    spans.forEach((it, i) => {
      assert.deepEqual([it.links, parentOf(it)], [[], undefined], `header ${i}`);
    });
    await consumer.close();
    await producer.close();
  });

  it("of a later version of the specification are read as far as they are known", async () => {
    const topic = `t${topics++}`;
    const record = await context.with(ROOT_CONTEXT, () =>
      sendAndRead(traced, topic, { traceparent: `01${OWN.slice(2)}-more` }),
    );
    const consumer = traced.house.consumer({ assign: [{ topic, partition: 0 }] });
    await consumer.process(record, () => {});
    await consumer.close();
    assert.deepEqual(linkedIds(traced.book.one(`process ${topic}`)), ["b".repeat(16)]);
  });
});

describe("propagation", () => {
  const modes: readonly (readonly [TelemetryOptions["propagation"], boolean, boolean])[] = [
    ["always", true, true],
    ["sampled", true, false],
    ["off", false, false],
  ];

  for (const [propagationMode, sampled, unsampled] of modes) {
    it(`"${propagationMode}" writes ${sampled ? "" : "no "}sampled and ${unsampled ? "" : "no "}unsampled contexts`, async () => {
      const options = propagationMode === undefined ? {} : { propagation: propagationMode };
      const traced = await openTraced(["s", "u", "n"], options);
      try {
        const first = await traced.under("handler", () => sendAndRead(traced, "s", undefined));
        const second = await traced.underUnsampled(() => sendAndRead(traced, "u", undefined));
        const third = await context.with(ROOT_CONTEXT, () => sendAndRead(traced, "n", undefined));
        const has = (record: ConsumerRecord) => record.header("traceparent") !== undefined;
        assert.deepEqual([has(first), has(second), has(third)], [sampled, unsampled, false]);
        if (unsampled) {
          assert.equal(second.header("traceparent"), `00-${"c".repeat(32)}-${"d".repeat(16)}-00`);
        }
      } finally {
        await traced.close();
      }
    });
  }
});
