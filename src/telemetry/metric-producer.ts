/**
 * Hands cells to an SDK's reader as its own `MetricProducer`: exact histograms with exemplars, at the cost of reading numbers, and a
 * released series is gone from the next collection on. One for each reader, because a reader that wants deltas must get
 * its own. Used by the bootstrap only; with `bootstrap-*` the only room that names SDK types.
 */
import { type Attributes, type HrTime, ValueType } from "@opentelemetry/api";
import { emptyResource } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  type CollectionResult,
  type DataPoint,
  DataPointType,
  type Histogram,
  InstrumentType,
  type MetricData,
  type MetricProducer,
} from "@opentelemetry/sdk-metrics";
import { type Clock, systemClock } from "../core/clock.ts";
import { version } from "../core/version.ts";
import { Pace } from "../prometheus/pace.ts";
import { type Exemplar, type Family, isHistogram, type Series } from "./cells.ts";
import { DeltaMemory } from "./delta-memory.ts";
import type { MetricHub } from "./hub.ts";
import { type InstrumentKind, isTotal } from "./instrument.ts";
import { SCHEMA_URL, SCOPE_NAME } from "./semconv.ts";

/** A point of a histogram with its exemplars, for which the JavaScript SDK has no place yet. */
export interface PointWithExemplars extends DataPoint<Histogram> {
  /** At most one for each bucket, the newest; absent if there is none. */
  readonly exemplars?: readonly Exemplar[];
}

export interface MetricProducerOptions {
  /** What the reader wants of each kind of instrument: a push exporter's own selector. Default: cumulative. */
  readonly temporality?: ((type: InstrumentType) => AggregationTemporality) | undefined;
  /** Default true. */
  readonly exemplars?: boolean | undefined;
  readonly clock?: Clock | undefined;
}

/** For one reader. */
export function createMetricProducer(
  hub: MetricHub,
  options: MetricProducerOptions = {},
): MetricProducer {
  return new CellProducer(hub, options);
}

/** What the same instruments are on the bridge, so that a selector answers the same for both routes. */
const instrumentTypes: Readonly<Record<InstrumentKind, InstrumentType>> = {
  counter: InstrumentType.OBSERVABLE_COUNTER,
  upDownCounter: InstrumentType.OBSERVABLE_UP_DOWN_COUNTER,
  gauge: InstrumentType.OBSERVABLE_GAUGE,
  histogram: InstrumentType.HISTOGRAM,
};

class CellProducer implements MetricProducer {
  readonly #hub: MetricHub;
  readonly #clock: Clock;
  readonly #temporality: (type: InstrumentType) => AggregationTemporality;
  readonly #exemplars: boolean;
  readonly #memory = new DeltaMemory();
  #collecting: Promise<unknown> = Promise.resolve();

  constructor(hub: MetricHub, options: MetricProducerOptions) {
    this.#hub = hub;
    this.#clock = options.clock ?? systemClock;
    this.#exemplars = options.exemplars ?? true;
    this.#temporality = options.temporality ?? (() => AggregationTemporality.CUMULATIVE);
  }

  /** One after another: each is told what was added since the one before. */
  collect(): Promise<CollectionResult> {
    const collected = this.#collecting.then(() => this.#collect());
    this.#collecting = collected.catch(() => {});
    return collected;
  }

  async #collect(): Promise<CollectionResult> {
    const nowMs = this.#clock.now();
    const pace = new Pace(this.#clock);
    const metrics: MetricData[] = [];
    for (const family of this.#hub.collect()) {
      // What is a state is read in one turn, so that nothing of it contradicts another (lag in records and in seconds).
      if (isTotal(family.descriptor)) await pace.rest();
      metrics.push(this.#metricData(family, nowMs));
    }
    this.#memory.endCollection(nowMs);
    const scope = { name: SCOPE_NAME, version, schemaUrl: SCHEMA_URL };
    return {
      // The reader puts its own resource in the place of this one.
      resourceMetrics: { resource: emptyResource(), scopeMetrics: [{ scope, metrics }] },
      errors: [],
    };
  }

  #metricData(family: Family, nowMs: number): MetricData {
    const { name, unit, description, kind } = family.descriptor;
    const descriptor = { name, unit, description, valueType: ValueType.DOUBLE };
    // What a closed component had is gone at once, and no difference says so: a state is never told in differences.
    const aggregationTemporality = isTotal(family.descriptor)
      ? this.#temporality(instrumentTypes[kind])
      : AggregationTemporality.CUMULATIVE;
    const common = { descriptor, aggregationTemporality };
    const delta = aggregationTemporality === AggregationTemporality.DELTA;
    const shown = delta ? this.#memory.deltas(family) : family;
    if (kind === "histogram") {
      const finish = this.#exemplars ? withExemplars : undefined;
      const dataPoints = points(shown, nowMs, histogramValues(), finish);
      return { ...common, dataPointType: DataPointType.HISTOGRAM, dataPoints };
    }
    const dataPoints = points(shown, nowMs, numberValue);
    return kind === "gauge"
      ? { ...common, dataPointType: DataPointType.GAUGE, dataPoints }
      : {
          ...common,
          dataPointType: DataPointType.SUM,
          isMonotonic: kind === "counter",
          dataPoints,
        };
  }
}

function points<T>(
  family: Family,
  nowMs: number,
  value: (series: Series) => T,
  finish: (point: DataPoint<T>, series: Series) => DataPoint<T> = (point) => point,
): DataPoint<T>[] {
  const endTime = hrTime(nowMs);
  const all: DataPoint<T>[] = [];
  let startMs = Number.NaN;
  let startTime = endTime;
  for (const series of family.series.values()) {
    // Most series of a component began together: they share what says when.
    if (series.startMs !== startMs) {
      startMs = series.startMs;
      startTime = hrTime(startMs);
    }
    const attributes = series.attributes as Attributes;
    all.push(finish({ startTime, endTime, attributes, value: value(series) }, series));
  }
  return all;
}

function withExemplars(point: DataPoint<Histogram>, { cell }: Series): PointWithExemplars {
  if (!isHistogram(cell) || cell.exemplars === undefined) return point;
  const exemplars = cell.exemplars.filter((one) => one !== undefined);
  return exemplars.length === 0 ? point : { ...point, exemplars };
}

function numberValue({ cell }: Series): number {
  return isHistogram(cell) ? 0 : cell.value;
}

/** Answers copies: a cell goes on counting while the reader works. The bounds of a family are one array for all of its points. */
function histogramValues(): (series: Series) => Histogram {
  let bounds: readonly number[] | undefined;
  let boundaries: number[] = [];
  return ({ cell }) => {
    if (!isHistogram(cell)) return { buckets: { boundaries: [], counts: [] }, count: 0 };
    if (cell.bounds !== bounds) {
      bounds = cell.bounds;
      boundaries = [...bounds];
    }
    const counts: number[] = [];
    for (let i = 0; i < cell.counts.length; i++) counts.push(cell.counts[i] ?? 0);
    return { buckets: { boundaries, counts }, sum: cell.sum, count: cell.count };
  };
}

/** Seconds and nanoseconds. */
function hrTime(ms: number): HrTime {
  const seconds = Math.trunc(ms / 1_000);
  return [seconds, Math.round((ms - seconds * 1_000) * 1_000_000)];
}
