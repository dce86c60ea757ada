import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CounterCell, GaugeCell, HistogramCell, UpDownCell } from "../../../src/telemetry/cells.ts";

describe("cells", () => {
  it("count up, both ways, and hold the latest", () => {
    const counter = new CounterCell();
    counter.add(2);
    counter.add(3);
    const upDown = new UpDownCell();
    upDown.add(2);
    upDown.add(-3);
    const gauge = new GaugeCell();
    gauge.set(7);
    gauge.set(4);
    assert.deepEqual([counter.value, upDown.value, gauge.value], [5, -1, 4]);
  });

  it("put every sample into the bucket whose upper bound is the first not below it", () => {
    const bounds = [0.5, 1, 10];
    const sample = fc.oneof(
      fc.double({ noNaN: true, min: -5, max: 50 }),
      fc.constantFrom(...bounds),
    );
    fc.assert(
      fc.property(fc.array(sample), (samples) => {
        const cell = new HistogramCell(bounds);
        for (const one of samples) cell.record(one);
        const expected = [0, 0, 0, 0];
        for (const one of samples) {
          const found = bounds.findIndex((bound) => one <= bound);
          const bucket = found === -1 ? 3 : found;
          expected[bucket] = (expected[bucket] ?? 0) + 1;
        }
        assert.deepEqual([...cell.counts], expected);
        assert.equal(cell.count, samples.length);
        assert.equal(
          cell.sum,
          samples.reduce((sum, one) => sum + one, 0),
        );
      }),
    );
  });

  it("forward every sample when somebody listens", () => {
    const cell = new HistogramCell([1]);
    const seen: number[] = [];
    cell.record(1);
    cell.forward = (sample) => seen.push(sample);
    cell.record(2);
    cell.record(3);
    assert.deepEqual(seen, [2, 3]);
    assert.equal(cell.count, 3);
  });
});
