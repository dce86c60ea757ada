/** An SDK reader that collects when a test asks, and its result as plain data. */
import {
  AggregationTemporality,
  type AggregationTemporalitySelector,
  DataPointType,
  type MetricProducer,
  MetricReader,
  type ResourceMetrics,
} from "@opentelemetry/sdk-metrics";

export class MemoryReader extends MetricReader {
  constructor(
    metricProducers: MetricProducer[] = [],
    aggregationTemporalitySelector: AggregationTemporalitySelector = () =>
      AggregationTemporality.CUMULATIVE,
  ) {
    super({ aggregationTemporalitySelector, metricProducers });
  }

  protected override onForceFlush(): Promise<void> {
    return Promise.resolve();
  }

  protected override onShutdown(): Promise<void> {
    return Promise.resolve();
  }

  /** The metrics of `streamhouse.*` and whatever else there is. */
  async read(): Promise<Record<string, ReadMetric>> {
    const { resourceMetrics, errors } = await this.collect();
    if (errors.length > 0) throw errors[0];
    return readMetrics(resourceMetrics);
  }
}

export interface ReadMetric {
  readonly unit: string;
  readonly description: string;
  readonly kind: string;
  readonly scope: string;
  /** By `key=value,…`; of histograms `{ count, sum, counts, bounds }`. */
  readonly points: Readonly<Record<string, unknown>>;
}

export function readMetrics(resourceMetrics: ResourceMetrics): Record<string, ReadMetric> {
  const all: Record<string, ReadMetric> = {};
  for (const { scope, metrics } of resourceMetrics.scopeMetrics) {
    for (const metric of metrics) {
      const points: Record<string, unknown> = {};
      for (const point of metric.dataPoints) {
        const labels = Object.entries(point.attributes).map(([key, value]) => `${key}=${value}`);
        points[labels.sort().join(",")] = pointValue(point.value);
      }
      const { name, unit, description } = metric.descriptor;
      const monotonic = metric.dataPointType === DataPointType.SUM && metric.isMonotonic;
      const kind = `${DataPointType[metric.dataPointType]}${monotonic ? " monotonic" : ""}`;
      const from = `${scope.name}@${scope.version} ${scope.schemaUrl}`;
      all[name] = { unit, description, kind, scope: from, points };
    }
  }
  return all;
}

function pointValue(value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("buckets" in value)) return value;
  const { count, sum, buckets } = value as {
    count: number;
    sum: number;
    buckets: { counts: number[]; boundaries: number[] };
  };
  return { count, sum: Number(sum.toPrecision(9)), ...buckets };
}
