import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type RunOptions,
  type RunOrder,
  resolveRunOptions,
} from "../../../src/consumer/run-options.ts";
import { RetryLater } from "../../../src/consumer/run-retry-later.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";

function fieldRefused(options: RunOptions): string | undefined {
  try {
    resolveRunOptions(options, ["orders"]);
  } catch (error) {
    assert.ok(StreamHouseError.is(error));
    assert.equal(error.kind, "invalid");
    return error.field;
  }
  return undefined;
}

describe("the options of a run", () => {
  it("have defaults, and are frozen", () => {
    const resolved = resolveRunOptions({}, ["orders"]);
    const { when: _, ...rest } = resolved;
    assert.deepEqual(rest, {
      ...{ concurrency: 10, orderBy: "key", attempts: 5, baseMs: 200, maxMs: 30_000 },
      ...{ laterMax: 1_000, deadLetterTopic: undefined, handlerTimeoutMs: undefined },
      ...{ bufferRecords: 10_000, bufferBytes: 33_554_432, aheadRecords: 100_000 },
      signal: undefined,
    });
    assert.ok(Object.isFrozen(resolved));
  });

  it("are refused by name when they are out of range or do not fit each other", () => {
    const wrong: readonly (readonly [string, RunOptions])[] = [
      ["concurrency", { concurrency: 0 }],
      ["concurrency", { concurrency: 1.5 }],
      ["orderBy", { orderBy: "keys" as RunOrder }],
      ["retry.attempts", { retry: { attempts: 0 } }],
      ["retry.baseMs", { retry: { baseMs: -1 } }],
      ["retry.maxMs", { retry: { baseMs: 100, maxMs: 50 } }],
      ["retry.laterMax", { retry: { laterMax: Number.NaN } }],
      ["handlerTimeoutMs", { handlerTimeoutMs: 0 }],
      ["bufferRecords", { concurrency: 20, bufferRecords: 10 }],
      ["bufferBytes", { bufferBytes: 0 }],
      ["aheadRecords", { aheadRecords: 0 }],
      ["deadLetterTopic", { deadLetterTopic: "orders" }],
    ];
    for (const [field, options] of wrong) assert.equal(fieldRefused(options), field);
    assert.equal(fieldRefused({ concurrency: 10_000 }), undefined);
  });
});

describe("RetryLater", () => {
  it("takes a delay of up to an hour, and is known across copies of the package", () => {
    assert.equal(new RetryLater(0).delayMs, 0);
    assert.equal(new RetryLater(3_600_000, "why").message, "why");
    for (const delay of [-1, 3_600_001, Number.NaN]) {
      assert.throws(() => new RetryLater(delay), { code: "INVALID_ARGUMENT", field: "delayMs" });
    }
    assert.ok(RetryLater.is(new RetryLater(1)));
    assert.ok(RetryLater.is({ [Symbol.for("@streamhouse/streamhouse/retry-later")]: true }));
    assert.ok(!RetryLater.is(new Error("later")));
    assert.ok(!RetryLater.is(undefined));
  });
});
