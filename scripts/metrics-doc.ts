/**
 * Writes `docs/metrics.md` from the catalogue of instruments: `node scripts/metrics-doc.ts`. A test compares the file
 * with what this would write.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import {
  catalogue,
  type InstrumentDescriptor,
  type InstrumentKey,
} from "../src/telemetry/catalogue.ts";
import { agentInstruments } from "../src/telemetry/catalogue-agent.ts";
import { clientInstruments } from "../src/telemetry/catalogue-clients.ts";
import { compactionInstruments } from "../src/telemetry/catalogue-compaction.ts";
import { healthInstruments } from "../src/telemetry/catalogue-health.ts";
import { runInstruments } from "../src/telemetry/catalogue-run.ts";
import { semconvInstruments } from "../src/telemetry/catalogue-semconv.ts";
import { metricUses } from "./metrics-uses.ts";

export const metricsDocPath: string = fileURLToPath(new URL("../docs/metrics.md", import.meta.url));

const producerKeys: readonly InstrumentKey[] = [
  "recordsSent",
  "bytesSent",
  "sendDuration",
  "batchFlushDuration",
  "batchSizeRecords",
  "batchSizeBytes",
  "sendErrors",
  "pendingRecords",
  "retries",
];
const keysOf = (part: object) => Object.keys(part) as InstrumentKey[];

interface Section {
  readonly title: string;
  readonly lead: string;
  readonly keys: readonly InstrumentKey[];
}

const sections: readonly Section[] = [
  {
    title: "Producer",
    lead: "Exported by the process that calls `send()` and `sendBatch()`.",
    keys: producerKeys,
  },
  {
    title: "Consumer",
    lead:
      "Exported by the consumer's process. Lag is asked of the agent on a timer, so that it grows while the application is stuck; " +
      "of a dead process only the agent's view is left.",
    keys: keysOf(clientInstruments).filter((key) => !producerKeys.includes(key)),
  },
  {
    title: "Handlers",
    lead: "Exported by the process that calls `consumer.run()`, beside what every consumer exports. docs/consumer-run.md says how it works.",
    keys: keysOf(runInstruments),
  },
  {
    title: "Agent",
    lead: "Exported by the agent. Only the holder of a partition's lease reports that partition and the lag of its groups.",
    keys: keysOf(agentInstruments),
  },
  {
    title: "The log's upkeep",
    lead:
      "Exported by the agent: merging in the background by the holder of a partition's lease, deleting and the search for orphans by any " +
      "agent.",
    keys: keysOf(compactionInstruments),
  },
  {
    title: "The telemetry's own health",
    lead: "Exported by every process that is measured. What was not measured, or not delivered, is itself a number.",
    keys: keysOf(healthInstruments),
  },
  {
    title: "By the semantic conventions",
    lead:
      "The same measurements under OpenTelemetry's own names, from the same statements: `messaging.*` and `rpc.client.*` by producers and " +
      "consumers, `rpc.server.*` by the agent. A `ProduceStream` is one call here, its frames are requests of `streamhouse_grpc_*`; " +
      "methods that the agent does not have are `_OTHER`. `error_type` is there only on failure: at the server these are UNKNOWN, " +
      "DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS, as the conventions say.",
    keys: keysOf(semconvInstruments),
  },
];

/** The text of `docs/metrics.md`. */
export function metricsDoc(): string {
  const parts = sections.map(section);
  return [intro, ...parts, outro].join("\n");
}

const intro = `# Metrics

Written by \`node scripts/metrics-doc.ts\` from \`src/telemetry/catalogue.ts\`: change that, not this.

The Prometheus name is the OpenTelemetry name with dots as underscores, the unit \`_seconds\` where the name has not got it (the conventions'
durations), and \`_total\` behind counters. It is the same on our own \`/metrics\` and through an OpenTelemetry Collector, and through the
stock \`@opentelemetry/exporter-prometheus\` too: that one adds no units, so an application with its own SDK gives it
\`views: prometheusViews()\` from \`@streamhouse/streamhouse/telemetry\`. Label names are the attribute names with dots as underscores
(\`error.type\` is \`error_type\`).

\`partition\` in brackets appears with \`telemetry: { partitionLabels: true }\` only: on counters it multiplies the series.

## Choosing what is counted

| option of \`telemetry\` | effect |
|---|---|
| \`false\` | nothing is counted, no span is made |
| \`families: ["streamhouse"]\` | only our own names; \`["semconv"]\` only those of the conventions. Default both. A family that is left out has no series and no instruments. \`bootstrap({ families })\` says it for all components of a process |
| \`partitionLabels: true\` | \`partition\` on counters too |
| \`sendDuration: "per-batch"\` | \`streamhouse_send_duration_seconds\` gets one sample a batch, the longest wait in it, instead of one for each \`send()\`. It costs a fraction, and **its count is then of batches**: quantiles are too high, and it is not comparable with a process that has the default, \`"per-send"\`. The same holds for \`streamhouse_end_to_end_latency_seconds\` and \`streamhouse_record_age_seconds\` of a consumer: one sample for what is handed over together |
| \`recordSpans: false\` | no spans for single records; metrics are the same |
`;

