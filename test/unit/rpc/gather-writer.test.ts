import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { GatherWriter } from "../../../src/rpc/gather-writer.ts";
import { FetchResponse } from "../../../src/rpc/gen/streamhouse/v1/consumer.ts";
import { ProduceStreamRequest } from "../../../src/rpc/gen/streamhouse/v1/producer.ts";

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.integer({ min: 500, max: 20_000 }).map((n) => new Uint8Array(n).fill(n & 255)),
);
const batch = fc.record({
  topic: fc.string({ maxLength: 200 }),
  topicId: fc.string({ maxLength: 36 }),
  partition: fc.integer({ min: -1, max: 100_000 }),
  records: bytes,
});
const frame = fc.record({
  correlationId: fc.nat(),
  request: fc.option(
    fc.record({ acks: fc.constantFrom(0, 1), batches: fc.array(batch), timeoutMs: fc.nat() }),
    { nil: undefined },
  ),
  traceparent: fc.string(),
  tracestate: fc.string(),
});
const fetched = fc.record({
  partitions: fc.array(
    fc.record({
      topicId: fc.string(),
      partition: fc.nat(),
      highWatermark: fc.maxSafeNat(),
      logStartOffset: fc.maxSafeNat(),
      batches: fc.array(fc.record({ records: bytes, appendTimeMs: fc.maxSafeNat() })),
      error: fc.constantFrom(undefined),
      holderAddress: fc.string(),
    }),
  ),
});

describe("the gather writer", () => {
  it("writes what the stock writer writes", () => {
    fc.assert(
      fc.property(frame, (message) => {
        const writer = new GatherWriter();
        ProduceStreamRequest.encode(message as ProduceStreamRequest, writer);
        const expected = ProduceStreamRequest.encode(message as ProduceStreamRequest).finish();
        assert.equal(writer.size(), expected.length);
        assert.deepEqual(writer.finish(), expected);
      }),
    );
    fc.assert(
      fc.property(fetched, (message) => {
        const mine = FetchResponse.encode(message, new GatherWriter()).finish();
        assert.deepEqual(mine, FetchResponse.encode(message).finish());
      }),
    );
  });

  it("answers memory of its own, exactly as large, and takes no copy before", () => {
    const records = new Uint8Array(100_000);
    const message = ProduceStreamRequest.fromPartial({ correlationId: 1 });
    message.request = {
      acks: 1,
      batches: [{ topic: "t", topicId: "", partition: 0, records }],
      timeoutMs: 0,
    };
    const writer = new GatherWriter();
    ProduceStreamRequest.encode(message, writer);
    records.fill(7);
    const whole = writer.finish();
    assert.equal(whole.byteLength, whole.buffer.byteLength);
    assert.equal(ProduceStreamRequest.decode(whole).request?.batches[0]?.records[50_000], 7);
    assert.equal(writer.finish().length, 0);
  });
});
