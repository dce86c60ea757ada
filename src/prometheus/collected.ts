/**
 * What a metrics SDK's reader collects, by shape: the exposition imports no SDK, so that any 2.x or 3.x application (and any
 * test) can hand in its own. The numbers are the SDK's `DataPointType` and `AggregationTemporality`. Vocabulary of this wing.
 */

/** Attribute values as they come: the SDK promises primitives and arrays, users give anything. */
export type AttributeMap = Readonly<Record<string, unknown>>;

/** The SDK's `DataPointType`: it is part of its public data, and the same in 2.x and 3.x. */
export const pointTypes = { histogram: 0, exponentialHistogram: 1, gauge: 2, sum: 3 } as const;

/** The SDK's `AggregationTemporality.DELTA`. */
export const DELTA = 0;

/** A sample that can be looked up in a trace. No part of the JavaScript SDK's data points yet: who has some adds them. */
export interface PointExemplar {
  readonly value: number;
  /** Milliseconds since 1970. */
  readonly timestampMs: number;
  /** 32 and 16 hexadecimal digits. */
  readonly traceId: string;
  readonly spanId: string;
  /** What the aggregation left out. Written if it fits OpenMetrics' limit of 128 characters. */
  readonly filteredAttributes?: AttributeMap | undefined;
}

export interface MetricPoint {
  readonly attributes: AttributeMap;
  /** Seconds and nanoseconds. */
  readonly endTime: readonly [number, number];
  /** A number, a histogram or an exponential histogram. */
  readonly value: unknown;
  readonly exemplars?: readonly PointExemplar[] | undefined;
}

export interface FixedHistogram {
  readonly buckets: { readonly boundaries: readonly number[]; readonly counts: readonly number[] };
  readonly sum?: number | undefined;
  readonly count: number;
  readonly min?: number | undefined;
}

export interface ExponentialBuckets {
  readonly offset: number;
  readonly bucketCounts: readonly number[];
}

export interface ExponentialHistogram {
  readonly count: number;
  readonly sum?: number | undefined;
  readonly scale: number;
  readonly zeroCount: number;
  readonly positive: ExponentialBuckets;
  readonly negative: ExponentialBuckets;
}

export interface MetricStream {
  readonly descriptor: {
    readonly name: string;
    readonly description: string;
    readonly unit: string;
  };
  readonly dataPointType: number;
  readonly aggregationTemporality: number;
  readonly isMonotonic?: boolean | undefined;
  readonly dataPoints: readonly MetricPoint[];
}

export interface MetricScope {
  readonly name: string;
  readonly version?: string | undefined;
  readonly schemaUrl?: string | undefined;
  readonly attributes?: AttributeMap | undefined;
}

/** The SDK's `ResourceMetrics`, as far as the exposition reads it. */
export interface CollectedMetrics {
  readonly resource: {
    readonly attributes: AttributeMap;
    /** True while detectors are still at work. */
    readonly asyncAttributesPending?: boolean | undefined;
    waitForAsyncAttributes?(): Promise<void>;
  };
  readonly scopeMetrics: readonly {
    readonly scope: MetricScope;
    readonly metrics: readonly MetricStream[];
  }[];
}

/**
 * Whatever collects: `createPrometheusReader()`, the stock `PrometheusExporter({ preventServerStart: true })`, or any other pull
 * reader of the SDK.
 */
export interface MetricCollector {
  collect(options?: { timeoutMillis?: number }): Promise<{
    readonly resourceMetrics: CollectedMetrics;
    /** What failed while the rest was collected. */
    readonly errors: readonly unknown[];
  }>;
}
