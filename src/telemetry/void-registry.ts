/** Where measurements go with `telemetry: false`: one cell of each kind that nobody reads. No series, no memory. */
import { CounterCell, GaugeCell, HistogramCell, type MetricRegistry, UpDownCell } from "./cells.ts";

export function createVoidRegistry(): MetricRegistry {
  const counter = new CounterCell();
  const upDown = new UpDownCell();
  const gauge = new GaugeCell();
  const histogram = new HistogramCell([]);
  const nothing = () => {};
  return {
    families: [],
    counter: () => counter,
    upDown: () => upDown,
    gauge: () => gauge,
    histogram: () => histogram,
    release: nothing,
    onCollect: () => nothing,
    onSeries: () => nothing,
    collect: () => [],
  };
}
