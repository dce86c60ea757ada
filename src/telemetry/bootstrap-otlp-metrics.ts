/**
 * Metrics pushed over OTLP/HTTP: the reader, its exporter in the encoding that the environment names, the deltas that a backend may
 * want instead of totals, and the count of every push that failed. Called by `bootstrap-metrics.ts`.
 */
import { type ExportResult, ExportResultCode } from "@opentelemetry/core";
import {
  AggregationTemporalityPreference,
  OTLPMetricExporter as JsonExporter,
} from "@opentelemetry/exporter-metrics-otlp-http";
import { OTLPMetricExporter as ProtoExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import {
  type IMetricReader,
  type InstrumentType,
  type MetricProducer,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
  type ResourceMetrics,
} from "@opentelemetry/sdk-metrics";
import type { Logger } from "../core/logger.ts";
import type {
  EnvironmentSettings,
  OtlpSettings,
  TemporalityPreference,
} from "./bootstrap-environment.ts";
import { createExportReport, type ExportReport } from "./bootstrap-export-report.ts";
import { otlpConfig } from "./bootstrap-otlp.ts";
import { catalogue } from "./catalogue.ts";
import type { MetricRegistry } from "./cells.ts";
import type { MetricHub } from "./hub.ts";
import { createMetricProducer } from "./metric-producer.ts";

const preferences: Readonly<Record<TemporalityPreference, AggregationTemporalityPreference>> = {
  cumulative: AggregationTemporalityPreference.CUMULATIVE,
  delta: AggregationTemporalityPreference.DELTA,
  lowmemory: AggregationTemporalityPreference.LOWMEMORY,
};

/** `hub`: where the cells are, with `instruments: "producer"`. */
export function otlpReader(
  otlp: OtlpSettings,
  settings: EnvironmentSettings["metrics"],
  hub: MetricHub | undefined,
  health: MetricRegistry,
  logger: Pick<Logger, "warn">,
): IMetricReader {
  const exporter = otlpExporter(otlp, settings.temporality);
  const temporality = (type: InstrumentType) => exporter.selectAggregationTemporality(type);
  const { exemplars } = settings;
  const cells = hub && createMetricProducer(hub, { temporality, exemplars });
  const metricProducers: MetricProducer[] = cells === undefined ? [] : [cells];
  const report = createExportReport(logger, "metrics", otlpConfig(otlp, "v1/metrics").url);
  const interval = settings.intervalMillis ?? 60_000;
  return new PeriodicExportingMetricReader({
    exporter: countFailures(exporter, health, report),
    exportIntervalMillis: interval,
    exportTimeoutMillis: Math.min(settings.timeoutMillis ?? 30_000, interval),
    metricProducers,
  });
}

type OtlpExporter = JsonExporter | ProtoExporter;

function otlpExporter(settings: OtlpSettings, temporality: TemporalityPreference): OtlpExporter {
  const config = {
    ...otlpConfig(settings, "v1/metrics"),
    temporalityPreference: preferences[temporality],
  };
  return settings.protocol === "http/json" ? new JsonExporter(config) : new ProtoExporter(config);
}

function countFailures(
  exporter: OtlpExporter,
  health: MetricRegistry,
  report: ExportReport,
): PushMetricExporter {
  const failures = health.counter(catalogue.exportFailures, { signal: "metrics" });
  return {
    export(data: ResourceMetrics, done: (result: ExportResult) => void) {
      exporter.export(data, (result) => {
        if (result.code !== ExportResultCode.SUCCESS) failures.add(1);
        report(result);
        done(result);
      });
    },
    forceFlush: () => exporter.forceFlush(),
    shutdown: () => exporter.shutdown(),
    selectAggregation: (type) => exporter.selectAggregation(type),
    selectAggregationTemporality: (type) => exporter.selectAggregationTemporality(type),
  };
}
