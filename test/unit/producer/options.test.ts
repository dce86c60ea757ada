import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { type ProducerOptions, resolveProducerOptions } from "../../../src/producer/options.ts";

function refusal(options: ProducerOptions): StreamHouseError {
  try {
    resolveProducerOptions(options);
  } catch (error) {
    assert.ok(StreamHouseError.is(error));
    assert.equal(error.code, "INVALID_ARGUMENT");
    return error;
  }
  throw new Error("it was accepted");
}

describe("resolveProducerOptions", () => {
  it("fills in the documented defaults", () => {
    assert.deepEqual(
      { ...resolveProducerOptions() },
      {
        acks: "durable",
        idempotent: true,
        batchBytes: 1_048_576,
        lingerMs: 5,
        inFlight: 5,
        bufferBytes: 33_554_432,
        deliveryTimeoutMs: 120_000,
        requestTimeoutMs: 30_000,
        retryBackoffMs: 100,
        retryBackoffMaxMs: 1_000,
        compression: "none",
        partitioner: undefined,
      },
    );
  });

  it("keeps zero where zero means something, and freezes the result", () => {
    const resolved = resolveProducerOptions({ lingerMs: 0 });
    assert.equal(resolved.lingerMs, 0);
    assert.ok(Object.isFrozen(resolved));
  });

  it("turns idempotence off by default where acks are not durable, and refuses it when asked for", () => {
    assert.equal(resolveProducerOptions({ acks: "buffered" }).idempotent, false);
    assert.equal(resolveProducerOptions({ acks: "none" }).idempotent, false);
    const error = refusal({ acks: "buffered", idempotent: true });
    assert.match(error.message, /needs acks: "durable", but acks is "buffered"/);
    assert.equal(error.field, "idempotent");
  });

  it("names the option, the value and what is allowed", () => {
    const cases: [ProducerOptions, RegExp][] = [
      [{ batchBytes: 0 }, /batchBytes is 0: use a whole number from 1 to 1114112/],
      [{ lingerMs: -1 }, /lingerMs is -1/],
      [{ lingerMs: 1.5 }, /lingerMs is 1\.5/],
      [{ inFlight: 6 }, /inFlight is 6: use a whole number from 1 to 5/],
      [{ bufferBytes: Number.NaN }, /bufferBytes is NaN/],
      [{ deliveryTimeoutMs: 2 ** 31 }, /deliveryTimeoutMs is 2147483648/],
      [{ acks: "all" as "durable" }, /acks is "all": use "durable", "buffered", "none"/],
      [{ compression: "lz4" as "gzip" }, /compression is "lz4": use "none", "gzip", "zstd"/],
      [{ partitioner: 3 as never }, /partitioner is 3: use a function/],
      [{ retryBackoffMs: 500, retryBackoffMaxMs: 400 }, /retryBackoffMaxMs is 400: .* from 500/],
    ];
    for (const [options, message] of cases) assert.match(refusal(options).message, message);
  });
});
