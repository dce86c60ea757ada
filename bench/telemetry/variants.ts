/**
 * The ways in which a house can be measured, from not at all to every trace. Each is what an
 * application would do; none registers anything globally, so that all can live in one process and
 * take turns.
 */
import type { ExportResult } from "@opentelemetry/core";
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import {
  BatchSpanProcessor,
  type ReadableSpan,
  type SpanExporter,
} from "@opentelemetry/sdk-trace-base";
import { bootstrap } from "../../src/telemetry/bootstrap.ts";
import type { TelemetryOptions } from "../../src/telemetry/telemetry.ts";
import type { Send } from "./slice.ts";

/** One way to measure, ready for use. */
export interface Variant {
  readonly telemetry: TelemetryOptions | false;
  /** In the place of the turn's own way to send. */
  readonly send?: Send;
  /** Does what would be done later, so that it counts in the turn that caused it. */
  settle(): Promise<void>;
  close(): Promise<void>;
}

export interface VariantKind {
  readonly name: string;
  readonly note: string;
  open(): Variant;
}

/** What every other one is compared with. */
export const off: VariantKind = {
  name: "off",
  note: "`telemetry: false`",
  open: () => plain(false),
};

/** The same as `off`: how far from 1 the machine alone puts a ratio. */
export const control: VariantKind = { ...off, name: "control" };

export const none: VariantKind = {
  name: "none",
  note: "nothing said about telemetry, and no SDK registered",
  open: () => plain({}),
};

export const on: VariantKind = {
  name: "on",
  note: "metrics by the bootstrap (both families), no traces",
  open: () => bootstrapped({}),
};

export const bridge: VariantKind = {
  name: "bridge",
  note: "metrics over the public API to a stock MeterProvider with the stock PrometheusExporter",
  open: () => stock({}),
};

export const bridgePerBatch: VariantKind = {
  name: "bridge-per-batch",
  note: 'as `bridge`, with `sendDuration: "per-batch"`',
  open: () => stock({ sendDuration: "per-batch" }),
};

export const onePercent: VariantKind = {
  name: "traces-1",
  note: "as `on`, and 1 % of traces through a batch processor to an exporter that drops them",
  open: () => bootstrapped({}, 0.01),
};

export const allTraces: VariantKind = {
  name: "traces-all",
  note: "as `on`, and all traces through a batch processor to an exporter that drops them",
  open: () => bootstrapped({}, 1),
};

/** Options that can be turned, each with everything else as in `on`. */
export const knobs: readonly VariantKind[] = [
  knob("partition-labels", "`partitionLabels: true`", { partitionLabels: true }),
  knob("streamhouse-only", '`families: ["streamhouse"]`', { families: ["streamhouse"] }),
  knob("semconv-only", '`families: ["semconv"]`', { families: ["semconv"] }),
  knob("send-per-batch", '`sendDuration: "per-batch"`', { sendDuration: "per-batch" }),
];

function knob(name: string, note: string, options: TelemetryOptions): VariantKind {
  return { name, note: `as \`on\`, with ${note}`, open: () => bootstrapped(options) };
}

function plain(telemetry: TelemetryOptions | false): Variant {
  return { telemetry, settle: async () => {}, close: async () => {} };
}

function stock(options: TelemetryOptions): Variant {
  const reader = new PrometheusExporter({ preventServerStart: true });
  const meterProvider = new MeterProvider({ readers: [reader] });
  return { ...plain({ meterProvider, ...options }), close: () => meterProvider.shutdown() };
}

/** By our bootstrap; with spans if a part of the traces is wanted. */
export function bootstrapped(options: TelemetryOptions, sampled?: number): Variant {
  const processor = sampled === undefined ? undefined : new BatchSpanProcessor(nowhere);
  const sdk = bootstrap({
    register: false,
    env: {
      OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
      OTEL_TRACES_SAMPLER_ARG: String(sampled ?? 0),
    },
    spanProcessors: processor === undefined ? [] : [processor],
  });
  const { meterProvider, tracerProvider } = sdk;
  return {
    telemetry: { meterProvider, tracerProvider, ...options },
    settle: async () => await processor?.forceFlush(),
    close: () => sdk.shutdown(),
  };
}

const nowhere: SpanExporter = {
  export: (_: ReadableSpan[], done: (result: ExportResult) => void) => done({ code: 0 }),
  shutdown: async () => {},
  forceFlush: async () => {},
};
