import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { placesText } from "../../../src/cli/group.ts";
import {
  parseResetPosition,
  type ResetPartition,
  type ResetPosition,
  resetStep,
} from "../../../src/cli/reset-position.ts";

const now = Date.parse("2026-03-10T12:00:00Z");
const at = (text: string) => parseResetPosition(text, now);
const time = (text: string): ResetPosition => ({ kind: "time", timeMs: Date.parse(text) });

describe("where a group can be reset to", () => {
  it("reads ends, offsets, shifts, times and durations ago", () => {
    assert.deepEqual(at("earliest"), { kind: "earliest" });
    assert.deepEqual(at("latest"), { kind: "latest" });
    assert.deepEqual(at("0"), { kind: "offset", offset: 0 });
    assert.deepEqual(at("42"), { kind: "offset", offset: 42 });
    assert.deepEqual(at("+5"), { kind: "shift", records: 5 });
    assert.deepEqual(at("-5"), { kind: "shift", records: -5 });
    assert.deepEqual(at("2026-01-31T08:00:00Z"), time("2026-01-31T08:00:00Z"));
    assert.deepEqual(at("2026-01-31T08:00+02:00"), time("2026-01-31T06:00:00Z"));
    assert.deepEqual(at("PT1H30M"), time("2026-03-10T10:30:00Z"));
    assert.deepEqual(at("P2D"), time("2026-03-08T12:00:00Z"));
    assert.deepEqual(at("P1WT5S"), time("2026-03-03T11:59:55Z"));
    assert.deepEqual(at("P999999W"), { kind: "time", timeMs: 0 }, "no time before 1970");
  });

  for (const text of [
    ...["", "never", "1.5", "--5", "99999999999999999", "P", "PT", "P1M", "1h"],
    ...["2026-01-31", "2026-01-31T08:00:00", "2026-13-31T08:00:00Z", "1969-01-01T00:00:00Z"],
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.equal(at(text), undefined);
    });
  }

  const partition: ResetPartition = {
    ...{ topic: "t", partition: 3, committed: 50, earliest: 10, latest: 90 },
  };
  const found = (position: ResetPosition, more: Partial<ResetPartition> = {}) => {
    const step = resetStep(position, { ...partition, ...more });
    return step && [step.offset, step.clamped];
  };

  it("finds the offset in a partition, and goes no further than its log", () => {
    assert.deepEqual(found({ kind: "earliest" }), [10, false]);
    assert.deepEqual(found({ kind: "latest" }), [90, false]);
    assert.deepEqual(found({ kind: "offset", offset: 20 }), [20, false]);
    assert.deepEqual(found({ kind: "offset", offset: 9 }), [10, true]);
    assert.deepEqual(found({ kind: "offset", offset: 91 }), [90, true]);
    assert.deepEqual(found({ kind: "shift", records: 5 }), [55, false]);
    assert.deepEqual(found({ kind: "shift", records: -41 }), [10, true]);
    assert.deepEqual(found({ kind: "shift", records: 41 }), [90, true]);
    assert.deepEqual(found({ kind: "time", timeMs: 1 }, { atTime: 33 }), [33, false]);
  });

  it("has nothing to shift from where nothing is committed", () => {
    assert.equal(found({ kind: "shift", records: 1 }, { committed: undefined }), undefined);
  });
});

describe("the partitions of a member in a table", () => {
  it("are by topic, with runs of numbers drawn together", () => {
    const of = (topic: string, ...partitions: number[]) =>
      partitions.map((partition) => ({ topicId: topic, topic, partition }));
    assert.equal(placesText([]), "-");
    assert.equal(placesText(of("orders", 10, 2, 0, 1, 9)), "orders/0-2,9-10");
    assert.equal(placesText([...of("orders", 5), ...of("mails", 0)]), "mails/0 orders/5");
  });
});
