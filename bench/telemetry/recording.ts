/**
 * One measurement in ns, by everything that could take it: our cells, our cells over the bridge,
 * the OpenTelemetry SDK called directly, and prom-client with its labels bound beforehand. All count
 * into 16 series in turn, of two attributes each.
 */
import { ROOT_CONTEXT } from "@opentelemetry/api";
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import prom from "prom-client";
import { catalogue } from "../../src/telemetry/catalogue.ts";
import { createMeterBridge } from "../../src/telemetry/meter-bridge.ts";
import { createMetricRegistry } from "../../src/telemetry/registry.ts";
import type { Contender } from "../contender.ts";
import { effortOf } from "./effort.ts";

const SERIES = 16;
const MASK = SERIES - 1;
const counters = catalogue.recordsConsumed;
const histograms = catalogue.endToEndLatency;
const buckets = [...(histograms.buckets ?? [])];

// Durations from 0.1 ms to 10 s, spread evenly over the buckets, in no order.
const durations = Float64Array.from(
  { length: 1_024 },
  (_, i) => 10 ** (((i * 613) % 1_024) / 205 - 4),
);

/** Each of these measures one call, in processor time. */
export function recordingContenders(calls: number): Contender[] {
  // An SDK call takes a hundred times as long as a cell: fewer are as exact.
  const few = Math.ceil(calls / 20);
  return [
    ours("telemetry-counter-cell", calls, false, "add() on a bound cell"),
    ours("telemetry-histogram-cell", calls, true, "record() on a bound cell"),
    bridged("telemetry-histogram-bridge", few),
    sdk("telemetry-counter-sdk", few, false, "Counter.add(1, attributes) of the SDK"),
    sdk("telemetry-histogram-sdk", few, true, "Histogram.record(value, attributes) of the SDK"),
    promClient("telemetry-counter-prom-client", few, false, "inc() of a bound child"),
    promClient("telemetry-histogram-prom-client", few, true, "observe() of a bound child"),
  ];
}

function attributesOf(i: number): Record<string, string> {
  return { topic: `topic-${i}`, group_id: "billing" };
}

function ours(name: string, calls: number, histogram: boolean, note: string): Contender {
  const registry = createMetricRegistry();
  if (histogram) {
    const cells = each((i) => registry.histogram(histograms, attributesOf(i)));
    return timed(name, calls, note, () => {
      for (let i = 0; i < calls; i++) at(cells, i).record(duration(i));
    });
  }
  const cells = each((i) => registry.counter(counters, attributesOf(i)));
  return timed(name, calls, note, () => {
    for (let i = 0; i < calls; i++) at(cells, i).add(1);
  });
}

function bridged(name: string, calls: number): Contender {
  const provider = stockProvider();
  const registry = createMetricRegistry();
  createMeterBridge(provider).attach(registry);
  const cells = each((i) => registry.histogram(histograms, attributesOf(i)));
  return timed(
    name,
    calls,
    "record() on a bound cell that the bridge reports (counters cost a cell)",
    () => {
      for (let i = 0; i < calls; i++) at(cells, i).record(duration(i));
    },
  );
}

function sdk(name: string, calls: number, histogram: boolean, note: string): Contender {
  const meter = stockProvider().getMeter("bench");
  const all = each(attributesOf);
  if (histogram) {
    const advice = { explicitBucketBoundaries: buckets };
    const instrument = meter.createHistogram(histograms.name, { advice });
    return timed(name, calls, note, () => {
      for (let i = 0; i < calls; i++) instrument.record(duration(i), at(all, i), ROOT_CONTEXT);
    });
  }
  const instrument = meter.createCounter(counters.name);
  return timed(name, calls, note, () => {
    for (let i = 0; i < calls; i++) instrument.add(1, at(all, i), ROOT_CONTEXT);
  });
}

function promClient(name: string, calls: number, histogram: boolean, note: string): Contender {
  const labelNames = ["topic", "group_id"];
  const common = { name: "bench", help: "bench", labelNames, registers: [] };
  if (histogram) {
    const instrument = new prom.Histogram({ ...common, buckets });
    const children = each((i) => instrument.labels(attributesOf(i)));
    return timed(name, calls, note, () => {
      for (let i = 0; i < calls; i++) at(children, i).observe(duration(i));
    });
  }
  const instrument = new prom.Counter(common);
  const children = each((i) => instrument.labels(attributesOf(i)));
  return timed(name, calls, note, () => {
    for (let i = 0; i < calls; i++) at(children, i).inc(1);
  });
}

function stockProvider(): MeterProvider {
  return new MeterProvider({ readers: [new PrometheusExporter({ preventServerStart: true })] });
}

function timed(name: string, calls: number, note: string, work: () => void): Contender {
  return {
    name,
    unit: "ns",
    limits: [],
    note: `${note}, ${SERIES} series in turn, processor time`,
    async round() {
      const { cpuSeconds, wallSeconds } = await effortOf(work);
      return {
        value: (cpuSeconds * 1e9) / calls,
        also: { wall: (wallSeconds * 1e9) / calls },
      };
    },
  };
}

function each<T>(make: (i: number) => T): readonly T[] {
  return Array.from({ length: SERIES }, (_, i) => make(i));
}

function at<T>(list: readonly T[], i: number): T {
  return list[i & MASK] as T;
}

function duration(i: number): number {
  return durations[i & 1_023] as number;
}
