/**
 * The series of one component: families of cells by attribute values. Resolving is a map look-up and happens once a series;
 * recording happens in the cells and never comes here. Every family has a limit (METRICS rule 6). Never throws: a
 * measurement must not be able to fail what it measures. Made by `createTelemetry`, read by `hub.ts`.
 */
import { type Clock, systemClock } from "../core/clock.ts";
import { catalogue, type InstrumentDescriptor } from "./catalogue.ts";
import {
  type AttributeValues,
  type Cell,
  CounterCell,
  type Family,
  GaugeCell,
  HistogramCell,
  type MetricRegistry,
  type Series,
  UpDownCell,
} from "./cells.ts";
import { bothFamilies, type InstrumentFamily } from "./instrument.ts";
import { METRIC_OVERFLOW } from "./semconv.ts";
import { createVoidRegistry } from "./void-registry.ts";

/** Series of one family before it folds: the metrics SDK's own default. */
export const seriesPerFamilyMax = 2_000;

/**
 * Gauge cells of one family that are kept although readers are shown the family folded (`hub.ts`: the sum needs each of
 * them): every partition of a large topic for ten groups.
 */
const gaugeCellsPerFamilyMax = 100_000;

export interface MetricRegistryOptions {
  /** Series of one family before it folds. Default 2,000. */
  readonly seriesMax?: number | undefined;
  /** Keeps `partition` on counters and histograms. Default false. */
  readonly partitionLabels?: boolean | undefined;
  /** Cells of other families count into the void. Default both. */
  readonly families?: readonly InstrumentFamily[] | undefined;
  readonly clock?: Clock | undefined;
}

/** A registry without readers costs its cells and nothing else. */
export function createMetricRegistry(options: MetricRegistryOptions = {}): MetricRegistry {
  return new CellRegistry(options);
}

/** The map key of a series: its values in the descriptor's order, each with its length, so that no two collide. */
export function seriesKey(descriptor: InstrumentDescriptor, attributes: AttributeValues): string {
  if (attributes[METRIC_OVERFLOW] === true) return METRIC_OVERFLOW;
  let key = "";
  for (const name of descriptor.attributes) {
    const value = attributes[name];
    if (value === undefined) key += "-;";
    else {
      const text = String(value);
      key += `${text.length}:${text}`;
    }
  }
  return key;
}

const OVERFLOW: AttributeValues = Object.freeze({ [METRIC_OVERFLOW]: true });

interface Table {
  readonly descriptor: InstrumentDescriptor;
  readonly series: Map<string, Series>;
}

class CellRegistry implements MetricRegistry {
  readonly #tables = new Map<string, Table>();
  readonly #callbacks = new Set<() => void>();
  readonly #watchers = new Set<(descriptor: InstrumentDescriptor, series: Series) => void>();
  readonly #seriesMax: number;
  readonly #partitionLabels: boolean;
  readonly #clock: Clock;
  readonly families: readonly InstrumentFamily[];
  /** Where the families that are off count. */
  readonly #nowhere = createVoidRegistry();

  constructor(options: MetricRegistryOptions) {
    this.#seriesMax = options.seriesMax ?? seriesPerFamilyMax;
    this.#partitionLabels = options.partitionLabels ?? false;
    this.#clock = options.clock ?? systemClock;
    this.families = options.families ?? bothFamilies;
  }

  counter(descriptor: InstrumentDescriptor, attributes: AttributeValues = {}): CounterCell {
    if (!this.families.includes(descriptor.family)) return this.#nowhere.counter(descriptor);
    const cell = this.#resolve(descriptor, attributes);
    return cell instanceof CounterCell ? cell : new CounterCell();
  }

  upDown(descriptor: InstrumentDescriptor, attributes: AttributeValues = {}): UpDownCell {
    if (!this.families.includes(descriptor.family)) return this.#nowhere.upDown(descriptor);
    const cell = this.#resolve(descriptor, attributes);
    return cell instanceof UpDownCell ? cell : new UpDownCell();
  }

