/**
 * Hands cells to an SDK's reader as its own `MetricProducer`: exact histograms, at the cost of reading numbers, and a released
 * series is gone from the next collection on. Cumulative. Used by the bootstrap only; with `bootstrap-*` the only
 * room that names SDK types.
 */
import { type Attributes, type HrTime, ValueType } from "@opentelemetry/api";
import { emptyResource } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  type CollectionResult,
  type DataPoint,
  DataPointType,
  type Histogram,
  type MetricData,
  type MetricProducer,
} from "@opentelemetry/sdk-metrics";
import { type Clock, systemClock } from "../core/clock.ts";
import { version } from "../core/version.ts";
import { type Family, HistogramCell, type Series } from "./cells.ts";
import type { MetricHub } from "./hub.ts";
import { SCHEMA_URL, SCOPE_NAME } from "./semconv.ts";

export function createMetricProducer(hub: MetricHub, clock: Clock = systemClock): MetricProducer {
  return {
    collect(): Promise<CollectionResult> {
      const endTime = hrTime(clock.now());
      const metrics: MetricData[] = [];
      for (const family of hub.collect()) metrics.push(metricData(family, endTime));
      const scope = { name: SCOPE_NAME, version, schemaUrl: SCHEMA_URL };
      return Promise.resolve({
        // The reader puts its own resource in the place of this one.
        resourceMetrics: { resource: emptyResource(), scopeMetrics: [{ scope, metrics }] },
        errors: [],
      });
    },
  };
}

function metricData(family: Family, endTime: HrTime): MetricData {
  const { name, unit, description, kind } = family.descriptor;
  const descriptor = { name, unit, description, valueType: ValueType.DOUBLE };
  const common = { descriptor, aggregationTemporality: AggregationTemporality.CUMULATIVE };
  switch (kind) {
    case "histogram":
      return {
        ...common,
        dataPointType: DataPointType.HISTOGRAM,
        dataPoints: points(family, endTime, histogramValue),
      };
    case "gauge":
      return {
        ...common,
        dataPointType: DataPointType.GAUGE,
        dataPoints: points(family, endTime, numberValue),
      };
    default:
      return {
        ...common,
        dataPointType: DataPointType.SUM,
        isMonotonic: kind === "counter",
        dataPoints: points(family, endTime, numberValue),
      };
  }
}

function points<T>(family: Family, endTime: HrTime, value: (series: Series) => T): DataPoint<T>[] {
  const all: DataPoint<T>[] = [];
  for (const series of family.series.values()) {
    all.push({
      startTime: hrTime(series.startMs),
      endTime,
      attributes: series.attributes as Attributes,
      value: value(series),
    });
  }
  return all;
}

function numberValue(series: Series): number {
  return series.cell instanceof HistogramCell ? 0 : series.cell.value;
}

/** A copy: the cell goes on counting while the reader works. */
function histogramValue({ cell }: Series): Histogram {
  if (!(cell instanceof HistogramCell))
    return { buckets: { boundaries: [], counts: [] }, count: 0 };
  return {
    buckets: { boundaries: [...cell.bounds], counts: Array.from(cell.counts) },
    sum: cell.sum,
    count: cell.count,
  };
}

/** Seconds and nanoseconds. */
function hrTime(ms: number): HrTime {
  const seconds = Math.trunc(ms / 1_000);
  return [seconds, Math.round((ms - seconds * 1_000) * 1_000_000)];
}
