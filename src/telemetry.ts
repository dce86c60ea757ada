/** `@streamhouse/streamhouse/telemetry`: an OpenTelemetry SDK for applications that have none, and the list of instruments. */
export { type BootstrapOptions, bootstrap, type TelemetrySdk } from "./telemetry/bootstrap.ts";
export { sampleLinked } from "./telemetry/bootstrap-sampler.ts";
export {
  catalogue,
  type InstrumentDescriptor,
  type InstrumentKey,
  type InstrumentKind,
} from "./telemetry/catalogue.ts";
export type { InstrumentFamily } from "./telemetry/instrument.ts";
export type { MetricsSource, MetricsText } from "./telemetry/metrics-source.ts";
export { type PrometheusView, prometheusViews } from "./telemetry/prometheus-views.ts";
export type { SendDurationSampling, TelemetryOptions } from "./telemetry/telemetry.ts";
