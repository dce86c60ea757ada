import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { HistogramCell } from "../../../src/telemetry/cells.ts";
import { Replay, replayedSamplesMax, waitingSamplesMax } from "../../../src/telemetry/replay.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";

const bounds = [0.001, 0.01, 0.1, 1, 10];

function repeat(cell: HistogramCell): HistogramCell {
  const copy = new HistogramCell(bounds);
  const replay = new Replay(new ManualClock());
  assert.equal(
    replay.add(cell, (sample) => copy.record(sample)),
    true,
  );
  replay.run();
  return copy;
}

function filled(samples: number): HistogramCell {
  const cell = new HistogramCell(bounds);
  cell.recordMany(0.5, samples);
  return cell;
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
    const replay = new Replay(new ManualClock());
    assert.equal(
      replay.add(filled(replayedSamplesMax + 1), () => assert.fail("recorded")),
      false,
    );
    replay.run();
  });

  it("holds nobody up: so many in one turn, the rest of what was there then in turns of their own", () => {
    const clock = new ManualClock();
    const replay = new Replay(clock);
    const [cells, copies] = [[7_000, 1, 5_000].map(filled), [0, 0, 0].map(filled)];
    for (const [i, cell] of cells.entries()) replay.add(cell, (it) => copies[i]?.record(it));
    // It is forwarded by then.
    cells[2]?.record(0.5);
    const repeatedSoFar = () => copies.reduce((count, cell) => count + cell.count, 0);
    replay.run();
    for (let before = 0; repeatedSoFar() < 12_001; ) {
      assert.ok(repeatedSoFar() > before && repeatedSoFar() - before <= 3_000);
      before = repeatedSoFar();
      // Another component that comes meanwhile does not add to the turn.
      replay.run();
      assert.equal(repeatedSoFar(), before);
      clock.advance(1);
    }
    clock.advance(10);
    assert.deepEqual(
      copies.map(({ count }) => count),
      [7_000, 1, 5_000],
    );
    assert.equal(clock.pending, 0);
  });

  it("has a limit over all series", () => {
    const replay = new Replay(new ManualClock());
    const asked = Array.from({ length: 25 }, () =>
      replay.add(filled(replayedSamplesMax), () => {}),
    );
    assert.equal(asked.filter(Boolean).length * replayedSamplesMax, waitingSamplesMax);
  });
});
