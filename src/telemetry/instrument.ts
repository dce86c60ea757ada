/**
 * What an instrument is: the descriptor that the catalogue lists, and the bucket bounds that histograms share. Used by the catalogue
 * and by everything that records or reports.
 */

/** What OpenTelemetry calls an instrument; an up-down counter is a gauge to Prometheus. */
export type InstrumentKind = "counter" | "upDownCounter" | "gauge" | "histogram";

/** How a gauge family that is too large is shown without `partition`. */
export type FoldRule = "sum" | "max" | "min" | "drop";

/**
 * Whose names an instrument has: ours, or OpenTelemetry's semantic conventions'. `telemetry: { families }` chooses.
 */
export type InstrumentFamily = "streamhouse" | "semconv";

/** The default of every `families` option. */
export const bothFamilies: readonly InstrumentFamily[] = Object.freeze(["streamhouse", "semconv"]);

/** All that is known of an instrument before it is made. */
export interface InstrumentDescriptor {
  readonly name: string;
  readonly kind: InstrumentKind;
  readonly family: InstrumentFamily;
  /** UCUM, as OpenTelemetry wants it. */
  readonly unit: string;
  readonly description: string;
  /** Attribute keys; `partition` is on counters only with `telemetry: { partitionLabels: true }`. */
  readonly attributes: readonly string[];
  /** Histograms: upper bounds, ascending. */
  readonly buckets?: readonly number[];
  /**
   * Gauges with `partition`: what a family with too many series shows without that label. A fold into an overflow
   * series would falsify it. `drop`: nothing (a sum of offsets means nothing).
   */
  readonly withoutPartition?: FoldRule;
  /**
   * Observed as 0 once when the series is released, on the bridge only: the SDK keeps an asynchronous series for
   * ever, and a revoked partition must not look as if it lagged.
   */
  readonly zeroWhenReleased?: boolean;
}

/** Durations; they contain the conventions' own bounds. */
export const SECONDS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
];
export const RECORDS: readonly number[] = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000,
];
/** 256 B to 16 MiB, times four each. */
export const BYTES: readonly number[] = [
  256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216,
];

/** An instrument as the catalogue writes it down. */
export function define(
  kind: InstrumentKind,
  name: string,
  unit: string,
  description: string,
  attributes: readonly string[],
  buckets?: readonly number[],
): InstrumentDescriptor {
  const family = name.startsWith("streamhouse.") ? "streamhouse" : "semconv";
  const common = { name, kind, family, unit, description, attributes } as const;
  return Object.freeze({ ...common, ...(buckets && { buckets }) });
}

/** A gauge with a `partition` label. */
export function perPartition(
  name: string,
  unit: string,
  description: string,
  attributes: readonly string[],
  withoutPartition: FoldRule,
  zeroWhenReleased: boolean = withoutPartition === "sum" || withoutPartition === "max",
): InstrumentDescriptor {
  return Object.freeze({
    ...define("gauge", name, unit, description, attributes),
    withoutPartition,
    zeroWhenReleased,
  });
}

/** What only rises: it outlives the component that counted it, and can be told in differences. All else is a state. */
export function isTotal({ kind }: InstrumentDescriptor): boolean {
  return kind === "counter" || kind === "histogram";
}
