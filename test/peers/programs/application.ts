/**
 * An application that measures the workload by one SDK, by public doors only: `own` is our bootstrap, `2` and `3` are applications that
 * registered an SDK of their own. Prints what a Prometheus would scrape of it, while everything is open. Argument: which. Traces go
 * where `OTEL_EXPORTER_OTLP_ENDPOINT` says. Started by tests as a process of its own.
 */
import process from "node:process";
import * as api from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { bootstrap, prometheusViews } from "../../../src/telemetry.ts";
import { loadSdk3 } from "../otel-3.ts";
import { scrapeSettled, work } from "../workload.ts";

interface Sdk {
  scrape(): Promise<string>;
  shutdown(): Promise<void>;
}

const makers: Readonly<Record<string, () => Sdk>> = {
  own() {
    const sdk = bootstrap();
    return {
      scrape: async () => (await sdk.metrics.collect()).body,
      shutdown: () => sdk.shutdown(),
    };
  },
  2() {
    const exporter = new PrometheusExporter({ preventServerStart: true });
    const resource = resourceFromAttributes({ "service.name": "application-2" });
    const meterProvider = new MeterProvider({
      resource,
      readers: [exporter],
      views: prometheusViews(),
    });
    const tracerProvider = new BasicTracerProvider({
      resource,
      spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
    });
    api.metrics.setGlobalMeterProvider(meterProvider);
    api.trace.setGlobalTracerProvider(tracerProvider);
    api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    api.propagation.setGlobalPropagator(new W3CTraceContextPropagator());
    return {
      scrape: () => scrape(exporter),
      async shutdown() {
        await tracerProvider.shutdown();
        await meterProvider.shutdown();
      },
    };
  },
  3() {
    const { node, prometheus, otlpTraces } = loadSdk3();
    const exporter = new prometheus.PrometheusExporter({ preventServerStart: true });
    const sdk = new node.NodeSDK({
      serviceName: "application-3",
      traceExporter: new otlpTraces.OTLPTraceExporter(),
      metricReaders: [exporter],
      views: prometheusViews(),
    });
    sdk.start();
    return { scrape: () => scrape(exporter), shutdown: () => sdk.shutdown() };
  },
};

/** What the exporter's request handler would write. */
function scrape(exporter: PrometheusExporter): Promise<string> {
  return new Promise((resolve) => {
    const response = { statusCode: 0, setHeader() {}, end: resolve };
    type Handler = typeof exporter.getMetricsRequestHandler;
    exporter.getMetricsRequestHandler(
      {} as Parameters<Handler>[0],
      response as unknown as Parameters<Handler>[1],
    );
  });
}

const sdk = makers[process.argv[2] ?? ""]?.();
if (sdk === undefined) throw new Error("expected own, 2 or 3");
const workload = await api.trace
  .getTracer("application")
  .startActiveSpan("the work", async (span) => {
    const { traceId } = span.spanContext();
    // Without trace contexts in the records their bytes are the same, whoever traces.
    const done = await work({ propagation: "off" });
    span.end();
    return { ...done, traceId };
  });
const text = await scrapeSettled(() => sdk.scrape());
await workload.close();
await sdk.shutdown();
console.log(JSON.stringify({ text, traceId: workload.traceId }));
