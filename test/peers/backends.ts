/**
 * The real OpenTelemetry Collector and the real Jaeger as child processes on free ports of 127.0.0.1, and Jaeger's API as spans
 * that a test can look at. The programs end with their standard input, so none outlives the test, however that ends.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { peerProgram } from "../../scripts/peers.ts";
import { scratch } from "../package/packed.ts";
import { Running, startOnFreePorts } from "./running.ts";
import type { SeenSpan } from "./seen-span.ts";

/** The Collector's settings are its defaults; what a test sets beyond them is named in it. */
export interface CollectorOptions {
  /** Where traces go on to, as `http://host:port`. Without it the Collector takes metrics only. */
  readonly tracesTo?: string;
  /** Lines of the Prometheus exporter's settings, below `prometheus:`. */
  readonly prometheus?: readonly string[];
  /** A whole configuration instead, with the addresses of docs/collector.md: those become the test's own. */
  readonly config?: string;
}

export interface Collector {
  /** For `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly otlp: string;
  /** What its Prometheus exporter answers. */
  scrape(): Promise<string>;
  stop(): Promise<void>;
}

export interface Jaeger {
  /** For `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly otlp: string;
  /** The spans of a trace that its API answers; none while it does not know the trace. */
  trace(traceId: string): Promise<readonly SeenSpan[]>;
  /** All traces of a service that have a span of this name. */
  find(service: string, operation: string): Promise<readonly SeenSpan[]>;
  stop(): Promise<void>;
}

export async function startCollector(options: CollectorOptions = {}): Promise<Collector> {
  const program = await peerProgram("collector");
  const folder = scratch("collector");
  const config = join(folder.path, "collector.yaml");
  return startOnFreePorts(async (otlp, prometheus) => {
    writeFileSync(config, collectorConfig(otlp, prometheus, options));
    const running = new Running(program, ["--config", `file:${config}`]);
    await running.answers(`http://127.0.0.1:${otlp}/v1/metrics`, emptyExport);
    await running.answers(`http://127.0.0.1:${prometheus}/metrics`);
    return {
      otlp: `http://127.0.0.1:${otlp}`,
      scrape: async () => (await fetch(`http://127.0.0.1:${prometheus}/metrics`)).text(),
      stop: () => running.end().finally(folder.remove),
    };
  });
}

export async function startJaeger(): Promise<Jaeger> {
  const program = await peerProgram("jaeger");
  return startOnFreePorts(async (otlp, query) => {
    const running = new Running(program, [
      `--collector.otlp.http.host-port=127.0.0.1:${otlp}`,
      "--collector.otlp.grpc.host-port=127.0.0.1:0",
      "--collector.grpc-server.host-port=127.0.0.1:0",
      "--collector.http-server.host-port=127.0.0.1:0",
      `--query.http-server.host-port=127.0.0.1:${query}`,
      "--query.grpc-server.host-port=127.0.0.1:0",
    ]);
    await running.answers(`http://127.0.0.1:${otlp}/v1/traces`, emptyExport);
    await running.answers(`http://127.0.0.1:${query}/api/services`);
    const read = async (path: string): Promise<readonly SeenSpan[]> => {
      const answer = await fetch(`http://127.0.0.1:${query}${path}`);
      if (answer.status === 404) return [];
      if (!answer.ok) throw new Error(`Jaeger answered ${answer.status}: ${await answer.text()}`);
      return spansOf((await answer.json()) as JaegerAnswer);
    };
    return {
      otlp: `http://127.0.0.1:${otlp}`,
      trace: (traceId) => read(`/api/traces/${traceId}`),
      find: (service, operation) =>
        read(`/api/traces?${new URLSearchParams({ service, operation, limit: "200" })}`),
      stop: () => running.end(),
    };
  });
}

const emptyExport: RequestInit = {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: "{}",
};

function collectorConfig(otlp: number, prometheus: number, options: CollectorOptions): string {
  const traces = options.tracesTo;
  if (options.config !== undefined) {
    return options.config
      .replaceAll("0.0.0.0:4318", `127.0.0.1:${otlp}`)
      .replaceAll("0.0.0.0:8889", `127.0.0.1:${prometheus}`)
      .replaceAll("http://jaeger:4318", traces ?? "http://127.0.0.1:9");
  }
  return [
    "receivers:",
    "  otlp:",
    `    protocols: { http: { endpoint: "127.0.0.1:${otlp}" } }`,
    "processors:",
    "  batch: { timeout: 100ms }",
    "exporters:",
    "  prometheus:",
    `    endpoint: "127.0.0.1:${prometheus}"`,
    ...(options.prometheus ?? []).map((line) => `    ${line}`),
    ...(traces === undefined ? [] : ["  otlphttp:", `    endpoint: "${traces}"`]),
    "service:",
    "  telemetry: { metrics: { level: none } }",
    "  pipelines:",
    "    metrics: { receivers: [otlp], exporters: [prometheus] }",
    ...(traces === undefined
      ? []
      : ["    traces: { receivers: [otlp], processors: [batch], exporters: [otlphttp] }"]),
  ].join("\n");
}

/** https://www.jaegertracing.io/docs/1.62/apis/#http-json-internal */
interface JaegerAnswer {
  readonly data: readonly {
    readonly spans: readonly JaegerSpan[];
    readonly processes: Readonly<Record<string, { readonly serviceName: string }>>;
  }[];
}

interface JaegerSpan {
  readonly traceID: string;
  readonly spanID: string;
  readonly operationName: string;
  readonly processID: string;
  readonly references: readonly {
    readonly refType: "CHILD_OF" | "FOLLOWS_FROM";
    readonly traceID: string;
    readonly spanID: string;
  }[];
  readonly tags: readonly JaegerTag[];
  readonly logs: readonly { readonly fields: readonly JaegerTag[] }[];
}

interface JaegerTag {
  readonly key: string;
  readonly value: string | number | boolean;
}

function spansOf(answer: JaegerAnswer): readonly SeenSpan[] {
  return answer.data.flatMap(({ spans, processes }) =>
    spans.map((span) => {
      const tags = Object.fromEntries(span.tags.map(({ key, value }) => [key, value]));
      const refs = (type: string) =>
        span.references
          .filter((it) => it.refType === type)
          .map((it) => ({ traceId: it.traceID, spanId: it.spanID }));
      const links = refs("FOLLOWS_FROM");
      // Jaeger's own rule. It keeps one reference to each span: a parent that is linked too is FOLLOWS_FROM only
      // (`ParentSpanID` of its model, `makeJaegerProtoReferences` of its OTLP translator).
      const parent = refs("CHILD_OF")[0] ?? links.find(({ traceId }) => traceId === span.traceID);
      const { "span.kind": kind, ...attributes } = tags;
      return {
        traceId: span.traceID,
        spanId: span.spanID,
        name: span.operationName,
        kind: String(kind ?? "internal"),
        service: processes[span.processID]?.serviceName ?? "",
        parent,
        links,
        attributes,
        events: span.logs.map(({ fields }) =>
          String(fields.find(({ key }) => key === "event")?.value ?? ""),
        ),
      };
    }),
  );
}
