/**
 * What a component is handed at construction. Made once per component from `TelemetryOptions`; never at module load,
 * because the metrics API has no proxy: instruments made before the SDK is registered stay silent for ever.
 */
import {
  type MeterProvider,
  ProxyTracerProvider,
  type Tracer,
  type TracerProvider,
  trace,
} from "@opentelemetry/api";
import { version } from "../core/version.ts";
import type { MetricRegistry } from "./cells.ts";
import { bothFamilies, type InstrumentFamily } from "./instrument.ts";
import { familiesOf, linkToProvider, type ProviderLink } from "./provider-link.ts";
import { createMetricRegistry } from "./registry.ts";
import { SCHEMA_URL, SCOPE_NAME } from "./semconv.ts";
import { createVoidRegistry } from "./void-registry.ts";

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
  /**
   * Whose metrics are counted: ours (`streamhouse.*`), and the same measurements under the names of OpenTelemetry's semantic
   * conventions (`messaging.*`, `rpc.*`). A family that is left out costs nothing. Default: what `bootstrap` was told, else both.
   */
  readonly families?: readonly InstrumentFamily[] | undefined;
  /**
   * What is a sample of `streamhouse.send.duration.seconds`: every `send()` (default), or with `per-batch` the longest wait of each
   * batch, which costs a fraction of it but makes the histogram count batches. The same for a consumer's
   * `streamhouse.end_to_end_latency.seconds` and `streamhouse.record.age.seconds`: one sample for what is handed over together.
   */
  readonly sendDuration?: SendDurationSampling | undefined;
  /**
   * Spans for single records (create and process), which are only ever made under a sampled parent. Default true; false leaves the
   * spans of batches and calls.
   */
  readonly recordSpans?: boolean | undefined;
}

/** See `TelemetryOptions.sendDuration`. */
export type SendDurationSampling = "per-send" | "per-batch";

/** Which component is measured, for its spans: `producer`, `consumer`, `agent`. */
export interface TelemetryComponent {
  readonly name: string;
}

/** The cells and the tracer of one component, made with it and closed with it. */
export interface Telemetry {
  readonly metrics: MetricRegistry;
  readonly tracer: Tracer;
  readonly enabled: boolean;
  /**
   * Whether spans can go anywhere: false until a tracer provider is registered, if none was given. Rooms that make a span for their
   * own work (not one that hands on a caller's trace) ask first, and then gather nothing for it.
   */
  readonly traces: boolean;
  readonly component: string;
  readonly partitionLabels: boolean;
  readonly propagation: "always" | "sampled" | "off";
  readonly families: readonly InstrumentFamily[];
  readonly sendDuration: SendDurationSampling;
  readonly recordSpans: boolean;
  /**
   * Takes the component's gauges out of every reader; what its counters and histograms counted stays in the totals
   * (a counter that fell would look like a restart). Called by the component's own close; twice is harmless.
   */
  close(): void;
}

/**
 * Makes the telemetry of one component. Never throws.
 *
 * With `false` the answer's cells count into the void and its tracer does nothing; its `enabled` is false.
 */
export function createTelemetry(
  options: TelemetryOptions | false | undefined,
  component: TelemetryComponent,
): Telemetry {
  return options === false
    ? disabledTelemetry(component)
    : new ComponentTelemetry(options ?? {}, component);
}

class ComponentTelemetry implements Telemetry {
  readonly enabled = true;
  readonly metrics: MetricRegistry;
  readonly component: string;
  readonly partitionLabels: boolean;
  readonly propagation: "always" | "sampled" | "off";
  readonly families: readonly InstrumentFamily[];
  readonly sendDuration: SendDurationSampling;
  readonly recordSpans: boolean;
  readonly #tracer: Tracer;
  readonly #tracerProvider: TracerProvider | undefined;
  readonly #link: ProviderLink;
  #traces = false;

  constructor(options: TelemetryOptions, component: TelemetryComponent) {
    this.component = component.name;
    this.partitionLabels = options.partitionLabels ?? false;
    this.propagation = options.propagation ?? "always";
    this.families = options.families ?? familiesOf(options.meterProvider) ?? bothFamilies;
    this.sendDuration = options.sendDuration ?? "per-send";
    this.recordSpans = options.recordSpans ?? true;
    const { partitionLabels, families } = this;
    this.metrics = createMetricRegistry({ partitionLabels, families });
    this.#link = linkToProvider(this.metrics, options.meterProvider);
    this.#tracerProvider = options.tracerProvider;
    this.#tracer = tracerOf(options.tracerProvider);
  }

  get traces(): boolean {
    if (!this.#traces) {
      this.#traces = isTracing(this.#tracerProvider ?? trace.getTracerProvider());
      // Nobody asks for the tracer then, and that is when an SDK is looked for.
      if (!this.#traces) this.#link.look();
    }
    return this.#traces;
  }

  /** Asked for with every batch, poll and flush: a good moment to see whether an SDK was registered meanwhile. */
  get tracer(): Tracer {
    this.#link.look();
    return this.#tracer;
  }

  close(): void {
    this.#link.close();
  }
}

/** A provider that throws is the application's to mend: the component works without spans. */
function tracerOf(provider: TracerProvider | undefined): Tracer {
  try {
    return (provider ?? trace).getTracer(SCOPE_NAME, version, { schemaUrl: SCHEMA_URL });
  } catch {
    return silentTracer();
  }
}

/** The API's own provider has nobody to hand on to until one is registered. */
function isTracing(provider: TracerProvider): boolean {
  try {
    if (!(provider instanceof ProxyTracerProvider)) return true;
    return provider.getDelegateTracer(SCOPE_NAME) !== undefined;
  } catch {
    return false;
  }
}

/** A proxy without a delegate answers spans that record nothing. */
function silentTracer(): Tracer {
  return new ProxyTracerProvider().getTracer(SCOPE_NAME);
}

function disabledTelemetry(component: TelemetryComponent): Telemetry {
  return {
    enabled: false,
    traces: false,
    metrics: createVoidRegistry(),
    tracer: silentTracer(),
    component: component.name,
    partitionLabels: false,
    propagation: "off",
    families: [],
    sendDuration: "per-send",
    recordSpans: false,
    close() {},
  };
}
