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
import { healthInstruments } from "../src/telemetry/catalogue-health.ts";
import { semconvInstruments } from "../src/telemetry/catalogue-semconv.ts";

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

const sections: readonly (readonly [string, string, readonly InstrumentKey[]])[] = [
  ["Producer", "Counted where `send()` and `sendBatch()` are called.", producerKeys],
  [
    "Consumer",
    "Counted in the consumer's process. Lag is asked of the agent on a timer, so that it grows while the application is stuck.",
    keysOf(clientInstruments).filter((key) => !producerKeys.includes(key)),
  ],
  [
    "Agent",
    "Counted in the agent. Only the holder of a partition's lease reports that partition and the lag of its groups.",
    keysOf(agentInstruments),
  ],
  [
    "The telemetry's own health",
    "What was not measured, or not delivered, is itself a number.",
    keysOf(healthInstruments),
  ],
  [
    "By the semantic conventions",
    "The same measurements under OpenTelemetry's own names; `telemetry: { families }` chooses which are reported.",
    keysOf(semconvInstruments),
  ],
];

/** The text of `docs/metrics.md`. */
export function metricsDoc(): string {
  const parts = sections.map(([title, lead, keys]) => section(title, lead, keys));
  return [intro, ...parts, outro].join("\n");
}

const intro = `# Metrics

Written by \`node scripts/metrics-doc.ts\` from \`src/telemetry/catalogue.ts\`: change that, not this.

The Prometheus name is the OpenTelemetry name with dots as underscores, and \`_total\` behind counters. It is the same on our own
\`/metrics\`, through the stock \`@opentelemetry/exporter-prometheus\`, and through an OpenTelemetry Collector. Label names are the
attribute names with dots as underscores (\`error.type\` is \`error_type\`).

\`partition\` in brackets appears with \`telemetry: { partitionLabels: true }\` only: on counters it multiplies the series.
`;

const outro = `## Buckets

${bucketLines()}

## Limits

- A family holds at most 2,000 series a component. Beyond it counters and histograms fold into one series with
  \`otel_metric_overflow="true"\`. Gauges are never folded that way: their family drops \`partition\` instead, lag in records is
  summed, lag in seconds is the greatest, offsets are left out until there are few enough again.
  \`streamhouse_telemetry_series_overflow_total\` says which family is full.
- The OpenTelemetry SDK has its own limit of 2,000 series an instrument. It applies where another SDK than the bootstrap's
  collects, across all components of the process.

## When a partition is revoked or its lease lost

- With \`bootstrap()\` (the default, \`instruments: "producer"\`) its series are gone at the next collection.
- With any other SDK, or \`instruments: "meter"\`, the SDK keeps asynchronous series for as long as the process runs. There a lag is observed
  as 0 once and stays 0; offsets keep their last value.
- What a closed producer or consumer counted stays in the process's totals: a counter that fell would look like a restart.

## When the SDK is registered late

Components look for a global MeterProvider when they are made, and then once a second for a minute; after that when they do something.
Counters and gauges then report their totals so far. Histograms repeat up to 10,000 samples a series, in the same buckets with the
same sum; where there were more, they begin anew and \`streamhouse_telemetry_samples_lost_total\` counts what is missing.
`;

function section(title: string, lead: string, keys: readonly InstrumentKey[]): string {
  const rows = keys.map((key) => row(catalogue[key]));
  const head = [
    "| Prometheus name | OpenTelemetry name | kind, unit | labels | meaning |",
    "|---|---|---|---|---|",
  ];
  return [`## ${title}`, "", lead, "", ...head, ...rows, ""].join("\n");
}

function row(descriptor: InstrumentDescriptor): string {
  const { name, kind, unit, description } = descriptor;
  const prometheus = `${name.replaceAll(".", "_")}${kind === "counter" ? "_total" : ""}`;
  const cells = [`\`${prometheus}\``, `\`${name}\``, `${kindText(kind)}, ${unit}`];
  return `| ${[...cells, labels(descriptor), description].join(" | ")} |`;
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
