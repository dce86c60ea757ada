/**
 * The metrics half of the bootstrap: the Prometheus exporter that collects for `/metrics` (without its own server), OTLP push if
 * asked, and the branding by which components hand in their cells. Called by `bootstrap.ts`.
 */
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import type { Resource } from "@opentelemetry/resources";
import { type IMetricReader, MeterProvider } from "@opentelemetry/sdk-metrics";
import type { Logger } from "../core/logger.ts";
import type { EnvironmentSettings } from "./bootstrap-environment.ts";
import { prometheusSource } from "./bootstrap-exposition.ts";
import { otlpReader } from "./bootstrap-otlp-metrics.ts";
import type { MetricRegistry } from "./cells.ts";
import { MetricHub } from "./hub.ts";
import type { InstrumentFamily } from "./instrument.ts";
import { carryAttachment, createMeterBridge } from "./meter-bridge.ts";
import { createMetricProducer } from "./metric-producer.ts";
import { type MetricsSource, PROMETHEUS_TEXT } from "./metrics-source.ts";

export interface MetricComponents {
  readonly resource: Resource;
  readonly settings: EnvironmentSettings;
  readonly health: MetricRegistry;
  readonly instruments: "producer" | "meter";
  readonly families: readonly InstrumentFamily[];
  /** The application's own readers. */
  readonly readers: readonly IMetricReader[];
  /** Told when exports begin to fail, and when they go through again. */
  readonly logger: Pick<Logger, "warn">;
}

export interface MetricParts {
  readonly meterProvider: MeterProvider;
  readonly metrics: MetricsSource;
}

export function createMeterProvider(parts: MetricComponents): MetricParts {
  const { settings, health, resource, families } = parts;
  // Cells would be collected by the producers and again by way of instruments if a reader had both.
  const hub = parts.instruments === "producer" ? new MetricHub({ families }) : undefined;
  const readers = [...parts.readers];
  let prometheus: PrometheusExporter | undefined;
  if (settings.metrics.prometheus) {
    prometheus = prometheusReader(hub, settings.metrics.exemplars);
    readers.push(prometheus);
  }
  const { otlp } = settings.metrics;
  if (otlp !== undefined) {
    readers.push(otlpReader(otlp, settings.metrics, hub, health, parts.logger));
  }
  const meterProvider = new MeterProvider({ resource, readers });
  const attachment = hub ?? createMeterBridge(meterProvider, families);
  attachment.attach(health);
  const metrics =
    prometheus === undefined
      ? textSource("metrics are not collected here: OTEL_METRICS_EXPORTER=none")
      : prometheusSource(prometheus, health);
  carryAttachment(meterProvider, {
    attach: (registry) => attachment.attach(registry),
    families,
    source: metrics,
  });
  return { meterProvider, metrics };
}

/** A source that only says why there is nothing. */
export function textSource(reason: string): MetricsSource {
  const text = { body: `# ${reason}\n`, contentType: PROMETHEUS_TEXT };
  return { collect: () => Promise.resolve(text) };
}

function prometheusReader(hub: MetricHub | undefined, exemplars: boolean): PrometheusExporter {
  const metricProducers = hub === undefined ? [] : [createMetricProducer(hub, { exemplars })];
  return new PrometheusExporter({ preventServerStart: true, metricProducers });
}
