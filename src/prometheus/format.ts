/** The formats that are written, and what they are called on the wire. */

/** `text`: Prometheus's own, which everything reads. `openmetrics`: OpenMetrics 1.0.0, which carries units and exemplars. */
export type PrometheusFormat = "text" | "openmetrics";

/** The text format that every Prometheus reads. */
export const PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8";

/** https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md#protocol-negotiation */
export const OPENMETRICS_TEXT = "application/openmetrics-text; version=1.0.0; charset=utf-8";
