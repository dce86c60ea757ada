import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  mergedSegmentKey,
  parseMergedSegmentKey,
  parseSegmentKey,
  segmentKey,
  segmentsPrefix,
} from "../../../src/format/keys.ts";
import { NOW, TOPIC_A } from "./samples.ts";

const RUN = "01J0ZZZZZZZZZZZZZZZZZZZZZZ";

describe("keys", () => {
  it("puts a flush segment under its day, with the sequence padded so that lists are in order", () => {
    const key = segmentKey("house", NOW, RUN, 42);
    assert.equal(key, `house/segments/2025-06-15/${RUN}-000000000042.seg`);
    assert.ok(segmentKey("house", NOW, RUN, 9) < segmentKey("house", NOW, RUN, 10));
    assert.equal(segmentKey("", NOW, RUN, 42), key.slice("house/".length));
    assert.equal(segmentKey("house/", NOW, RUN, 42), key);
    assert.ok(key.startsWith(segmentsPrefix("house")));
  });

  it("puts a chunk's second write beside the first, as the same flush", () => {
    const key = segmentKey("house", NOW, RUN, 42, 2);
    assert.equal(key, `house/segments/2025-06-15/${RUN}-000000000042-2.seg`);
    const parsed = { day: "2025-06-15", runId: RUN, flushSequence: 42, attempt: 2 };
    assert.deepEqual(parseSegmentKey("house", key), parsed);
    assert.equal(parseSegmentKey("house", key.replace("-2.seg", "-1.seg")), undefined);
  });

  it("puts a merged segment under its topic's id and partition", () => {
    const segment = { topicId: TOPIC_A, partition: 7, baseOffset: 5, endOffset: 105, ulid: RUN };
    assert.equal(
      mergedSegmentKey("p", segment),
      `p/topics/${TOPIC_A}/7/00000000000000000005-00000000000000000105-${RUN}.seg`,
    );
  });

  it("parses every key it builds", () => {
    const run = fc.stringMatching(/^[A-Za-z0-9_-]{1,40}$/);
    const prefix = fc.constantFrom("", "p", "a/b");
    const time = fc.integer({ min: 0, max: 4e12 });
    fc.assert(
      fc.property(prefix, time, run, fc.maxSafeNat(), (p, timeMs, runId, flushSequence) => {
        const day = new Date(timeMs).toISOString().slice(0, 10);
        const key = segmentKey(p, timeMs, runId, flushSequence);
        assert.deepEqual(parseSegmentKey(p, key), { day, runId, flushSequence });
      }),
    );
    fc.assert(
      fc.property(prefix, fc.nat(9_999), fc.maxSafeNat(), fc.maxSafeNat(), (p, partition, a, b) => {
        const segment = { topicId: TOPIC_A, partition, baseOffset: a, endOffset: b, ulid: RUN };
        assert.deepEqual(parseMergedSegmentKey(p, mergedSegmentKey(p, segment)), segment);
      }),
    );
  });

  it("does not take foreign keys for its own", () => {
    const key = segmentKey("p", NOW, RUN, 1);
    for (const other of [`q${key.slice(1)}`, `${key}.tmp`, key.replace("2025", "25"), "", "p/x"]) {
      assert.equal(parseSegmentKey("p", other), undefined, other);
      assert.equal(parseMergedSegmentKey("p", other), undefined, other);
    }
  });

  it("refuses a run id that would change the key's shape", () => {
    for (const runId of ["", "a/b", "../x", "a b", "x".repeat(129)]) {
      assert.throws(() => segmentKey("p", NOW, runId, 1), { code: "INVALID_ARGUMENT" });
    }
  });
});
