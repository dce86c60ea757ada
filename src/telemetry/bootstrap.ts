/**
 * An OpenTelemetry SDK for people who have none set up: `const telemetry = bootstrap()` before anything else, and
 * `await telemetry.shutdown()` last. Applications with their own SDK do not need this room. The door `./telemetry`.
 */
import {
  context,
  type MeterProvider,
  metrics,
  propagation,
  type TextMapPropagator,
  type TracerProvider,
  trace,
} from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  CompositePropagator,
  W3CBaggagePropagator,
  W3CTraceContextPropagator,
} from "@opentelemetry/core";
import { defaultResource, type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import type { IMetricReader } from "@opentelemetry/sdk-metrics";
import type { SpanProcessor } from "@opentelemetry/sdk-trace-base";
import { createUuid } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import {
  type Environment,
  type EnvironmentSettings,
  readEnvironment,
} from "./bootstrap-environment.ts";
import { createMeterProvider, textSource } from "./bootstrap-metrics.ts";
import { createTracerProvider } from "./bootstrap-traces.ts";
import { bothFamilies, type InstrumentFamily } from "./instrument.ts";
import type { MetricsSource } from "./metrics-source.ts";
import { createMetricRegistry } from "./registry.ts";

/** What the bootstrap sets up beyond what the `OTEL_*` variables say. */
export interface BootstrapOptions {
  /** `service.name` of the resource. Default: `OTEL_SERVICE_NAME`, else `streamhouse`. */
  readonly serviceName?: string | undefined;
  /** More of the resource; wins over `OTEL_RESOURCE_ATTRIBUTES`. */
  readonly resourceAttributes?: Readonly<Record<string, string | number | boolean>> | undefined;
  /**
   * `producer` (default): components hand their cells to the readers made here, exact and cheap. `meter`: they use the
   * public metrics API, as with any other SDK.
   */
  readonly instruments?: "producer" | "meter" | undefined;
  /**
   * Whose metrics are reported: ours, and the same under the names of the semantic conventions. Also what components count that
   * were not told themselves. Default both.
   */
  readonly families?: readonly InstrumentFamily[] | undefined;
  /** Metric readers beside those that the environment asks for. They see instruments, not cells: use with `meter`. */
  readonly readers?: readonly IMetricReader[] | undefined;
  /** Span processors beside those that the environment asks for. */
  readonly spanProcessors?: readonly SpanProcessor[] | undefined;
  /** Registers the providers, W3C propagation and context management globally. Default true. */
  readonly register?: boolean | undefined;
  /** How long `shutdown()` waits for exports, in ms. Default 5,000. */
  readonly shutdownTimeoutMs?: number | undefined;
  /** The `OTEL_*` variables. Default: the process's. (Certificate files of OTLP are always the process's.) */
  readonly env?: Environment | undefined;
  /**
   * Told what to mend in the environment, and once when exports begin to fail and when they go through again. Default: warnings
   * on stderr.
   */
  readonly logger?: Pick<Logger, "warn"> | undefined;
}

/** An OpenTelemetry SDK that runs. Fits `telemetry` of `serve`, `connect` and `embed`. */
export interface TelemetrySdk {
  /** For `telemetry` options, and for instruments of the application's own. */
  readonly meterProvider: MeterProvider;
  /** The same for spans. */
  readonly tracerProvider: TracerProvider;
  /** For `createHandler({ metrics })`. */
  readonly metrics: MetricsSource;
  /** What was unusual about the start, as it was told to the logger. */
  readonly warnings: readonly string[];
  /** Exports what is left, at most `shutdownTimeoutMs`, and unregisters. Never rejects; twice is once. */
  shutdown(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Sets OpenTelemetry up. Never throws for what the environment says: see `warnings`. */
export function bootstrap(options: BootstrapOptions = {}): TelemetrySdk {
  const settings = readEnvironment(options.env ?? process.env);
  const warnings = [...settings.warnings];
  const logger = options.logger ?? { warn: (message: string) => console.warn(message) };
  const finish = (sdk: Omit<TelemetrySdk, "warnings" | typeof Symbol.asyncDispose>) => {
    for (const warning of warnings) logger.warn(warning);
    return { ...sdk, warnings, [Symbol.asyncDispose]: () => sdk.shutdown() };
  };
  if (settings.disabled) return finish(withoutSdk("OTEL_SDK_DISABLED=true"));
  if (settings.deno) {
    const reason = "OTEL_DENO=true: Deno's own OpenTelemetry exports what is measured";
    warnings.push(`${reason}, so nothing is registered here and /metrics stays empty`);
    return finish(withoutSdk(reason));
  }
  const resource = createResource(options, settings.resource);
  const health = createMetricRegistry({ families: options.families });
  const { meterProvider, metrics: source } = createMeterProvider({
    resource,
    settings,
    health,
    instruments: options.instruments ?? "producer",
    families: options.families ?? bothFamilies,
    readers: options.readers ?? [],
    logger,
  });
  const spanProcessors = options.spanProcessors ?? [];
  const tracing = createTracerProvider({ resource, settings, health, spanProcessors, logger });
  const unregister =
    options.register === false
      ? () => {}
      : register(meterProvider, tracing, propagatorOf(settings), warnings);
  const timeoutMs = options.shutdownTimeoutMs ?? 5_000;
  let stopping: Promise<void> | undefined;
  const shutdown = () => {
    stopping ??= stop([tracing, meterProvider], timeoutMs).finally(unregister);
    return stopping;
  };
  const tracerProvider = tracing ?? trace.getTracerProvider();
  return finish({ meterProvider, tracerProvider, metrics: source, shutdown });
}

/** The providers that are registered already, or the API's, which do nothing. */
function withoutSdk(reason: string): Omit<TelemetrySdk, "warnings" | typeof Symbol.asyncDispose> {
  return {
    meterProvider: metrics.getMeterProvider(),
    tracerProvider: trace.getTracerProvider(),
    metrics: textSource(reason),
    shutdown: () => Promise.resolve(),
  };
}

function createResource(
  options: BootstrapOptions,
  fromEnvironment: Readonly<Record<string, string>>,
): Resource {
  return defaultResource().merge(
    resourceFromAttributes({
      "service.name": "streamhouse",
      // Tells several agents of one service apart where their metrics are pushed to one place.
      "service.instance.id": createUuid(),
      ...fromEnvironment,
      ...options.resourceAttributes,
      ...(options.serviceName !== undefined && { "service.name": options.serviceName }),
    }),
  );
}

function propagatorOf({ propagators }: EnvironmentSettings): TextMapPropagator {
  return new CompositePropagator({
    propagators: propagators.map((name) =>
      name === "baggage" ? new W3CBaggagePropagator() : new W3CTraceContextPropagator(),
    ),
  });
}

/** Answers what undoes it. What somebody else registered before stays as it is. */
function register(
  meterProvider: MeterProvider,
  tracing: TracerProvider | undefined,
  propagator: TextMapPropagator,
  warnings: string[],
): () => void {
  const undo: (() => void)[] = [];
  const note = (registered: boolean, what: string, remove: () => void) => {
    if (registered) undo.push(remove);
    else {
      warnings.push(
        `a global ${what} is registered already: the bootstrap's own is not; pass it to the components`,
      );
    }
  };
  note(metrics.setGlobalMeterProvider(meterProvider), "meter provider", () => metrics.disable());
  if (tracing !== undefined) {
    note(trace.setGlobalTracerProvider(tracing), "tracer provider", () => trace.disable());
  }
  const manager = new AsyncLocalStorageContextManager().enable();
  note(context.setGlobalContextManager(manager), "context manager", () => context.disable());
  note(propagation.setGlobalPropagator(propagator), "propagator", () => propagation.disable());
  return () => {
    for (const remove of undo) remove();
  };
}

/** Traces first: the metrics then count what was lost. An exporter that hangs or fails must not hold the process. */
async function stop(
  parts: readonly ({ shutdown(): Promise<void> } | undefined)[],
  timeoutMs: number,
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  const ended = (async () => {
    for (const part of parts) await part?.shutdown().catch(() => {});
  })();
  await Promise.race([ended, late]);
  clearTimeout(timer);
}
