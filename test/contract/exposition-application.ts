/** An OpenTelemetry application as anybody has one: two libraries that measure, and a producer that knows exemplars. No StreamHouse. */
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  type CollectionResult,
  DataPointType,
  type IMetricReader,
  MeterProvider,
  type MetricProducer,
} from "@opentelemetry/sdk-metrics";

export const traceId = "0af7651916cd43dd8448eb211c80319c";
export const spanId = "b7ad6b7169203331";

export interface Application {
  /** From here on collecting fails. */
  fail(): void;
  shutdown(): Promise<void>;
}

/** The SDK that the application has; that of another major version fits too. */
export interface ApplicationSdk {
  readonly MeterProvider: typeof MeterProvider;
  readonly resourceFromAttributes: typeof resourceFromAttributes;
}

/** `createReader` makes the exposition under test, with a producer to collect from. */
export function startApplication(
  createReader: (metricProducers: MetricProducer[]) => IMetricReader,
  sdk: ApplicationSdk = { MeterProvider, resourceFromAttributes },
): Application {
  let failed = false;
  const producer = producerWithExemplars(() => failed);
  const meterProvider = new sdk.MeterProvider({
    readers: [createReader([producer])],
    resource: sdk.resourceFromAttributes({ "service.name": "shop" }),
  });
  const [shop, mail] = [meterProvider.getMeter("shop", "1.2.3"), meterProvider.getMeter("mail")];
  for (const meter of [shop, mail]) {
    const requests = meter.createCounter("requests.done", {
      unit: "{request}",
      description: "Requests",
    });
    requests.add(2, { route: "/" });
  }
  mail.createCounter("requests.done").add(1, { route: "/mail" });
  const options = { unit: "s", advice: { explicitBucketBoundaries: [0.5, 1] } };
  shop.createHistogram("request.duration", options).record(0.7, { "http.route": 'a "b" \\ \n c' });
  shop.createHistogram("queue.wait.seconds", options).record(0.2);
  shop.createUpDownCounter("cache.size", { unit: "By" }).add(4_096);
  shop.createCounter("disk.io", { unit: "By" }).add(7);
  shop.createGauge("cpu.load", { unit: "1" }).record(0.25);
  return {
    fail() {
      failed = true;
    },
    shutdown: () => meterProvider.shutdown(),
  };
}

/** One histogram, with the trace of a sample of its second bucket. */
function producerWithExemplars(failed: () => boolean): MetricProducer {
  const exemplars = [{ value: 0.7, timestampMs: 1_700_000_000_123, traceId, spanId }];
  const dataPoint = {
    attributes: {},
    startTime: [1_700_000_000, 0] as [number, number],
    endTime: [1_700_000_001, 0] as [number, number],
    value: { buckets: { boundaries: [0.5, 1], counts: [0, 1, 0] }, sum: 0.7, count: 1 },
    exemplars,
  };
  return {
    async collect(): Promise<CollectionResult> {
      if (failed()) throw new Error("the producer is broken");
      const metric = {
        descriptor: { name: "traced.duration", description: "", unit: "s", valueType: 1 },
        aggregationTemporality: AggregationTemporality.CUMULATIVE,
        dataPointType: DataPointType.HISTOGRAM as const,
        dataPoints: [dataPoint],
      };
      const scopeMetrics = [{ scope: { name: "producer" }, metrics: [metric] }];
      return {
        resourceMetrics: { resource: resourceFromAttributes({}), scopeMetrics },
        errors: [],
      };
    },
  };
}
