/**
 * For applications with an SDK of their own and the stock `@opentelemetry/exporter-prometheus`: it adds no unit to a name, so the
 * conventions' durations would come out without `_seconds`, unlike by every other route. The door `./telemetry`.
 */
import { semconvInstruments } from "./catalogue-semconv.ts";
import { SCOPE_NAME } from "./semconv.ts";

/** The part of the metrics SDK's `ViewOptions` (2.x and 3.x) that renames one instrument of one meter. */
export interface PrometheusView {
  instrumentName: string;
  meterName: string;
  name: string;
}

/**
 * Views that give the conventions' durations the names that our own `/metrics` and an OpenTelemetry Collector give them, for
 * instance `messaging_client_operation_duration_seconds`.
 *
 * ```ts
 * new MeterProvider({ readers: [new PrometheusExporter()], views: prometheusViews() });
 * ```
 *
 * Views hold for every reader of the provider: one that also pushes OTLP to a Collector needs them as little as one without a
 * Prometheus exporter (the name is the same behind a Collector either way). Instruments of other libraries are left alone.
 */
export function prometheusViews(): PrometheusView[] {
  return Object.values(semconvInstruments)
    .filter(({ unit }) => unit === "s")
    .map(({ name }) => ({
      instrumentName: name,
      meterName: SCOPE_NAME,
      name: `${name}.seconds`,
    }));
}