const outro = `## Buckets

${bucketLines()}

## Exemplars

With \`bootstrap()\`, histograms keep for each bucket the latest sample whose span is sampled, with its trace and span id. They come out in
the OpenMetrics format of \`/metrics\` (a Prometheus asks for it by \`Accept\`, and keeps them with \`--enable-feature=exemplar-storage\`).
\`OTEL_METRICS_EXEMPLAR_FILTER=always_off\` turns them off. The JavaScript OTLP exporters write none, and other SDKs get none from us.

## Limits

- A family holds at most 2,000 series in a process, over all components. Beyond it counters and histograms fold into one series with
  \`otel_metric_overflow="true"\`: sums stay right. Gauges are never folded that way: their family drops \`partition\` instead, lag in records is
  summed, lag in seconds is the greatest, lead the least, offsets are left out until there are few enough again.
  \`streamhouse_telemetry_series_overflow_total\` says which family is full.
- Topics and methods that do not exist, and error texts, never become label values: they are \`_OTHER\`, or an error code.
- The OpenTelemetry SDK has a limit of its own, 2,000 series an instrument, and folds gauges too. It applies where the public metrics API
  is used (another SDK than the bootstrap's, or \`instruments: "meter"\`). The SDK adds what it folds of a counter that is observed to the
  total again with every collection, so the bridge shows it at most 1,998 series of each and folds the rest itself. Leave the reader's
  \`cardinalityLimits\` at 2,000 or above, and above the partitions that a process may ever have had: the SDK forgets no gauge.

## Two routes

| | metric producer | bridge |
|---|---|---|
| used by | \`bootstrap()\`, the default | every other MeterProvider, and \`bootstrap({ instruments: "meter" })\` |
| cost | a few nanoseconds a sample | the SDK's, for each histogram sample; counters and gauges are read when it collects |
| a partition that was revoked, a lease that was lost | gone at the next collection | the SDK keeps asynchronous series for as long as the process runs: a lag is observed as 0 once and stays 0, other gauges keep their last value |
| exemplars | yes | no |
| deltas (\`OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE\`) | each reader its own, from the totals | the SDK's |
| names, units, labels, values, buckets | the same: a contract test compares them on one recorded workload | |

What a closed producer or consumer counted stays in the process's totals either way: a counter that fell would look like a restart.

## When the SDK is registered late

Components look for a global MeterProvider when they are made, and then once a second for a minute; after that when they do something.
Counters and gauges then report their totals so far. Histograms repeat up to 10,000 samples a series, in the same buckets with the
same sum; where there were more, they begin anew and \`streamhouse_telemetry_samples_lost_total\` counts what is missing.

## When telemetry fails

Nothing of it reaches the application: a provider, a meter or a span that throws costs what it would have reported. A push that is under
way holds the process for its timeout at most (\`OTEL_EXPORTER_OTLP_TIMEOUT\`, 10 s); timers do not. With deltas, a push that failed is lost,
with totals the next one makes up for it.
`;

function section({ title, lead, keys }: Section): string {
  const rows = keys.map((key) => row(key, catalogue[key]));
  const head = [
    "| Prometheus name | OpenTelemetry name | kind, unit | labels | meaning | good for |",
    "|---|---|---|---|---|---|",
  ];
  return [`## ${title}`, "", lead, "", ...head, ...rows, ""].join("\n");
}

function row(key: InstrumentKey, descriptor: InstrumentDescriptor): string {
  const { name, kind, unit, description } = descriptor;
  const cells = [
    `\`${prometheusName(descriptor)}\``,
    `\`${name}\``,
    `${kindText(kind)}, ${unit}`,
    labels(descriptor),
    description,
    metricUses[key] ?? "",
  ];
  return `| ${cells.join(" | ")} |`;
}

/** As our own exposition and the Collector write it. */
function prometheusName({ name, kind, unit }: InstrumentDescriptor): string {
  const base = name.replaceAll(".", "_");
  const withUnit = unit === "s" && !base.endsWith("_seconds") ? `${base}_seconds` : base;
  return kind === "counter" ? `${withUnit}_total` : withUnit;
}

function kindText(kind: InstrumentDescriptor["kind"]): string {
  return kind === "upDownCounter" ? "up-down counter (a Prometheus gauge)" : kind;
}

function labels({ attributes, kind }: InstrumentDescriptor): string {
  return attributes
    .map((name) => name.replaceAll(".", "_"))
    .map((name) => (name === "partition" && kind !== "gauge" ? "(partition)" : name))
    .join(", ");
}

function bucketLines(): string {
  const byBuckets = new Map<string, string[]>();
  for (const { name, buckets } of Object.values(catalogue)) {
    if (buckets === undefined) continue;
    const key = buckets.join(" ");
    byBuckets.set(key, [...(byBuckets.get(key) ?? []), `\`${name}\``]);
  }
  return [...byBuckets].map(([key, names]) => `- \`${key}\`: ${names.join(", ")}`).join("\n");
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  writeFileSync(metricsDocPath, metricsDoc());
}
