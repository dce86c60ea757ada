/**
 * METRICS rule 7: telemetry never throws into the application, never blocks it, never holds a process open, and its loss is itself counted.
 */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import {
  createNoopMeter,
  type Meter,
  type MeterProvider,
  type Tracer,
  type TracerProvider,
} from "@opentelemetry/api";
import type { SpanProcessor } from "@opentelemetry/sdk-trace-base";
import { type BootstrapOptions, bootstrap } from "../../../src/telemetry/bootstrap.ts";
import type { TelemetryOptions } from "../../../src/telemetry/telemetry.ts";
import { createTestHouse } from "../../../src/testing/test-house.ts";
import { Child, root } from "../child.ts";
import { parseMetrics, type Sample, samplesOf, sumOf } from "../metrics-text.ts";

/** An object of which every property is a function that throws, or whose reading throws. */
function throwing(when: "read" | "called", except: Readonly<Record<string, unknown>> = {}): object {
  const fail = () => {
    throw new Error("the SDK's mistake");
  };
  return new Proxy(
    {},
    { get: (_, key) => except[String(key)] ?? (when === "read" ? fail() : fail), has: () => true },
  );
}

const records = 40;

/** Produces, consumes and commits; answers everything that an application can see of it. */
async function outcome(telemetry: TelemetryOptions | false): Promise<readonly unknown[]> {
  const house = await createTestHouse({ topics: ["orders"], telemetry });
  try {
    const producer = house.producer();
    const sends = Array.from({ length: records }, (_, i) =>
      producer.send({ topic: "orders", key: "k", value: `${i}`, headers: { n: `${i}` } }),
    );
    const sent = (await Promise.all(sends)).map(({ partition, offset }) => [partition, offset]);
    const failed = await producer.send({ topic: "nowhere", value: "x" }).catch((e) => e.code);
    const consumer = house.consumer({ group: "g", topics: ["orders"] });
    const read: unknown[] = [];
    while (read.length < records) {
      for (const record of await consumer.poll(5_000)) {
        const value = await consumer.process(record, () => record.text());
        read.push([record.offset, value, Object.keys(record.headers)]);
      }
    }
    await consumer.commit();
    const lag = await consumer.lag("orders", 0);
    return [sent, failed, read, lag];
  } finally {
    await house.close();
  }
}

const instrument = throwing("called");
/** One that is recorded, and has children. */
const span = throwing("called", {
  isRecording: () => true,
  spanContext: () => ({ traceId: "a".repeat(32), spanId: "b".repeat(16), traceFlags: 1 }),
});
const providers: Readonly<Record<string, TelemetryOptions>> = {
  "providers whose every property throws when it is read": {
    meterProvider: throwing("read") as MeterProvider,
    tracerProvider: throwing("read") as TracerProvider,
  },
  "providers that throw in every method": {
    meterProvider: throwing("called") as MeterProvider,
    tracerProvider: throwing("called") as TracerProvider,
  },
  "a meter and a tracer that throw in every method": {
    meterProvider: { getMeter: () => throwing("called") as Meter },
    tracerProvider: { getTracer: () => throwing("called") as Tracer },
  },
  "instruments and spans that throw in every method": {
    meterProvider: {
      getMeter: () =>
        new Proxy(createNoopMeter(), {
          get: (_, key) => (/^create/.test(String(key)) ? () => instrument : () => {}),
        }),
    },
    tracerProvider: {
      getTracer: () =>
        ({
          startSpan: () => span,
          startActiveSpan: () => {
            throw new Error("not used");
          },
        }) as unknown as Tracer,
    },
  },
};

/** What the bootstrap says of itself after the work. */
async function withBootstrap(options: BootstrapOptions): Promise<readonly Sample[]> {
  const quiet = { warn: () => {} };
  const sdk = bootstrap({
    ...{ register: false, env: {}, logger: quiet, shutdownTimeoutMs: 200 },
    ...options,
  });
  assert.deepEqual(await outcome(sdk), await outcome(false));
  const tracing = sdk.tracerProvider as { forceFlush?(): Promise<void> };
  await tracing.forceFlush?.().catch(() => {});
  const metering = sdk.meterProvider as { forceFlush?(): Promise<void> };
  await metering.forceFlush?.().catch(() => {});
  const { body } = await sdk.metrics.collect();
  await sdk.shutdown();
  return parseMetrics(body);
}

describe("rule 7: telemetry", () => {
  for (const [what, telemetry] of Object.entries(providers)) {
    it(`changes nothing that the application sees, with ${what}`, async () => {
      assert.deepEqual(await outcome(telemetry), await outcome(false));
    });
  }

  it("counts the spans that a processor of the application threw away", async () => {
    const spanProcessors = [throwing("called") as SpanProcessor];
    const samples = await withBootstrap({ spanProcessors });
    const name = "streamhouse_telemetry_spans_dropped_total";
    assert.ok(sumOf(samples, name, { reason: "processor_failed" }) > 0);
  });

  it("counts exports that failed, and never waits for a collector that does not answer", async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const env = {
      ...{ OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_METRICS_EXPORTER: "otlp" },
      ...{ OTEL_EXPORTER_OTLP_TIMEOUT: "50", OTEL_METRIC_EXPORT_INTERVAL: "60000" },
      ...{ OTEL_BSP_SCHEDULE_DELAY: "60000" },
    };
    const samples = await withBootstrap({ env });
    const name = "streamhouse_telemetry_export_failures_total";
    for (const signal of ["traces", "metrics"]) assert.ok(sumOf(samples, name, { signal }) > 0);
    silent.closeAllConnections();
    await new Promise((resolve) => silent.close(resolve));
  });

  it("reports the rest when a callback of the application throws, and counts that", async () => {
    const sdk = bootstrap({ register: false, env: {} });
    const gauge = sdk.meterProvider.getMeter("app").createObservableGauge("app.broken");
    gauge.addCallback(() => {
      throw new Error("the application's mistake");
    });
    await outcome(sdk);
    await sdk.metrics.collect();
    const samples = parseMetrics((await sdk.metrics.collect()).body);
    assert.equal(sumOf(samples, "streamhouse_records_sent_total"), records);
    assert.ok(sumOf(samples, "streamhouse_telemetry_collect_errors_total") > 0);
    assert.deepEqual(samplesOf(samples, "app_broken"), []);
    await sdk.shutdown();
  });

  for (const how of ["no SDK", "bootstrap", "collector down"]) {
    it(`does not hold a process open: ${how}`, async () => {
      const child = new Child(`${root}test/integration/metrics-rules/ends-by-itself.ts`, [how]);
      child.process.stdin.end();
      const { code, stdout, stderr } = await child.finished();
      assert.equal(code, 0, stderr);
      assert.match(stdout, /sent at 0/);
    });
  }
});
