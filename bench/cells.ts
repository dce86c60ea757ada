/**
 * What one measurement costs the code that is measured: a bound counter cell and a bound histogram
 * cell, in ns.
 */
import { catalogue } from "../src/telemetry/catalogue.ts";
import type { CounterCell, HistogramCell } from "../src/telemetry/cells.ts";
import { createMetricRegistry } from "../src/telemetry/registry.ts";
import type { Contender } from "./contender.ts";
import { secondsOf } from "./stopwatch.ts";

const CALLS = 5_000_000;
/** Cells that take turns: with a single one the optimiser would keep its sum in a register. */
const CELLS = 16;

export function counterCellContender(): Contender {
  const registry = createMetricRegistry();
  const cells = Array.from({ length: CELLS }, (_, i) =>
    registry.counter(catalogue.recordsSent, { topic: `topic-${i}` }),
  );
  return {
    name: "counter-cell",
    unit: "ns",
    limits: [],
    note: `add() on ${CELLS} bound cells in turn`,
    round: async () => {
      const seconds = await secondsOf(() => addAll(cells));
      return { value: (seconds * 1e9) / CALLS };
    },
  };
}

export function histogramCellContender(): Contender {
  const registry = createMetricRegistry();
  const cells = Array.from({ length: CELLS }, (_, i) =>
    registry.histogram(catalogue.sendDuration, { topic: `topic-${i}` }),
  );
  // Durations from 0.1 ms to 10 s, spread evenly over the buckets, in no order.
  const durations = Float64Array.from(
    { length: 1_024 },
    (_, i) => 10 ** (((i * 613) % 1_024) / 205 - 4),
  );
  return {
    name: "histogram-cell",
    unit: "ns",
    limits: [],
    note: `record() on ${CELLS} bound cells in turn, values over all buckets`,
    round: async () => {
      const seconds = await secondsOf(() => recordAll(cells, durations));
      return { value: (seconds * 1e9) / CALLS };
    },
  };
}

function addAll(cells: readonly CounterCell[]): void {
  for (let i = 0; i < CALLS; i++) (cells[i & (CELLS - 1)] as CounterCell).add(1);
}

function recordAll(cells: readonly HistogramCell[], durations: Float64Array): void {
  for (let i = 0; i < CALLS; i++) {
    (cells[i & (CELLS - 1)] as HistogramCell).record(durations[i & 1_023] as number);
  }
}
