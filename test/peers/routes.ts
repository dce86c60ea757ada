/**
 * The ways by which an application's metrics reach Prometheus, all of them on one and the same run: our own `/metrics`, the stock
 * exporter and our `./prometheus` door in a 2.x and in a 3.x SDK, and a real Collector's Prometheus exporter fed by each over OTLP.
 */

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-http";
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import {
  createPrometheusHandler,
  createPrometheusReader,
  type PrometheusReader,
} from "../../src/prometheus.ts";
import { ATTACHMENT, attachmentOf, createMeterBridge } from "../../src/telemetry/meter-bridge.ts";
import { bootstrap, prometheusViews, type TelemetryOptions } from "../../src/telemetry.ts";
import { type Collector, startCollector } from "./backends.ts";
import { loadSdk3, sdk3Version } from "./otel-3.ts";
import { teeMeterProvider } from "./tee-provider.ts";

export interface Route {
  readonly name: string;
  /** Prometheus's text. */
  scrape(): Promise<string>;
}

export interface Routes {
  /** For components: what they count goes every way. */
  readonly telemetry: TelemetryOptions;
  readonly own: Route;
  readonly others: readonly Route[];
  stop(): Promise<void>;
}

/** Pushes happen when the tests ask, not by the clock. */
const never = 2 ** 30;

export async function openRoutes(): Promise<Routes> {
  const collectors = {
    own: await startCollector(),
    two: await startCollector(),
    three: await startCollector(),
  };
  const own = bootstrap({
    register: false,
    serviceName: "own",
    env: {
      OTEL_METRICS_EXPORTER: "prometheus,otlp",
      OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${collectors.own.otlp}/v1/metrics`,
      OTEL_METRIC_EXPORT_INTERVAL: String(never),
    },
  });
  const two = await applicationWithSdk2(collectors.two);
  const three = await applicationWithSdk3(collectors.three);
  const ownAttachment = attachmentOf(own.meterProvider);
  const bridge = createMeterBridge(teeMeterProvider([two.provider, three.provider]));
  const meterProvider = {
    getMeter: own.meterProvider.getMeter.bind(own.meterProvider),
    [ATTACHMENT]: {
      families: ownAttachment.families,
      attach: (registry: Parameters<typeof bridge.attach>[0]) => {
        const detach = [ownAttachment.attach(registry), bridge.attach(registry)];
        return () => {
          for (const end of detach) end();
        };
      },
    },
  };
  const ownFlush = own.meterProvider as unknown as MeterProvider;
  return {
    telemetry: { meterProvider },
    own: { name: "our own /metrics", scrape: async () => (await own.metrics.collect()).body },
    others: [
      { name: "the stock exporter of SDK 2.x", scrape: two.scrape },
      { name: `the stock exporter of SDK ${sdk3Version}`, scrape: three.scrape },
      { name: "our ./prometheus door in SDK 2.x", scrape: two.scrapeDoor },
      { name: `our ./prometheus door in SDK ${sdk3Version}`, scrape: three.scrapeDoor },
      through("the bootstrap's OTLP", ownFlush, collectors.own),
      through("OTLP of SDK 2.x", two.provider, collectors.two),
      through(`OTLP of SDK ${sdk3Version}`, three.provider, collectors.three),
    ],
    async stop() {
      await own.shutdown();
      await two.stop();
      await three.stop();
      for (const collector of Object.values(collectors)) await collector.stop();
    },
  };
}

function through(
  name: string,
  provider: { forceFlush(): Promise<void> },
  collector: Collector,
): Route {
  return {
    name: `a Collector fed by ${name}`,
    async scrape() {
      await provider.forceFlush();
      return collector.scrape();
    },
  };
}

interface Application {
  readonly provider: MeterProvider;
  /** By the stock exporter. */
  scrape(): Promise<string>;
  /** By `createPrometheusReader`, beside it. */
  scrapeDoor(): Promise<string>;
  stop(): Promise<void>;
}

/** As its documentation shows it, with our views, and OTLP in JSON beside it. */
async function applicationWithSdk2(collector: Collector): Promise<Application> {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const door = createPrometheusReader();
  const push = new OTLPMetricExporter({ url: `${collector.otlp}/v1/metrics` });
  const provider = new MeterProvider({
    resource: resourceFromAttributes({ "service.name": "two" }),
    readers: [
      exporter,
      door,
      new PeriodicExportingMetricReader({ exporter: push, exportIntervalMillis: never }),
    ],
    views: prometheusViews(),
  });
  return application(provider, exporter, door);
}

/** The same with a 3.x SDK, and OTLP in protobuf. */
async function applicationWithSdk3(collector: Collector): Promise<Application> {
  const sdk = loadSdk3();
  const exporter = new sdk.prometheus.PrometheusExporter({ preventServerStart: true });
  const door = createPrometheusReader();
  const push = new sdk.otlpMetrics.OTLPMetricExporter({ url: `${collector.otlp}/v1/metrics` });
  const provider = new sdk.metrics.MeterProvider({
    resource: sdk.resources.resourceFromAttributes({ "service.name": "three" }),
    readers: [
      exporter,
      door,
      new sdk.metrics.PeriodicExportingMetricReader({
        exporter: push,
        exportIntervalMillis: never,
      }),
    ],
    views: prometheusViews(),
  });
  return application(provider, exporter, door);
}

/** The exporter's own request handler behind a server of ours: it cannot listen on port 0 itself. */
async function application(
  provider: MeterProvider,
  exporter: PrometheusExporter,
  door: PrometheusReader,
): Promise<Application> {
  // Every scrape collects: the others are to be compared at the same moment.
  const handler = createPrometheusHandler(door, { cacheMs: 0 });
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    exporter.getMetricsRequestHandler(request, response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  return {
    provider,
    scrape: async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text(),
    scrapeDoor: async () => (await handler(new Request("http://door/metrics"))).text(),
    async stop() {
      server.close();
      server.closeAllConnections();
      await provider.shutdown();
    },
  };
}
