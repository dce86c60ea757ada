/**
 * `@streamhouse/streamhouse/prometheus`: Prometheus and OpenMetrics for any OpenTelemetry application, on any runtime: a metric
 * reader for its MeterProvider, and a `fetch` handler that answers what the reader collects.
 */
export type { CollectedMetrics, MetricCollector, PointExemplar } from "./prometheus/collected.ts";
export type { PrometheusNotice } from "./prometheus/family.ts";
export type { PrometheusFormat } from "./prometheus/format.ts";
export {
  createPrometheusHandler,
  type PrometheusHandler,
  type PrometheusHandlerOptions,
} from "./prometheus/handler.ts";
export {
  type PrometheusServer,
  type PrometheusServerOptions,
  servePrometheus,
} from "./prometheus/listen.ts";
export { type NegotiatedFormat, negotiateFormat } from "./prometheus/negotiation.ts";
export {
  createPrometheusReader,
  type PrometheusReader,
  type PrometheusReaderOptions,
} from "./prometheus/reader.ts";
export type { ScrapeEvents, ScrapeOptions, ScrapeOutcome } from "./prometheus/scrape.ts";
export {
  createPrometheusSerializer,
  type PrometheusSerializer,
  type SerializerOptions,
  serializePrometheus,
} from "./prometheus/serializer.ts";
