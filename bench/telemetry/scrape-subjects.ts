/**
 * The same series in three libraries, ready to be scraped: ours by the bootstrap, the stock SDK with
 * its stock exporter, and prom-client. 22 families of the kinds that METRICS requires (8 counters,
 * 2 up-down counters, 5 gauges, 7 histograms), each with as many series as asked for, of two
 * attributes.
 */
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import prom from "prom-client";
import { bootstrap } from "../../src/telemetry/bootstrap.ts";
import { catalogue, type InstrumentDescriptor } from "../../src/telemetry/catalogue.ts";
import type { HistogramCell } from "../../src/telemetry/cells.ts";
import { attachmentOf } from "../../src/telemetry/meter-bridge.ts";
import { createMetricRegistry } from "../../src/telemetry/registry.ts";

const required: readonly InstrumentDescriptor[] = [
  catalogue.recordsSent,
  catalogue.bytesSent,
  catalogue.sendDuration,
  catalogue.batchFlushDuration,
  catalogue.batchSizeRecords,
  catalogue.batchSizeBytes,
  catalogue.sendErrors,
  catalogue.pendingRecords,
  catalogue.recordsConsumed,
  catalogue.bytesConsumed,
  catalogue.pollDuration,
  catalogue.consumerLagRecords,
  catalogue.consumerLagSeconds,
  catalogue.lastCommittedOffset,
  catalogue.currentOffset,
  catalogue.activePartitions,
  catalogue.leaseRenewals,
  catalogue.recordsWritten,
  catalogue.writeLatency,
  catalogue.activeConnections,
  catalogue.grpcRequests,
  catalogue.grpcRequestDuration,
];

/** The same names and kinds, but all with the same two attributes, so that each can have as many series. */
const families: readonly InstrumentDescriptor[] = required.map((descriptor) => ({
  ...descriptor,
  attributes: ["topic", "group_id"],
}));

export const FAMILIES: number = families.length;

/** A library that holds the series. */
export interface Subject {
  /** Changes every series, as if work had been done since the last scrape. */
  touch(): void;
  /** Collects and writes the text; answers its length in bytes. */
  scrape(): Promise<number>;
  close(): Promise<void>;
}

export interface SubjectKind {
  readonly name: string;
  readonly note: string;
  /** Makes `seriesPerFamily` series of each family and gives each a value. */
  open(seriesPerFamily: number): Subject;
}

export const subjects: readonly SubjectKind[] = [
  {
    name: "ours",
    note: "what the bootstrap collects, in the chunks that /metrics sends",
    open: openOurs,
  },
  { name: "stock", note: "PrometheusExporter.collect() and PrometheusSerializer", open: openStock },
  { name: "prom-client", note: "Registry.metrics()", open: openPromClient },
];

type Touch = (value: number) => void;

function attributesOf(i: number): Record<string, string> {
  return { topic: `orders-${i % 50}`, group_id: `billing-service-${i}` };
}

/** `one` for every series of every family, called with a value of the family's size. */
function touchAll(touches: readonly (readonly [InstrumentDescriptor, Touch])[]): void {
  for (let i = 0; i < touches.length; i++) {
    const [descriptor, touch] = touches[i] as (typeof touches)[number];
    // Values over all buckets; amounts with many digits, as byte counts and durations have.
    const bound = descriptor.buckets?.[i % descriptor.buckets.length] ?? 1_234.5;
    touch(bound * 0.987_654_321);
  }
}

function touchesOf(
  seriesPerFamily: number,
  make: (descriptor: InstrumentDescriptor) => (attributes: Record<string, string>) => Touch,
): readonly (readonly [InstrumentDescriptor, Touch])[] {
  return families.flatMap((descriptor) => {
    const series = make(descriptor);
    return Array.from(
      { length: seriesPerFamily },
      (_, i) => [descriptor, series(attributesOf(i))] as const,
    );
  });
}

function bytesOf(text: string): number {
  return Buffer.byteLength(text);
}

