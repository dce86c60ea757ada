/**
 * The hot path of every measurement: plain numbers. A series (one combination of attribute values) is resolved once to a
 * cell, and recording only adds to that cell: no map look-up, no allocation, no call into an SDK. The registry is
 * read by the metric producer (`metric-producer.ts`) or bridged to a MeterProvider (`meter-bridge.ts`).
 */
import { systemClock } from "../core/clock.ts";
import type { InstrumentDescriptor } from "./catalogue.ts";
import type { InstrumentFamily } from "./instrument.ts";

export type AttributeValues = Readonly<Record<string, string | number | boolean>>;

/** A number that only rises. */
export class CounterCell {
  value = 0;
  add(n: number): void {
    this.value += n;
  }
}

/** A number that goes both ways by differences (an OpenTelemetry up-down counter, a Prometheus gauge). */
export class UpDownCell {
  value = 0;
  add(n: number): void {
    this.value += n;
  }
}

/** The latest value of something. */
export class GaugeCell {
  value = 0;
  /** When `set` was last called, by the monotonic clock: where two components share a series, the later one wins. */
  setAt = 0;
  set(v: number): void {
    this.value = v;
    this.setAt = systemClock.monotonic();
  }
}

/** A sample that can be looked up: the trace in which it was measured. */
export interface Exemplar {
  readonly value: number;
  readonly timestampMs: number;
  /** 32 and 16 hexadecimal digits. */
  readonly traceId: string;
  readonly spanId: string;
}

/** What a sample's span tells for an exemplar; the API's `SpanContext` is one. */
export interface SampledIn {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
}

/** Counts over fixed bounds (the last bucket has none), with sum. */
export class HistogramCell {
  readonly bounds: readonly number[];
  readonly counts: Float64Array;
  sum = 0;
  count = 0;
  /** The latest sampled sample of each bucket; no array until there is one. */
  exemplars: (Exemplar | undefined)[] | undefined = undefined;
  /** Set by the bridge, which must see every sample; undefined on the producer route. */
  forward: ((v: number) => void) | undefined = undefined;
  /** The bucket of the last sample and its bounds: what settles together mostly falls into the same one. */
  #bucket = -1;
  #above = 0;
  #upTo = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  /** Counts the sample and, if its span is sampled, keeps it as its bucket's exemplar. Without a span as `record`. */
  recordIn(v: number, span: SampledIn | undefined): void {
    const bucket = this.#count(v, 1);
    if (bucket < 0 || span === undefined || (span.traceFlags & 1) === 0) return;
    const { traceId, spanId } = span;
    this.exemplars ??= new Array<Exemplar | undefined>(this.counts.length);
    this.exemplars[bucket] = { value: v, timestampMs: systemClock.now(), traceId, spanId };
  }

  record(v: number): void {
    this.#count(v, 1);
  }

  /** The same as `record(v)` so many times, at the price of one: for records that were delivered together. */
  recordMany(v: number, times: number): void {
    if (times > 0) this.#count(v, times);
  }

  /** Answers the bucket, or -1 for what is no number: one such sample would make the sum useless for ever. */
  #count(v: number, times: number): number {
    if (this.#bucket < 0 || !(v > this.#above && v <= this.#upTo)) {
      if (Number.isNaN(v)) return -1;
      this.#find(v);
    }
    const bucket = this.#bucket;
    this.counts[bucket] = (this.counts[bucket] as number) + times;
    this.sum += v * times;
    this.count += times;
    if (this.forward !== undefined) for (let i = 0; i < times; i++) this.forward(v);
    return bucket;
  }

  #find(v: number): void {
    const bounds = this.bounds;
    let low = 0;
    let high = bounds.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (v <= (bounds[mid] as number)) high = mid;
      else low = mid + 1;
    }
    this.#bucket = low;
    this.#above = low === 0 ? Number.NEGATIVE_INFINITY : (bounds[low - 1] as number);
    this.#upTo = low === bounds.length ? Number.POSITIVE_INFINITY : (bounds[low] as number);
  }
}

export type Cell = CounterCell | UpDownCell | GaugeCell | HistogramCell;

/**
 * Whether a cell is a histogram, by its shape: with two copies of this package in a process one reads the other's cells, which are
 * of its own classes.
 */
export function isHistogram(cell: Cell): cell is HistogramCell {
  return "counts" in cell;
}

/** The same for a gauge. */
export function isGauge(cell: Cell): cell is GaugeCell {
  return "setAt" in cell;
}

/** One series of a family. */
export interface Series {
  readonly attributes: AttributeValues;
  readonly cell: Cell;
  /** When it began to count, ms since 1970: the start time of its cumulative points. */
  readonly startMs: number;
}

/** All series of one instrument in one component registry. */
export interface Family {
  readonly descriptor: InstrumentDescriptor;
  readonly series: ReadonlyMap<string, Series>;
}

/**
 * What components record with and readers read from. Made by `createMetricRegistry`.
 *
 * Resolve a series once and keep its cell; resolving it again answers the same cell. Attributes that the descriptor does not name
 * are ignored, and `partition` is ignored for counters and histograms unless `partitionLabels` is on, so callers always
 * pass what they know. No method throws.
 */
export interface MetricRegistry {
  /** The families that count; cells of another one are handed out, but count into the void. */
  readonly families: readonly InstrumentFamily[];
  counter(descriptor: InstrumentDescriptor, attributes?: AttributeValues): CounterCell;
  upDown(descriptor: InstrumentDescriptor, attributes?: AttributeValues): UpDownCell;
  gauge(descriptor: InstrumentDescriptor, attributes?: AttributeValues): GaugeCell;
  histogram(descriptor: InstrumentDescriptor, attributes?: AttributeValues): HistogramCell;
  /** The series is gone from the next collection on (a revoked partition, a lost lease). */
  release(descriptor: InstrumentDescriptor, attributes: AttributeValues): void;
  /**
   * Called before each collection, to set gauges that are cheaper to compute then. Must not throw or wait. Answers a function that
   * takes the callback away.
   */
  onCollect(callback: () => void): () => void;
  /** Runs the callbacks and answers the families. For readers. */
  collect(): Iterable<Family>;
  /** Called for every series there is and every later one. For the bridge. Answers a function that ends it. */
  onSeries(callback: (descriptor: InstrumentDescriptor, series: Series) => void): () => void;
}
