/**
 * A metric reader for an application's own MeterProvider that is asked, never asks: it collects when a handler is scraped. It has the
 * SDK's reader interface and none of its code, so that it fits any 2.x or 3.x SDK and brings no server along. Part of the door
 * `./prometheus`.
 */
import type {
  AggregationOption,
  CollectionResult,
  IMetricReader,
  InstrumentType,
  MetricProducer,
} from "@opentelemetry/sdk-metrics";

/** What the reader collects, and how. */
export interface PrometheusReaderOptions {
  /** Collected beside the SDK's own instruments. Default none. */
  readonly metricProducers?: readonly MetricProducer[] | undefined;
  /** How instruments that no view names are aggregated. Default: the SDK's way for each kind. */
  readonly aggregationSelector?:
    | ((instrumentType: InstrumentType) => AggregationOption)
    | undefined;
  /** Series of one instrument before the SDK folds the rest into one. Default 2,000, the SDK's own. */
  readonly cardinalityLimit?: number | undefined;
}

/** Hand it to one `new MeterProvider({ readers: [reader] })`, and to `createPrometheusHandler(reader)`. */
export type PrometheusReader = IMetricReader;

/** The SDK's `AggregationTemporality.CUMULATIVE`: Prometheus counts from the start. */
const CUMULATIVE = 1;
/** The SDK's `AggregationType.DEFAULT`. */
const DEFAULT_AGGREGATION = 0;
const cardinalityLimitDefault = 2_000;

/** A reader without a server of its own. */
export function createPrometheusReader(options: PrometheusReaderOptions = {}): PrometheusReader {
  return new PullReader(options);
}

class PullReader implements IMetricReader {
  readonly #options: PrometheusReaderOptions;
  #sdk: MetricProducer | undefined;
  #shutdown = false;

  constructor(options: PrometheusReaderOptions) {
    this.#options = options;
  }

  setMetricProducer(metricProducer: MetricProducer): void {
    if (this.#sdk !== undefined) {
      throw new Error("this reader has a MeterProvider already: make one reader for each");
    }
    this.#sdk = metricProducer;
  }

  selectAggregation(instrumentType: InstrumentType): AggregationOption {
    return this.#options.aggregationSelector?.(instrumentType) ?? { type: DEFAULT_AGGREGATION };
  }

  selectAggregationTemporality(): typeof CUMULATIVE {
    return CUMULATIVE;
  }

  selectCardinalityLimit(): number {
    return this.#options.cardinalityLimit ?? cardinalityLimitDefault;
  }

  async collect(options?: { timeoutMillis?: number }): Promise<CollectionResult> {
    if (this.#sdk === undefined) {
      throw new Error("the reader has no MeterProvider: new MeterProvider({ readers: [reader] })");
    }
    if (this.#shutdown) throw new Error("the MeterProvider is shut down");
    const producers = this.#options.metricProducers ?? [];
    const [own, ...others] = await Promise.all([
      this.#sdk.collect(options),
      ...producers.map((producer) => producer.collect(options)),
    ]);
    return {
      resourceMetrics: {
        // The producers' resources are not looked at: there is one target.
        resource: own.resourceMetrics.resource,
        scopeMetrics: [own, ...others].flatMap((result) => result.resourceMetrics.scopeMetrics),
      },
      errors: [own, ...others].flatMap((result) => result.errors),
    };
  }

  forceFlush(): Promise<void> {
    return Promise.resolve();
  }

  shutdown(): Promise<void> {
    this.#shutdown = true;
    return Promise.resolve();
  }
}
