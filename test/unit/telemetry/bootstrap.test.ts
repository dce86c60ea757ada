import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { context, metrics, propagation, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { type BootstrapOptions, bootstrap } from "../../../src/telemetry/bootstrap.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { createTelemetry } from "../../../src/telemetry/telemetry.ts";

/** Runs with the bootstrap registered, and shuts it down whatever happens. */
async function withSdk(
  options: BootstrapOptions,
  work: (sdk: ReturnType<typeof bootstrap>, told: readonly string[]) => Promise<void>,
): Promise<void> {
  const told: string[] = [];
  const logger = { warn: (message: string) => void told.push(message) };
  const sdk = bootstrap({ env: {}, logger, ...options });
  try {
    await work(sdk, told);
  } finally {
    await sdk.shutdown();
  }
}

const line = (body: string, name: string) =>
  body.split("\n").filter((text) => text.startsWith(`${name}{`) || text.startsWith(`${name} `));

describe("bootstrap", () => {
  for (const instruments of ["producer", "meter"] as const) {
    it(`counts everything exactly once, by ${instruments}, over two components`, async () => {
      await withSdk({ instruments }, async (sdk) => {
        const components = [1, 2].map((n) => {
          const telemetry = createTelemetry(undefined, { name: "test" });
          telemetry.metrics.counter(catalogue.recordsSent, { topic: "t", partition: n }).add(n);
          telemetry.metrics.histogram(catalogue.sendDuration, { topic: "t" }).record(0.25);
          telemetry.metrics.upDown(catalogue.pendingRecords, { topic: "t" }).add(n);
          return telemetry;
        });
        const { body, contentType } = await sdk.metrics.collect();
        assert.equal(contentType, "text/plain; version=0.0.4; charset=utf-8");
        const name = "streamhouse_records_sent_total";
        assert.deepEqual(line(body, name), [`${name}{topic="t"} 3`]);
        assert.deepEqual(line(body, "streamhouse_pending_records"), [
          'streamhouse_pending_records{topic="t"} 3',
        ]);
        assert.match(body, /^streamhouse_send_duration_seconds_count\{topic="t"\} 2$/m);
        assert.match(body, /^streamhouse_send_duration_seconds_bucket\{topic="t",le="0.25"\} 2$/m);
        assert.match(body, /^# TYPE streamhouse_pending_records gauge$/m);
        for (const one of components) one.close();
        const closed = await sdk.metrics.collect();
        assert.deepEqual(line(closed.body, name), [`${name}{topic="t"} 3`]);
      });
    });
  }

  it("shows a released series no more", async () => {
    await withSdk({}, async (sdk) => {
      const telemetry = createTelemetry(undefined, { name: "test" });
      const attributes = { topic: "t", partition: 0, group_id: "g" };
      telemetry.metrics.gauge(catalogue.consumerLagRecords, attributes).set(4);
      assert.match((await sdk.metrics.collect()).body, /^streamhouse_consumer_lag_records\{/m);
      telemetry.metrics.release(catalogue.consumerLagRecords, attributes);
      assert.doesNotMatch(
        (await sdk.metrics.collect()).body,
        /^streamhouse_consumer_lag_records\{/m,
      );
      telemetry.close();
    });
  });

  it("is found by components that were made before it", async () => {
    const telemetry = createTelemetry(undefined, { name: "test" });
    telemetry.metrics.counter(catalogue.recordsSent, { topic: "early" }).add(100);
    await withSdk({}, async (sdk) => {
      telemetry.close();
      const { body } = await sdk.metrics.collect();
      assert.match(body, /^streamhouse_records_sent_total\{topic="early"\} 100$/m);
    });
  });

  it("takes the application's own instruments along, without scope labels", async () => {
    await withSdk({}, async (sdk) => {
      metrics.getMeter("app").createCounter("app.orders").add(2);
      const { body } = await sdk.metrics.collect();
      assert.match(body, /^app_orders_total 2$/m);
      assert.doesNotMatch(body, /otel_scope/);
    });
  });

  it("answers the rest when a callback of the application throws, and counts it", async () => {
    await withSdk({}, async (sdk) => {
      const gauge = metrics.getMeter("app").createObservableGauge("app.broken");
      gauge.addCallback(() => {
        throw new Error("the application's mistake");
      });
      await sdk.metrics.collect();
      const { body } = await sdk.metrics.collect();
      assert.match(body, /^streamhouse_telemetry_collect_errors_total [1-9]/m);
    });
  });

  it("fails to collect after its shutdown, instead of answering an old text", async () => {
    let source: ReturnType<typeof bootstrap>["metrics"] | undefined;
    await withSdk({}, async (sdk) => {
      source = sdk.metrics;
    });
    await assert.rejects(async () => source?.collect(), /shutdown/);
  });

  it("puts the environment and the options into the resource", async () => {
    const env = { OTEL_RESOURCE_ATTRIBUTES: "team=logs,zone=a", OTEL_SERVICE_NAME: "from-env" };
    await withSdk({ env, resourceAttributes: { zone: "b" } }, async (sdk) => {
      const info = line((await sdk.metrics.collect()).body, "target_info").join();
      assert.match(info, /service_name="from-env"/);
      assert.match(info, /team="logs"/);
      assert.match(info, /zone="b"/);
      assert.match(info, /service_instance_id="[0-9a-f-]{36}"/);
    });
    await withSdk({ env, serviceName: "mine" }, async (sdk) => {
      assert.match((await sdk.metrics.collect()).body, /service_name="mine"/);
    });
  });

  it("registers context, W3C propagation and tracing, and takes them back", async () => {
    const exporter = new InMemorySpanExporter();
    const spanProcessors = [new SimpleSpanProcessor(exporter)];
    await withSdk({ spanProcessors }, async () => {
      const span = trace.getTracer("app").startSpan("work");
      const carrier: Record<string, string> = {};
      await context.with(trace.setSpan(ROOT_CONTEXT, span), async () => {
        await Promise.resolve();
        propagation.inject(context.active(), carrier);
      });
      assert.match(carrier.traceparent ?? "", new RegExp(`-${span.spanContext().spanId}-01$`));
      span.end();
      assert.equal(exporter.getFinishedSpans().length, 1);
    });
    assert.equal(trace.getTracer("app").startSpan("after").isRecording(), false);
    const carrier = {};
    propagation.inject(context.active(), carrier);
    assert.deepEqual(carrier, {});
  });

  it("makes no spans when they would go nowhere", async () => {
    await withSdk({}, async (sdk) => {
      assert.equal(sdk.tracerProvider.getTracer("app").startSpan("x").isRecording(), false);
    });
  });

  it("samples as the environment says, and below a parent as the parent says", async () => {
    const exporter = new InMemorySpanExporter();
    const spanProcessors = [new SimpleSpanProcessor(exporter)];
    const env = { OTEL_TRACES_SAMPLER: "parentbased_always_off" };
    await withSdk({ env, spanProcessors, register: false }, async (sdk) => {
      const tracer = sdk.tracerProvider.getTracer("app");
      assert.equal(tracer.startSpan("root").isRecording(), false);
      const parent = { traceId: "a".repeat(32), spanId: "b".repeat(16), traceFlags: 1 };
      const under = trace.setSpanContext(ROOT_CONTEXT, parent);
      assert.equal(tracer.startSpan("child", {}, under).isRecording(), true);
    });
  });

  it("leaves globals that somebody else registered, and says so", async () => {
    await withSdk({}, async (first) => {
      await withSdk({}, async (second, told) => {
        assert.equal(metrics.getMeterProvider(), first.meterProvider);
        assert.match(told.join("\n"), /a global meter provider is registered already/);
        assert.notEqual(second.meterProvider, first.meterProvider);
      });
      assert.equal(metrics.getMeterProvider(), first.meterProvider);
    });
  });

  it("does nothing with OTEL_SDK_DISABLED", async () => {
    const before = metrics.getMeterProvider();
    await withSdk({ env: { OTEL_SDK_DISABLED: "true" } }, async (sdk) => {
      assert.equal(metrics.getMeterProvider(), before);
      assert.equal((await sdk.metrics.collect()).body, "# OTEL_SDK_DISABLED=true\n");
    });
  });

  it("leaves the work to Deno's own OpenTelemetry when that is on, and says so", async () => {
    const before = metrics.getMeterProvider();
    await withSdk({ env: { OTEL_DENO: "true" } }, async (sdk, told) => {
      assert.equal(metrics.getMeterProvider(), before);
      assert.match(told.join(), /OTEL_DENO=true/);
      assert.match((await sdk.metrics.collect()).body, /^# OTEL_DENO=true/);
    });
  });

  it("tells a user of the old Jaeger variable once where to go", async () => {
    const env = { OTEL_EXPORTER_JAEGER_ENDPOINT: "http://jaeger:14268/api/traces" };
    await withSdk({ env }, async (sdk, told) => {
      assert.equal(told.length, 1);
      assert.deepEqual(sdk.warnings, told);
      assert.match(told[0] ?? "", /OTEL_EXPORTER_OTLP_ENDPOINT/);
    });
  });

  it("ends its shutdown in time when a span processor never ends its own", async () => {
    const hanging = {
      onStart() {},
      onEnd() {},
      forceFlush: () => Promise.resolve(),
      shutdown: () => new Promise<void>(() => {}),
    };
    const sdk = bootstrap({ env: {}, spanProcessors: [hanging], shutdownTimeoutMs: 20 });
    await sdk.shutdown();
    assert.equal(trace.getTracer("app").startSpan("after").isRecording(), false);
  });

  it("can be shut down twice, and disposed", async () => {
    const sdk = bootstrap({ env: {} });
    await Promise.all([sdk.shutdown(), sdk.shutdown()]);
    await sdk[Symbol.asyncDispose]();
  });
});
