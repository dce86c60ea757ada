/**
 * What a component is handed at construction. Made once per component from `TelemetryOptions`; never at module load,
 * because the metrics API has no proxy: instruments made before the SDK is registered stay silent for ever.
 */
import type { MeterProvider, Tracer, TracerProvider } from "@opentelemetry/api";
import type { MetricRegistry } from "./cells.ts";

/** How a component is measured. `false` instead of the object: not at all. */
export interface TelemetryOptions {
  /** Default: the global one, found when the component is constructed or (registered late) at most a second after. */
  readonly meterProvider?: MeterProvider | undefined;
  /** Default: the global one. */
  readonly tracerProvider?: TracerProvider | undefined;
  /** Adds `partition` to counters. Default false: a series for each partition costs memory at every reader. */
  readonly partitionLabels?: boolean | undefined;
  /** Writes the trace context into record headers. Default `always` (when a valid context is active). */
  readonly propagation?: "always" | "sampled" | "off" | undefined;
}

export interface Telemetry {
  readonly metrics: MetricRegistry;
  readonly tracer: Tracer;
  readonly enabled: boolean;
  readonly partitionLabels: boolean;
  readonly propagation: "always" | "sampled" | "off";
  /** Takes the component's series out of every reader. Called by the component's own close. */
  close(): void;
}
