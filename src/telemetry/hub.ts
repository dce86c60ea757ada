/**
 * All registries of one MeterProvider as one: the same series of two components is one series (counters, histograms and up-down
 * counters are summed, of gauges the last writer counts), and a family has one limit (METRICS rule 6). What a closed component
 * counted stays in the sums, because a counter that falls looks like a restart. Read by the bridge and by the metric producer.
 */
import { SeriesAdmission } from "./admission.ts";
import { catalogue, type InstrumentDescriptor } from "./catalogue.ts";
import {
  type Cell,
  type Family,
  type GaugeCell,
  type HistogramCell,
  isGauge,
  isHistogram,
  type MetricRegistry,
  type Series,
} from "./cells.ts";
import { foldPartitions } from "./fold.ts";
import { bothFamilies, type InstrumentFamily, isTotal } from "./instrument.ts";
import type { MetricsSource } from "./metrics-source.ts";
import { createMetricRegistry, newCell, seriesKey, seriesPerFamilyMax } from "./registry.ts";
import { METRIC_OVERFLOW } from "./semconv.ts";

/**
 * What a MeterProvider carries for us: where components hand in their registries. Copies of this package share it, so it
 * is read by shape, never by class.
 */
export interface MetricAttachment {
  /** Answers a function that takes the registry out again; twice is harmless. */
  attach(registry: MetricRegistry): () => void;
  /** The families that are reported: what a component counts that was told nothing else. */
  readonly families?: readonly InstrumentFamily[];
  /** The text for `/metrics`, where our own bootstrap made the provider. */
  readonly source?: MetricsSource;
}

export interface MetricHubOptions {
  /** Others are not shown. Default both. */
  readonly families?: readonly InstrumentFamily[] | undefined;
  /** Series of one family, over all components. Default 2,000. */
  readonly seriesMax?: number | undefined;
}

export class MetricHub implements MetricAttachment {
  readonly families: readonly InstrumentFamily[];
  readonly #seriesMax: number;
  readonly #registries = new Set<MetricRegistry>();
  /** Totals of closed components, by family; limited in series like every family. */
  readonly #retired = new Map<string, OwnFamily>();
  /** Closed while somebody collects, who may have read some of them already: retired when nobody does. */
  readonly #closed = new Set<MetricRegistry>();
  #collecting = 0;
  readonly #admission: SeriesAdmission;
  /** What the hub measures of itself. */
  readonly #own: MetricRegistry;
  readonly #count: GaugeCell;

  constructor(options: MetricHubOptions = {}) {
    this.families = options.families ?? bothFamilies;
    this.#seriesMax = options.seriesMax ?? seriesPerFamilyMax;
    this.#admission = new SeriesAdmission(this.#seriesMax);
    this.#own = createMetricRegistry({ families: this.families });
    this.#count = this.#own.gauge(catalogue.telemetrySeries);
  }

