import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { HistogramCell } from "../../../src/telemetry/cells.ts";
import { replayedSamplesMax, replaySamples } from "../../../src/telemetry/replay.ts";

const bounds = [0.001, 0.01, 0.1, 1, 10];

function repeat(cell: HistogramCell): HistogramCell {
  const copy = new HistogramCell(bounds);
  assert.equal(
    replaySamples(cell, (sample) => copy.record(sample)),
    true,
  );
  return copy;
}

describe("repeating a histogram's samples", () => {
  it("keeps count, every bucket, and the sum", () => {
    const sample = fc.double({ min: 0, max: 100, noNaN: true });
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 200 }), (samples) => {
        const cell = new HistogramCell(bounds);
        for (const one of samples) cell.record(one);
        const copy = repeat(cell);
        assert.deepEqual([...copy.counts], [...cell.counts]);
        assert.ok(Math.abs(copy.sum - cell.sum) <= 1e-6 * Math.max(1, cell.sum));
      }),
    );
  });

  it("repeats nothing of what is too long to repeat", () => {
    const cell = new HistogramCell(bounds);
    for (let i = 0; i <= replayedSamplesMax; i++) cell.record(1);
    assert.equal(
      replaySamples(cell, () => assert.fail("recorded")),
      false,
    );
  });
});
