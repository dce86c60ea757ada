/**
 * Broke: records that are written without a trace were refused with one: of exactly the greatest size, or with as many headers as a record may
 * have. A record with headers of a wrong shape threw out of `send()`, or where it waited for its topic kept every send from settling.
 * Why: the headers of the trace were written into the record before it was measured, and the user's headers were read before they were checked.
 * Cure: a record that has no room for the trace's headers goes without them; headers of a wrong shape are left to the check that all records pass.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { context, propagation, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";
import { limits } from "../../src/core/limits.ts";
import type { ProducerRecord } from "../../src/core/record.ts";
import { RecordBatchBuilder } from "../../src/format/batch-builder.ts";
import type { Producer } from "../../src/producer/producer.ts";
import { type Ending, setUp, watch } from "../unit/producer/setup.ts";

const tracerProvider = new BasicTracerProvider();
const tracer = tracerProvider.getTracer("application");

/** As large as a record may be, with or without headers of its own. */
function largest(headers?: Record<string, string>): ProducerRecord {
  const room = (bytes: number) => {
    const builder = new RecordBatchBuilder({ compression: "none", bytesMax: 2_000_000 });
    const timestamp = 1_700_000_000_000;
    return builder.append({ value: new Uint8Array(bytes), headers, timestamp }) ?? 0;
  };
  const guess = limits.recordBytesMax - 200;
  return { value: new Uint8Array(guess + limits.recordBytesMax - room(guess)), headers };
}

const many = (count: number) =>
  Array.from({ length: count }, (_, i) => [`header-${i}`, "x"] as const);

const broken = (headers: unknown): ProducerRecord => ({ value: "x", headers: headers as never });

const records: Readonly<Record<string, ProducerRecord>> = {
  "of the greatest size": largest(),
  "of the greatest size with headers": largest({ own: "value" }),
  "that is too large": { value: new Uint8Array(limits.recordBytesMax) },
  "with all the headers there may be": { value: "x", headers: many(limits.headersPerRecordMax) },
  "with too many headers": { value: "x", headers: many(limits.headersPerRecordMax + 1) },
  "with headers that are null": broken(null),
  "with a header that is null": broken([null]),
  "with a header without a name": broken([[5, "x"]]),
  "with a header without a value": broken([["own"]]),
  "with a traceparent that is a number": broken({ traceparent: 5 }),
};

/** How it ended, in words that can be compared. */
function told(ending: Ending<unknown> | undefined): string {
  if (ending === undefined) return "never settled";
  if ("value" in ending) return "sent";
  const failed = (ending.error as { failed?: readonly { error: unknown }[] }).failed;
  return String(failed === undefined ? ending.error : failed.map(({ error }) => String(error)));
}

type Way = (producer: Producer, record: ProducerRecord) => Promise<unknown>;
const ways: Readonly<Record<string, Way>> = {
  "send()": (producer, record) => producer.send({ topic: "orders", ...record }),
  "sendBatch()": (producer, record) =>
    producer.sendBatch({ topic: "orders", records: [{ value: "before" }, record] }),
};

describe("a trace changes nothing about what becomes of a record", () => {
  before(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  });
  after(() => {
    context.disable();
    propagation.disable();
  });

  /** The same record twice, so that it waits for its topic once; and one behind it, which must not suffer. */
  async function outcome(way: Way, record: ProducerRecord, isTraced: boolean): Promise<string[]> {
    const { cluster, clock, producer } = setUp(
      {},
      { telemetry: isTraced ? { tracerProvider } : false },
    );
    cluster.addTopic("orders");
    const active = isTraced ? trace.setSpan(ROOT_CONTEXT, tracer.startSpan("x")) : ROOT_CONTEXT;
    const all: ReturnType<typeof watch>[] = [];
    for (let round = 0; round < 2; round++) {
      context.with(active, () => {
        for (const one of [record, { value: "behind it" }]) all.push(watch(way(producer, one)));
      });
      await clock.run(100);
    }
    return all.map(({ ending }) => told(ending));
  }

  for (const [wayName, way] of Object.entries(ways)) {
    for (const [name, record] of Object.entries(records)) {
      it(`${wayName} of a record ${name}`, async () => {
        const plain = await outcome(way, record, false);
        assert.deepEqual(await outcome(way, record, true), plain);
        assert.equal(plain[1], "sent");
      });
    }
  }

  it("is true of the greatest record: it is sent", async () => {
    for (const name of ["of the greatest size", "with all the headers there may be"]) {
      const record = records[name] as ProducerRecord;
      for (const way of Object.values(ways)) {
        assert.equal((await outcome(way, record, true))[0], "sent", name);
      }
    }
  });
});