function openOurs(seriesPerFamily: number): Subject {
  const sdk = bootstrap({ register: false, env: {} });
  const { gather } = sdk.metrics;
  const registry = createMetricRegistry({ seriesMax: Math.max(2_000, seriesPerFamily) });
  const detach = attachmentOf(sdk.meterProvider).attach(registry);
  const touches = touchesOf(seriesPerFamily, (descriptor) => (attributes) => {
    switch (descriptor.kind) {
      case "histogram": {
        const cell: HistogramCell = registry.histogram(descriptor, attributes);
        return (value) => cell.record(value);
      }
      case "gauge": {
        const cell = registry.gauge(descriptor, attributes);
        return (value) => cell.set(value);
      }
      case "upDownCounter": {
        const cell = registry.upDown(descriptor, attributes);
        return (value) => cell.add(value);
      }
      default: {
        const cell = registry.counter(descriptor, attributes);
        return (value) => cell.add(value);
      }
    }
  });
  return {
    touch: () => touchAll(touches),
    // What the handler of /metrics does with it.
    async scrape() {
      if (gather === undefined) throw new Error("the bootstrap cannot gather");
      let bytes = 0;
      for await (const chunk of (await gather()).write("text")) bytes += chunk.length;
      return bytes;
    },
    async close() {
      detach();
      await sdk.shutdown();
    },
  };
}

function openStock(seriesPerFamily: number): Subject {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const serializer = new PrometheusSerializer(undefined, false, undefined, false, true);
  const provider = new MeterProvider({ readers: [exporter] });
  const meter = provider.getMeter("bench");
  const touches = touchesOf(seriesPerFamily, (descriptor) => {
    const { name, unit, description } = descriptor;
    const options = { unit, description };
    switch (descriptor.kind) {
      case "histogram": {
        const advice = { explicitBucketBoundaries: [...(descriptor.buckets ?? [])] };
        const instrument = meter.createHistogram(name, { ...options, advice });
        return (attributes) => (value) => instrument.record(value, attributes);
      }
      case "gauge": {
        const instrument = meter.createGauge(name, options);
        return (attributes) => (value) => instrument.record(value, attributes);
      }
      case "upDownCounter": {
        const instrument = meter.createUpDownCounter(name, options);
        return (attributes) => (value) => instrument.add(value, attributes);
      }
      default: {
        const instrument = meter.createCounter(name, options);
        return (attributes) => (value) => instrument.add(value, attributes);
      }
    }
  });
  return {
    touch: () => touchAll(touches),
    async scrape() {
      const { resourceMetrics } = await exporter.collect();
      return bytesOf(serializer.serialize(resourceMetrics));
    },
    close: () => provider.shutdown(),
  };
}

function openPromClient(seriesPerFamily: number): Subject {
  const registry = new prom.Registry();
  const labelNames = ["topic", "group_id"];
  const touches = touchesOf(seriesPerFamily, (descriptor) => {
    const name = descriptor.name.replaceAll(".", "_");
    const options = { name, help: descriptor.description, labelNames, registers: [registry] };
    switch (descriptor.kind) {
      case "histogram": {
        const buckets = [...(descriptor.buckets ?? [])];
        const instrument = new prom.Histogram({ ...options, buckets });
        return (attributes) => {
          const child = instrument.labels(attributes);
          return (value) => child.observe(value);
        };
      }
      case "counter": {
        const instrument = new prom.Counter({ ...options, name: `${name}_total` });
        return (attributes) => {
          const child = instrument.labels(attributes);
          return (value) => child.inc(value);
        };
      }
      default: {
        const instrument = new prom.Gauge(options);
        return (attributes) => {
          const child = instrument.labels(attributes);
          return (value) => child.set(value);
        };
      }
    }
  });
  return {
    touch: () => touchAll(touches),
    scrape: async () => bytesOf(await registry.metrics()),
    async close() {
      registry.clear();
    },
  };
}
