/**
 * The tracing half of the bootstrap: sampler, processors, OTLP exporters, and the count of every span that does not arrive.
 * Called by `bootstrap.ts`.
 */
import { type Context, TraceFlags } from "@opentelemetry/api";
import { type ExportResult, ExportResultCode } from "@opentelemetry/core";
import { OTLPTraceExporter as OtlpJsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as OtlpProtoExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import type { Resource } from "@opentelemetry/resources";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BasicTracerProvider,
  BatchSpanProcessor,
  ConsoleSpanExporter,
  ParentBasedSampler,
  type ReadableSpan,
  type Sampler,
  SimpleSpanProcessor,
  type Span,
  type SpanExporter,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace-base";
import type { Logger } from "../core/logger.ts";
import type { EnvironmentSettings, OtlpSettings } from "./bootstrap-environment.ts";
import { createExportReport, type ExportReport } from "./bootstrap-export-report.ts";
import { otlpConfig } from "./bootstrap-otlp.ts";
import { sampleLinked } from "./bootstrap-sampler.ts";
import { catalogue } from "./catalogue.ts";
import type { CounterCell, MetricRegistry } from "./cells.ts";

export interface TraceComponents {
  readonly resource: Resource;
  readonly settings: EnvironmentSettings;
  /** Where lost spans are counted. */
  readonly health: MetricRegistry;
  /** The application's own, beside those that the environment asks for. */
  readonly spanProcessors: readonly SpanProcessor[];
  /** Told when exports begin to fail, and when they go through again. */
  readonly logger: Pick<Logger, "warn">;
}

/** Undefined if spans would go nowhere: then none are made. */
export function createTracerProvider(parts: TraceComponents): BasicTracerProvider | undefined {
  const { settings, health, resource, logger } = parts;
  const spanProcessors = parts.spanProcessors.map((it) => guarded(it, health));
  const { otlp, console } = settings.traces;
  if (otlp !== undefined) {
    const exporter = otlpExporter(otlp);
    const report = createExportReport(logger, "traces", otlpConfig(otlp, "v1/traces").url);
    const losses = new SpanLosses(health);
    spanProcessors.push(new CountingProcessor(exporter, settings.batch, losses, report));
  }
  if (console) spanProcessors.push(new SimpleSpanProcessor(new ConsoleSpanExporter()));
  if (spanProcessors.length === 0) return undefined;
  return new BasicTracerProvider({ resource, spanProcessors, sampler: sampler(settings.sampler) });
}

/** The application's processor: one that throws must not fail the work whose span it was given, nor the other processors. */
function guarded(processor: SpanProcessor, health: MetricRegistry): SpanProcessor {
  const lost = health.counter(catalogue.spansDropped, { reason: "processor_failed" });
  const attempt = (work: () => void): boolean => {
    try {
      work();
      return true;
    } catch {
      return false;
    }
  };
  return {
    onStart: (span, parent) => void attempt(() => processor.onStart(span, parent)),
    onEnd(span) {
      if (!attempt(() => processor.onEnd(span))) lost.add(1);
    },
    forceFlush: async () => processor.forceFlush(),
    shutdown: async () => processor.shutdown(),
  };
}

function otlpExporter(settings: OtlpSettings): SpanExporter {
  const config = otlpConfig(settings, "v1/traces");
  return settings.protocol === "http/json"
    ? new OtlpJsonExporter(config)
    : new OtlpProtoExporter(config);
}

function sampler(settings: EnvironmentSettings["sampler"]): Sampler {
  const root =
    settings.name === "always_on"
      ? new AlwaysOnSampler()
      : settings.name === "always_off"
        ? new AlwaysOffSampler()
        : new TraceIdRatioBasedSampler(settings.ratio);
  if (!settings.parentBased) return root;
  // Off is off; otherwise a batch of several traces belongs to those of them that are sampled.
  return new ParentBasedSampler({
    root: settings.name === "always_off" ? root : sampleLinked(root),
  });
}

class SpanLosses {
  readonly queueFull: CounterCell;
  readonly exportFailed: CounterCell;
  readonly failures: CounterCell;

  constructor(health: MetricRegistry) {
    this.queueFull = health.counter(catalogue.spansDropped, { reason: "queue_full" });
    this.exportFailed = health.counter(catalogue.spansDropped, { reason: "export_failed" });
    this.failures = health.counter(catalogue.exportFailures, { signal: "traces" });
  }
}

/** The SDK's own default. */
const queueSizeDefault = 2_048;

/**
 * The SDK's batch processor, with its losses counted. It says nothing of a span that found its queue full, so the
 * queue's length is kept here by what went in and what came out at the exporter.
 */
class CountingProcessor implements SpanProcessor {
  readonly #inner: BatchSpanProcessor;
  readonly #losses: SpanLosses;
  readonly #report: ExportReport;
  readonly #queueMax: number;
  #queued = 0;
  #stopped = false;

  constructor(
    exporter: SpanExporter,
    batch: EnvironmentSettings["batch"],
    losses: SpanLosses,
    report: ExportReport,
  ) {
    this.#losses = losses;
    this.#report = report;
    this.#queueMax = batch.maxQueueSize ?? queueSizeDefault;
    const counting: SpanExporter = {
      export: (spans, done) => this.#export(exporter, spans, done),
      shutdown: () => exporter.shutdown(),
      forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
    };
    const given = Object.entries(batch).filter(([, value]) => value !== undefined);
    this.#inner = new BatchSpanProcessor(counting, Object.fromEntries(given));
  }

  onStart(span: Span, parent: Context): void {
    this.#inner.onStart(span, parent);
  }

  onEnd(span: ReadableSpan): void {
    if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0 && !this.#stopped) {
      if (this.#queued >= this.#queueMax) this.#losses.queueFull.add(1);
      else this.#queued += 1;
    }
    this.#inner.onEnd(span);
  }

  forceFlush(): Promise<void> {
    return this.#inner.forceFlush();
  }

  shutdown(): Promise<void> {
    this.#stopped = true;
    return this.#inner.shutdown();
  }

  #export(exporter: SpanExporter, spans: ReadableSpan[], done: (r: ExportResult) => void): void {
    this.#queued = Math.max(0, this.#queued - spans.length);
    const failed = () => {
      this.#losses.failures.add(1);
      this.#losses.exportFailed.add(spans.length);
    };
    try {
      exporter.export(spans, (result) => {
        if (result.code !== ExportResultCode.SUCCESS) failed();
        this.#report(result);
        done(result);
      });
    } catch (error) {
      failed();
      const result = { code: ExportResultCode.FAILED, error: error as Error };
      this.#report(result);
      done(result);
    }
  }
}