  attach(registry: MetricRegistry): () => void {
    this.#registries.add(registry);
    return () => {
      if (!this.#registries.delete(registry)) return;
      if (this.#collecting === 0) this.#retire(registry);
      else this.#closed.add(registry);
    };
  }

  /**
   * The families of all registries, merged one by one as they are asked for. All that is a state (gauges, up-down counters) comes first,
   * then what only rises: a reader that rests in between reads the states in one turn and so from one moment, and each family. The
   * cells may be the live ones: read them at once. Must be read to its end or returned.
   */
  *collect(): Generator<Family, void, undefined> {
    const families = this.#parts();
    this.#collecting += 1;
    try {
      let count = 0;
      for (const parts of families) {
        const family = this.#limited(this.#merged(parts));
        count += family.series.size;
        // Its cell shows what is set now.
        if (family.descriptor.name === catalogue.telemetrySeries.name) this.#count.set(count);
        yield family;
      }
    } finally {
      this.#collecting -= 1;
      if (this.#collecting === 0) {
        for (const registry of this.#closed) this.#retire(registry);
        this.#closed.clear();
      }
    }
  }

  /** What each registry has of each family, in the order in which they are read. */
  #parts(): readonly (readonly [Family, ...Family[]])[] {
    const byName = new Map<string, [Family, ...Family[]]>();
    const add = (family: Family) => {
      const { descriptor } = family;
      if (!this.families.includes(descriptor.family)) return;
      const known = byName.get(descriptor.name);
      if (known === undefined) byName.set(descriptor.name, [family]);
      else if (known[0].descriptor.kind === descriptor.kind) known.push(family);
    };
    for (const family of this.#retired.values()) add(family);
    for (const registry of this.#closed) {
      for (const family of registry.collect()) if (isTotal(family.descriptor)) add(family);
    }
    for (const registry of [...this.#registries, this.#own]) {
      for (const family of registry.collect()) add(family);
    }
    return [...byName.values()].sort(([a], [b]) => turnOf(a) - turnOf(b));
  }

  #merged([first, ...others]: readonly [Family, ...Family[]]): MergedFamily {
    const { descriptor, series } = first;
    const family: MergedFamily = { descriptor, series, refused: 0 };
    // Nearly always there is one component: its map is passed on without a copy.
    if (others.length === 0) {
      const { name } = descriptor;
      if (!foldsIntoOverflow(descriptor) || this.#admission.admitsAll(name, series)) return family;
    }
    const own = new Map<string, Series>();
    for (const part of [first, ...others]) this.#add(family, own, part.series);
    family.series = own;
    if (descriptor.kind === "gauge")
      family.refused = this.#beyondAlone([first, ...others], own.size);
    return family;
  }

  /** Series of a gauge beyond its limit for which no component is too large alone: a registry tells of its own. */
  #beyondAlone(parts: readonly Family[], together: number): number {
    const beyond = (size: number) => Math.max(0, size - this.#seriesMax);
    return parts.reduce((left, { series }) => left - beyond(series.size), beyond(together));
  }

  #add(family: MergedFamily, own: Map<string, Series>, series: ReadonlyMap<string, Series>): void {
    for (const [key, one] of series) {
      const place = this.#place(family.descriptor, key);
      if (place !== key) family.refused += 1;
      addSeries(family.descriptor, own, place, one);
    }
  }

  /** The series' own key, or the overflow's. */
  #place(descriptor: InstrumentDescriptor, key: string): string {
    if (!foldsIntoOverflow(descriptor) || key === METRIC_OVERFLOW) return key;
    return this.#admission.admits(descriptor.name, key) ? key : METRIC_OVERFLOW;
  }

  #limited(family: MergedFamily): Family {
    const { descriptor, series, refused } = family;
    const more = this.#admission.newlyRefused(descriptor.name, refused);
    if (more > 0)
      this.#own.counter(catalogue.seriesOverflow, { family: descriptor.name }).add(more);
    const crowded = descriptor.kind === "gauge" && series.size > this.#seriesMax;
    return crowded ? foldPartitions(family, this.#seriesMax, seriesKey) : family;
  }

  #retire(registry: MetricRegistry): void {
    for (const { descriptor, series } of registry.collect()) {
      // What a component counted stays when it is closed; what it had goes with it.
      if (!isTotal(descriptor)) continue;
      let into = this.#retired.get(descriptor.name);
      if (into === undefined) {
        into = { descriptor, series: new Map() };
        this.#retired.set(descriptor.name, into);
      }
      for (const [key, one] of series) {
        addSeries(descriptor, into.series, this.#place(descriptor, key), one);
      }
    }
  }
}

interface OwnFamily extends Family {
  readonly series: Map<string, Series>;
}

interface MergedFamily extends Family {
  readonly descriptor: InstrumentDescriptor;
  series: ReadonlyMap<string, Series>;
  /** Series that went into the overflow here, or for which a gauge is shown without `partition`. */
  refused: number;
}

/**
 * Gauges are limited afterwards: an overflow would falsify them. What tells of the folding has a series for each family and must be
 * readable when it matters.
 */
function foldsIntoOverflow({ kind, name }: InstrumentDescriptor): boolean {
  return kind !== "gauge" && name !== catalogue.seriesOverflow.name;
}

/** States first; last the number of all series, which is known then. */
function turnOf(family: Family): number {
  if (family.descriptor.name === catalogue.telemetrySeries.name) return 2;
  return isTotal(family.descriptor) ? 1 : 0;
}

function addSeries(
  descriptor: InstrumentDescriptor,
  into: Map<string, Series>,
  place: string,
  series: Series,
): void {
  const first = into.get(place);
  if (first !== undefined) into.set(place, combine(descriptor, first, series));
  else if (place !== METRIC_OVERFLOW) into.set(place, series);
  else into.set(place, { ...series, attributes: { [METRIC_OVERFLOW]: true } });
}

function combine(descriptor: InstrumentDescriptor, a: Series, b: Series): Series {
  if (isGauge(a.cell) && isGauge(b.cell)) return b.cell.setAt >= a.cell.setAt ? b : a;
  const cell = newCell(descriptor);
  for (const part of [a.cell, b.cell]) addCell(cell, part);
  return { attributes: a.attributes, cell, startMs: Math.min(a.startMs, b.startMs) };
}

function addCell(into: Cell, from: Cell): void {
  if (isHistogram(into)) {
    if (isHistogram(from)) addHistogram(into, from);
  } else if (!isHistogram(from)) into.value += from.value;
}

/** Adds the counts (the bounds of one family are the same everywhere), and keeps the newest exemplar of each bucket. */
function addHistogram(into: HistogramCell, from: HistogramCell): void {
  for (let i = 0; i < into.counts.length; i++) {
    into.counts[i] = (into.counts[i] ?? 0) + (from.counts[i] ?? 0);
  }
  into.sum += from.sum;
  into.count += from.count;
  if (from.exemplars === undefined) return;
  if (into.exemplars === undefined) {
    into.exemplars = [...from.exemplars];
    return;
  }
  for (const [i, exemplar] of from.exemplars.entries()) {
    if (exemplar === undefined) continue;
    const known = into.exemplars[i];
    if (known === undefined || exemplar.timestampMs >= known.timestampMs) {
      into.exemplars[i] = exemplar;
    }
  }
}