  gauge(descriptor: InstrumentDescriptor, attributes: AttributeValues = {}): GaugeCell {
    if (!this.families.includes(descriptor.family)) return this.#nowhere.gauge(descriptor);
    const cell = this.#resolve(descriptor, attributes);
    return cell instanceof GaugeCell ? cell : new GaugeCell();
  }

  histogram(descriptor: InstrumentDescriptor, attributes: AttributeValues = {}): HistogramCell {
    if (!this.families.includes(descriptor.family)) return this.#nowhere.histogram(descriptor);
    const cell = this.#resolve(descriptor, attributes);
    return cell instanceof HistogramCell ? cell : new HistogramCell(descriptor.buckets ?? []);
  }

  release(descriptor: InstrumentDescriptor, attributes: AttributeValues): void {
    // Without the label several partitions share the series: one of them cannot take it away.
    if (attributes.partition !== undefined && !this.#keepsPartition(descriptor)) return;
    this.#tables.get(descriptor.name)?.series.delete(seriesKey(descriptor, attributes));
  }

  onCollect(callback: () => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  onSeries(callback: (descriptor: InstrumentDescriptor, series: Series) => void): () => void {
    for (const { descriptor, series } of this.#tables.values()) {
      for (const one of series.values()) callback(descriptor, one);
    }
    this.#watchers.add(callback);
    return () => this.#watchers.delete(callback);
  }

  collect(): Iterable<Family> {
    for (const callback of this.#callbacks) {
      try {
        callback();
      } catch {
        this.counter(catalogue.collectErrors).add(1);
      }
    }
    const families: Family[] = [];
    for (const table of this.#tables.values()) {
      if (table.series.size > 0) families.push(table);
    }
    return families;
  }

  #keepsPartition(descriptor: InstrumentDescriptor): boolean {
    const wanted = descriptor.kind === "gauge" || this.#partitionLabels;
    return wanted && descriptor.attributes.includes("partition");
  }

  #resolve(descriptor: InstrumentDescriptor, attributes: AttributeValues): Cell {
    let table = this.#tables.get(descriptor.name);
    if (table === undefined) {
      table = { descriptor, series: new Map() };
      this.#tables.set(descriptor.name, table);
    }
    const kept = this.#keep(descriptor, attributes);
    const key = seriesKey(descriptor, kept);
    const known = table.series.get(key);
    if (known !== undefined) return known.cell;
    const full = table.series.size >= this.#seriesMax;
    if (full && descriptor !== catalogue.seriesOverflow) {
      this.counter(catalogue.seriesOverflow, { family: descriptor.name }).add(1);
      if (descriptor.kind !== "gauge") return this.#overflow(table);
      if (table.series.size >= gaugeCellsPerFamilyMax) return new GaugeCell();
    }
    return this.#add(table, key, kept);
  }

  /** The attributes that the descriptor names, in its order. */
  #keep(descriptor: InstrumentDescriptor, attributes: AttributeValues): AttributeValues {
    if (attributes[METRIC_OVERFLOW] === true) return OVERFLOW;
    const kept: Record<string, string | number | boolean> = {};
    for (const name of descriptor.attributes) {
      const value = attributes[name];
      if (value === undefined) continue;
      if (name === "partition" && !this.#keepsPartition(descriptor)) continue;
      kept[name] = value;
    }
    return kept;
  }

  #overflow(table: Table): Cell {
    const known = table.series.get(METRIC_OVERFLOW);
    return known === undefined ? this.#add(table, METRIC_OVERFLOW, OVERFLOW) : known.cell;
  }

  #add(table: Table, key: string, attributes: AttributeValues): Cell {
    const cell = newCell(table.descriptor);
    const series: Series = { attributes, cell, startMs: this.#clock.now() };
    table.series.set(key, series);
    for (const watcher of this.#watchers) watcher(table.descriptor, series);
    return cell;
  }
}

/** An empty cell of the descriptor's kind. */
export function newCell(descriptor: InstrumentDescriptor): Cell {
  switch (descriptor.kind) {
    case "counter":
      return new CounterCell();
    case "upDownCounter":
      return new UpDownCell();
    case "gauge":
      return new GaugeCell();
    case "histogram":
      return new HistogramCell(descriptor.buckets ?? []);
  }
}
