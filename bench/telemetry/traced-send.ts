/**
 * Records that are sent inside an application's own spans: each `send` has a root span of the
 * application around it, as a web server has for a request. Measured against the same application
 * with the same spans and `telemetry: false`, so that the ratio is StreamHouse's own part.
 */
import { context, propagation, ROOT_CONTEXT, type Tracer, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import type { ProducerRecord } from "../../src/core/record.ts";
import type { Producer } from "../../src/producer/producer.ts";
import type { TelemetryOptions } from "../../src/telemetry/telemetry.ts";
import type { Contender } from "../contender.ts";
import { inFlight } from "../produce.ts";
import type { BenchSettings } from "../settings.ts";
import type { Workload } from "../workload.ts";
import { pairContenders } from "./pairs.ts";
import { type Chunks, sliceOptions } from "./slice.ts";
import { bootstrapped, type VariantKind } from "./variants.ts";

interface Case {
  readonly name: string;
  /** Part of the application's traces that is sampled; undefined if it has none. */
  readonly sampled: number | undefined;
  readonly options: TelemetryOptions;
}

const cases: readonly Case[] = [
  { name: "idle", sampled: undefined, options: {} },
  { name: "1-always", sampled: 0.01, options: { propagation: "always" } },
  { name: "1-sampled", sampled: 0.01, options: { propagation: "sampled" } },
  { name: "1-off", sampled: 0.01, options: { propagation: "off" } },
  { name: "all-always", sampled: 1, options: { propagation: "always" } },
  { name: "all-batches", sampled: 1, options: { propagation: "always", recordSpans: false } },
];

export function tracedSendContenders(settings: BenchSettings, workload: Workload): Contender[] {
  const slice = sliceOptions(settings, workload, { way: "embedded", via: "send" });
  const globals = new Globals();
  return cases.flatMap((it) => {
    const [against, kind] = [false, true].map((on) => kindOf(it, on)) as [VariantKind, VariantKind];
    return pairContenders("telemetry-traced", kind, slice, against).map((contender) =>
      globals.around(contender),
    );
  });
}

function kindOf({ name, sampled, options }: Case, measured: boolean): VariantKind {
  return {
    name,
    note: noteOf(sampled, measured ? JSON.stringify(options) : "`telemetry: false`"),
    open() {
      const variant = bootstrapped(options, sampled);
      const { telemetry } = variant;
      if (sampled === undefined) return { ...variant, telemetry: measured && telemetry };
      const provider = telemetry === false ? undefined : telemetry.tracerProvider;
      const tracer = (provider ?? trace).getTracer("application");
      const send = (producer: Producer, topic: string, chunks: Chunks) =>
        sendInSpans(tracer, producer, topic, chunks);
      return { ...variant, telemetry: measured ? telemetry : false, send };
    },
  };
}

function noteOf(sampled: number | undefined, options: string): string {
  return sampled === undefined
    ? `context manager and propagator registered, no span active, ${options}`
    : `each send in a span of the application, ${sampled * 100} % of them sampled, ${options}`;
}

/** As `sendEach`, with a span around each call. */
async function sendInSpans(
  tracer: Tracer,
  producer: Producer,
  topic: string,
  chunks: Chunks,
): Promise<void> {
  const send = ({ value }: ProducerRecord) => {
    const span = tracer.startSpan("request", {}, ROOT_CONTEXT);
    const inSpan = trace.setSpan(ROOT_CONTEXT, span);
    const sent = context.with(inSpan, () => producer.send({ topic, value }));
    span.end();
    return sent;
  };
  await inFlight(chunks.flat(), send);
}

/** Context and propagation work by what is registered globally: for as long as these contenders run. */
class Globals {
  #users = 0;

  around(contender: Contender): Contender {
    return {
      ...contender,
      prepare: async () => {
        if (this.#users++ === 0) register();
        await contender.prepare?.();
      },
      close: async () => {
        await contender.close?.();
        if (--this.#users === 0) unregister();
      },
    };
  }
}

function register(): void {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
}

function unregister(): void {
  context.disable();
  propagation.disable();
}
