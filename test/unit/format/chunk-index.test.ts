import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { type ChunkIndexEntry, decodeIndex, encodeIndex } from "../../../src/format/chunk-index.ts";
import { NOW, TOPIC_A, TOPIC_B } from "./samples.ts";

const large = fc.nat(2 ** 31 - 1).map((n) => n * 1_000_000);
const entry: fc.Arbitrary<ChunkIndexEntry> = fc
  .record({
    topicId: fc.oneof(fc.constantFrom(TOPIC_A, TOPIC_B), fc.uuid()),
    partition: fc.nat(9_999),
    epoch: fc.nat(),
    position: fc.nat(),
    length: fc.nat(),
    baseOffset: fc.oneof(fc.nat(), large, fc.constant(Number.MAX_SAFE_INTEGER)),
    recordCount: fc.integer({ min: 1, max: 1_000_000 }),
    minTimestamp: fc.nat(2 ** 31 - 1),
    span: fc.nat(),
    appendTimeMs: fc.nat(1_000).map((ms) => NOW + ms),
  })
  .map(({ span, ...rest }) => ({ ...rest, maxTimestamp: rest.minTimestamp + span }));

/** A flush of one topic as an agent makes it, `count` partitions of 8 KiB each. */
function flushOf(count: number): ChunkIndexEntry[] {
  return Array.from({ length: count }, (_, partition) => ({
    topicId: TOPIC_A,
    partition,
    epoch: 12,
    position: 900 + partition * 8_192,
    length: 8_192,
    baseOffset: 1_000_000_000 + partition,
    recordCount: 73,
    minTimestamp: NOW - 30,
    maxTimestamp: NOW - 1,
    appendTimeMs: NOW,
  }));
}

describe("chunk index", () => {
  it("gives back every list of entries in its order", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 30 }), (entries) => {
        assert.deepEqual(decodeIndex(encodeIndex(entries)), entries);
      }),
    );
  });

  it("takes less than 24 bytes a partition of an ordinary flush", () => {
    const blob = encodeIndex(flushOf(1_000));
    assert.ok(blob.length < 24_000, `${blob.length} bytes for 1,000 partitions`);
  });

  it("refuses topic ids that are not UUIDs", () => {
    const [one] = flushOf(1);
    assert.throws(() => encodeIndex([{ ...(one as ChunkIndexEntry), topicId: "orders" }]), {
      code: "INVALID_ARGUMENT",
      message: /"orders" is not a UUID/,
    });
  });

  it("refuses a blob cut off anywhere, with bytes behind it, or of another version", () => {
    const blob = encodeIndex(flushOf(3));
    for (let cut = 0; cut < blob.length; cut++) {
      assert.throws(() => decodeIndex(blob.subarray(0, cut)), { code: "CORRUPT_SEGMENT" });
    }
    assert.throws(() => decodeIndex(new Uint8Array([...blob, 0])), { message: /1 bytes follow/ });
    blob[0] = 9;
    assert.throws(() => decodeIndex(blob), { message: /version 9/ });
  });

  it("answers any bytes with entries or a StreamHouseError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        const bytes = Uint8Array.of(1, ...noise);
        try {
          decodeIndex(bytes);
        } catch (error) {
          assert.ok(StreamHouseError.is(error) && error.code === "CORRUPT_SEGMENT", String(error));
        }
      }),
      { numRuns: 1_000 },
    );
  });
});
