/**
 * What `/metrics` gets from the bootstrap: the Prometheus exporter collects, our own serializer writes (or the exporter's, where that
 * is asked for), and what it costs and loses is itself measured. Called by `bootstrap-metrics.ts`.
 */
import { diag } from "@opentelemetry/api";
import { type PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { systemClock } from "../core/clock.ts";
import type { PrometheusNotice } from "../prometheus/family.ts";
import { gatherFrom } from "../prometheus/handler.ts";
import { textOf } from "../prometheus/serializer.ts";
import { catalogue } from "./catalogue.ts";
import type { MetricRegistry } from "./cells.ts";
import { type MetricsSource, type MetricsText, PROMETHEUS_TEXT } from "./metrics-source.ts";

type Measured = MetricsText & { readonly failed: readonly unknown[] };

export function prometheusSource(
  exporter: PrometheusExporter,
  health: MetricRegistry,
): MetricsSource {
  const duration = health.histogram(catalogue.scrapeDuration);
  const errors = health.counter(catalogue.collectErrors);
  const onNotice = ({ metric, reason }: PrometheusNotice) => {
    errors.add(1);
    diag.warn(`/metrics: ${metric}: ${reason}`);
  };
  // No scope labels: they would make every name here three labels longer, and differ from the Collector's default.
  const gather = gatherFrom(exporter, { onNotice });
  const onCollected = (seconds: number, failed: readonly unknown[]) => {
    duration.record(seconds);
    // An instrument of the application that threw is missing from the result; all others are in it.
    errors.add(failed.length);
  };
  const measured = async (write: () => Promise<Measured>): Promise<MetricsText> => {
    const startedAt = systemClock.monotonic();
    const { body, contentType, failed } = await write();
    onCollected((systemClock.monotonic() - startedAt) / 1_000, failed);
    return { body, contentType };
  };
  const own = async (): Promise<Measured> => {
    const gathered = await gather();
    const body = await textOf(gathered.write("text"));
    return { body, contentType: PROMETHEUS_TEXT, failed: gathered.errors ?? [] };
  };
  const stock = async (): Promise<Measured> => {
    const serializer = new PrometheusSerializer(undefined, false, undefined, false, true);
    const { resourceMetrics, errors: failed } = await exporter.collect();
    const body = `${serializer.serialize(resourceMetrics).trimEnd()}\n`;
    return { body, contentType: PROMETHEUS_TEXT, failed };
  };
  return {
    gather,
    onCollected,
    onScrape: (outcome) => health.counter(catalogue.scrapes, { outcome }).add(1),
    collect: () => measured(own),
    stock: () => measured(stock),
  };
}
