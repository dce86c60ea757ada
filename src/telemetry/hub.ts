/**
 * All registries of one MeterProvider as one: the same series of two components is one series (counters, histograms and up-down
 * counters are summed, of gauges the last writer counts). What a closed component counted stays in the sums, because a
 * counter that falls looks like a restart. Read by the bridge and by the metric producer.
 */
import { catalogue, type InstrumentDescriptor } from "./catalogue.ts";
import {
  CounterCell,
  type Family,
  GaugeCell,
  HistogramCell,
  type MetricRegistry,
  type Series,
  UpDownCell,
} from "./cells.ts";
import type { MetricsSource } from "./metrics-source.ts";
import { createMetricRegistry, newCell, seriesPerFamilyMax } from "./registry.ts";
import { METRIC_OVERFLOW } from "./semconv.ts";

/** What a MeterProvider carries for us: where components hand in their registries. */
export interface MetricAttachment {
  /** Answers a function that takes the registry out again; twice is harmless. */
  attach(registry: MetricRegistry): () => void;
  /** The text for `/metrics`, where our own bootstrap made the provider. */
  readonly source?: MetricsSource;
}

export class MetricHub implements MetricAttachment {
  readonly #registries = new Set<MetricRegistry>();
  /** Totals of closed components, by family; limited in series like every family. */
  readonly #retired = new Map<string, RetiredFamily>();

  readonly #own = createMetricRegistry();

  attach(registry: MetricRegistry): () => void {
    this.#registries.add(registry);
    return () => {
      if (this.#registries.delete(registry)) this.#retire(registry);
    };
  }

  /** The families of all registries, merged. The cells may be the live ones: read them at once. */
  collect(): Iterable<Family> {
    const merged = new Map<string, MergedFamily>();
    // Shown by itself as well, hence the 1.
    let count = 1;
    for (const family of this.#retired.values()) merge(merged, family);
    for (const registry of this.#registries) {
      for (const family of registry.collect()) merge(merged, family);
    }
    for (const family of merged.values()) count += family.series.size;
    this.#own.gauge(catalogue.telemetrySeries).set(count);
    for (const family of this.#own.collect()) merge(merged, family);
    return merged.values();
  }

  #retire(registry: MetricRegistry): void {
    for (const { descriptor, series } of registry.collect()) {
      if (descriptor.kind !== "counter" && descriptor.kind !== "histogram") continue;
      let into = this.#retired.get(descriptor.name);
      if (into === undefined) {
        into = { descriptor, series: new Map() };
        this.#retired.set(descriptor.name, into);
      }
      for (const [key, one] of series) retireSeries(into, key, one);
    }
  }
}

interface RetiredFamily extends Family {
  readonly series: Map<string, Series>;
}

function retireSeries(into: RetiredFamily, key: string, series: Series): void {
  const full = into.series.size >= seriesPerFamilyMax && !into.series.has(key);
  const place = full ? METRIC_OVERFLOW : key;
  const first = into.series.get(place);
  if (first !== undefined) into.series.set(place, combine(into.descriptor, first, series));
  else if (full) into.series.set(place, { ...series, attributes: { [METRIC_OVERFLOW]: true } });
  else into.series.set(place, series);
}

interface MergedFamily extends Family {
  readonly descriptor: InstrumentDescriptor;
  series: ReadonlyMap<string, Series>;
  /** Set once `series` is a map of our own. */
  own: Map<string, Series> | undefined;
}

function merge(into: Map<string, MergedFamily>, family: Family): void {
  const { descriptor } = family;
  const known = into.get(descriptor.name);
  if (known === undefined) {
    // Nearly always there is one component: its map is passed on without a copy.
    into.set(descriptor.name, { descriptor, series: family.series, own: undefined });
    return;
  }
  if (known.descriptor.kind !== descriptor.kind) return;
  if (known.own === undefined) {
    known.own = new Map(known.series);
    known.series = known.own;
  }
  for (const [key, series] of family.series) {
    const first = known.own.get(key);
    known.own.set(key, first === undefined ? series : combine(descriptor, first, series));
  }
}

function combine(descriptor: InstrumentDescriptor, a: Series, b: Series): Series {
  const later = b.cell instanceof GaugeCell && a.cell instanceof GaugeCell;
  if (later) return (b.cell as GaugeCell).setAt >= (a.cell as GaugeCell).setAt ? b : a;
  const cell = newCell(descriptor);
  for (const part of [a.cell, b.cell]) {
    if (cell instanceof HistogramCell) {
      if (part instanceof HistogramCell) addHistogram(cell, part);
    } else if (part instanceof CounterCell || part instanceof UpDownCell) {
      (cell as CounterCell | UpDownCell).add(part.value);
    }
  }
  return { attributes: a.attributes, cell, startMs: Math.min(a.startMs, b.startMs) };
}

/** Adds the counts; the bounds of one family are the same everywhere. */
function addHistogram(into: HistogramCell, from: HistogramCell): void {
  for (let i = 0; i < into.counts.length; i++) {
    into.counts[i] = (into.counts[i] ?? 0) + (from.counts[i] ?? 0);
  }
  into.sum += from.sum;
  into.count += from.count;
}
