/** `@streamhouse/streamhouse/http`: health, readiness and metrics as one `fetch` handler, for any runtime's server. */
export { createHandler, type Handler, type HandlerOptions } from "./http/handler.ts";
export type { MetricsOptions } from "./http/metrics-route.ts";
export type { ReadinessRule, StatusSource } from "./http/readiness.ts";
export type { ScrapeOptions } from "./prometheus/scrape.ts";
export type { MetricsSource, MetricsText } from "./telemetry/metrics-source.ts";
