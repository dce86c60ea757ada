/** What StreamHouse measures comes out of our serializer, sample for sample, as out of OpenTelemetry's own. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import type { ResourceMetrics } from "@opentelemetry/sdk-metrics";
import fc from "fast-check";
import type { MetricPoint, MetricStream } from "../../../src/prometheus/collected.ts";
import { bootstrap } from "../../../src/telemetry/bootstrap.ts";
import { catalogue, type InstrumentDescriptor } from "../../../src/telemetry/catalogue.ts";
import { createTelemetry } from "../../../src/telemetry/telemetry.ts";
import { collected, counter, gauge, histogram, samples, upDownCounter } from "./streams.ts";

const instruments = Object.values(catalogue).filter(({ family }) => family === "streamhouse");

/** Text with everything in it that needs care, but no half surrogate pairs and no NUL, which cannot be in a text format. */
const anyText = fc
  .oneof(fc.string({ unit: "binary" }), fc.constantFrom('"', "\\", "\n", '\\"\n', "orders", '=""'))
  .filter((text) => text.isWellFormed() && !text.includes("\0"));

const anyNumber = fc.oneof(fc.nat(), fc.double({ noNaN: true, min: 0 }), fc.constant(1e21));

function anyPoint(descriptor: InstrumentDescriptor): fc.Arbitrary<MetricPoint> {
  // An empty value would be no label: two series could be one to Prometheus.
  const values = Object.fromEntries(
    descriptor.attributes.map((name) => [name, anyText.filter((text) => text !== "")]),
  );
  const attributes = fc.oneof(
    { weight: 9, arbitrary: fc.record(values) },
    { weight: 1, arbitrary: fc.constant({ "otel.metric.overflow": true }) },
  );
  const bounds = descriptor.buckets ?? [];
  const counts = fc.array(fc.nat(), { minLength: bounds.length + 1, maxLength: bounds.length + 1 });
  const value =
    descriptor.kind === "histogram"
      ? fc.tuple(counts, anyNumber).map(([all, sum]) => ({
          buckets: { boundaries: [...bounds], counts: all },
          count: all.reduce((total, one) => total + one, 0),
          sum,
        }))
      : descriptor.kind === "counter"
        ? anyNumber
        : fc.oneof(anyNumber, fc.double());
  return fc.record({
    attributes,
    value,
    endTime: fc.constant([1, 0] as const),
  }) as fc.Arbitrary<MetricPoint>;
}

const make = { counter, gauge, histogram, upDownCounter };

function anyStream(descriptor: InstrumentDescriptor): fc.Arbitrary<MetricStream> {
  const selector = ({ attributes }: MetricPoint) => JSON.stringify(attributes);
  return fc
    .uniqueArray(anyPoint(descriptor), { selector, maxLength: 4 })
    .map((points) => make[descriptor.kind]({ ...descriptor, points }));
}

const anyCollection = fc
  .shuffledSubarray(instruments, { maxLength: 6 })
  .chain((some) => fc.tuple(...some.map(anyStream)))
  .map((streams) => collected(streams, { "service.name": 'a "service"', pid: 7 }));

const stock = new PrometheusSerializer(undefined, false, undefined, false, true);

function stockSamples(metrics: unknown): readonly string[] {
  const text = stock.serialize(metrics as ResourceMetrics);
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}

describe("the samples of streamhouse.* data", () => {
  it("are the stock serializer's, line for line, whatever the values are", async () => {
    await fc.assert(
      fc.asyncProperty(anyCollection, async (metrics) => {
        assert.deepEqual(await samples(metrics), stockSamples(metrics));
      }),
      { numRuns: 200 },
    );
  });

  for (const instruments of ["producer", "meter"] as const) {
    it(`are the same from /metrics with either serializer, by ${instruments}`, async () => {
      const sdk = bootstrap({ env: {}, register: false, instruments });
      const telemetry = createTelemetry(sdk, { name: "test" });
      for (const descriptor of Object.values(catalogue)) {
        const attributes = Object.fromEntries(
          descriptor.attributes.map((key) => [key, `a ${key}`]),
        );
        const { metrics } = telemetry;
        if (descriptor.kind === "counter") metrics.counter(descriptor, attributes).add(3);
        else if (descriptor.kind === "gauge") metrics.gauge(descriptor, attributes).set(0.5);
        else if (descriptor.kind === "histogram")
          metrics.histogram(descriptor, attributes).record(7);
        else metrics.upDown(descriptor, attributes).add(-2);
      }
      // What the telemetry says of itself differs from one scrape to the next.
      const shown = (text: string | undefined) =>
        text
          ?.split("\n")
          .filter(
            (line) => line.startsWith("streamhouse_") && !line.startsWith("streamhouse_telemetry_"),
          );
      const own = shown((await sdk.metrics.collect()).body);
      const theirs = shown((await sdk.metrics.stock?.())?.body);
      telemetry.close();
      await sdk.shutdown();
      assert.deepEqual(own, theirs);
      assert.ok((own ?? []).length > 100);
    });
  }
});
