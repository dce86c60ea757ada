/**
 * Broke: `consumer.process()` did not answer what the handler did. An error with a name that is no text was lost behind a TypeError of the
 * measuring; a record that was made by hand without headers, as tests make them, was never given to the handler.
 * Why: the span and the duration were made from the record and the error without a guard, in the way of the handler and of its answer.
 * Cure: what cannot be read is not measured; the handler runs, and its answer is the answer.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { context } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";
import { ConsumerRecord } from "../../src/core/record.ts";
import type { Processable } from "../../src/index.ts";
import type { TelemetryOptions } from "../../src/telemetry/telemetry.ts";
import { setUp } from "../unit/consumer/setup.ts";

const record = new ConsumerRecord("t", 0, 0, 0, 0, null, null, []);
const byHand = { topic: "t", partition: 0, offset: 0, value: null } as unknown as ConsumerRecord;

class Nameless extends Error {
  override readonly name = Symbol("no text") as never;
}

class Unreadable extends Error {
  override get name(): never {
    throw new TypeError("nobody may read this");
  }
}

const thrown: readonly unknown[] = [new Nameless(), new Unreadable(), undefined, null, "text", 5];
const works: Readonly<Record<string, Processable>> = {
  "a record": record,
  "a record without headers": byHand,
  "records without headers": [byHand, byHand],
  "a batch without headers": { records: [byHand] },
  "no records": [],
};
const ways: Readonly<Record<string, TelemetryOptions | false>> = {
  "without telemetry": false,
  "without a tracer": {},
  "with a tracer": { tracerProvider: new BasicTracerProvider() },
};

describe("process()", () => {
  before(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  });
  after(() => {
    context.disable();
  });

  for (const [way, telemetry] of Object.entries(ways)) {
    it(`runs the handler and answers what it does, ${way}`, async () => {
      const { open, until } = setUp(telemetry);
      const consumer = open();
      for (const [what, work] of Object.entries(works)) {
        const given = await consumer.process(work, (it) => [it, "answer"]);
        assert.deepEqual(given, [work, "answer"], what);
        assert.equal(given[0], work, what);
        for (const error of thrown) {
          const failing = consumer.process(work, () => Promise.reject(error));
          const caught = await failing.then(
            () => "it succeeded",
            (it: unknown) => [it],
          );
          assert.ok(Array.isArray(caught) && Object.is(caught[0], error), what);
        }
      }
      await until(consumer.close());
    });
  }
});
