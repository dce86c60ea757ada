/**
 * Instruments of the catalogue as PromQL. A dashboard names an instrument by its key and never by its text, so that a metric which is
 * renamed or loses a label stops the build instead of emptying a panel. Called by the dashboards beside this file.
 */
import {
  catalogue,
  type InstrumentDescriptor,
  type InstrumentKey,
} from "../../src/telemetry/catalogue.ts";

/** Labels that Prometheus itself puts on every series that it scrapes. */
const targetLabels = ["job", "instance"] as const;

/** What the dashboards' variables of the same name choose. */
const variableOfLabel: Readonly<Record<string, string>> = {
  job: "$job",
  instance: "$instance",
  topic: "$topic",
  group_id: "$group",
};

/** A matcher besides those of the variables, such as `status!="ok"`. */
export type Matcher = `${string}="${string}"` | `${string}~"${string}"`;

/** `name{job=~"$job",…}` with every variable that fits the instrument's attributes. */
export function series(key: InstrumentKey, ...matchers: readonly Matcher[]): string {
  return selector(catalogue[key], "", matchers);
}

/** Events a second of a counter, summed by these labels. */
export function rate(
  key: InstrumentKey,
  by: readonly string[],
  ...more: readonly Matcher[]
): string {
  return total(`rate(${series(key, ...more)}[$__rate_interval])`, key, by);
}

/** Events of a counter in the range that a point of the graph stands for, summed by these labels. */
export function increase(
  key: InstrumentKey,
  by: readonly string[],
  ...more: readonly Matcher[]
): string {
  return total(`increase(${series(key, ...more)}[$__rate_interval])`, key, by);
}

/** A gauge, summed by these labels. */
export function sum(
  key: InstrumentKey,
  by: readonly string[],
  ...more: readonly Matcher[]
): string {
  return total(series(key, ...more), key, by);
}

/** The greatest of a gauge by these labels. */
export function max(
  key: InstrumentKey,
  by: readonly string[],
  ...more: readonly Matcher[]
): string {
  return `max${grouping(catalogue[key], by)} (${series(key, ...more)})`;
}

/** The least of a gauge by these labels. */
export function min(
  key: InstrumentKey,
  by: readonly string[],
  ...more: readonly Matcher[]
): string {
  return `min${grouping(catalogue[key], by)} (${series(key, ...more)})`;
}

/** A histogram's quantile over all processes, by these labels. */
export function quantile(
  q: number,
  key: InstrumentKey,
  by: readonly string[] = [],
  ...more: readonly Matcher[]
): string {
  return `histogram_quantile(${q}, ${buckets(key, by, ...more)})`;
}

/** A histogram's buckets a second: what a heatmap draws, and a quantile is computed of. */
export function buckets(
  key: InstrumentKey,
  by: readonly string[] = [],
  ...more: readonly Matcher[]
): string {
  const bucket = selector(ofKind(key, "histogram"), "_bucket", more);
  return `sum${grouping(catalogue[key], ["le", ...by])} (rate(${bucket}[$__rate_interval]))`;
}

/** Samples of a histogram a second. */
export function samples(
  key: InstrumentKey,
  by: readonly string[] = [],
  ...more: readonly Matcher[]
): string {
  const count = selector(ofKind(key, "histogram"), "_count", more);
  return total(`rate(${count}[$__rate_interval])`, key, by);
}

/** The mean of a histogram's samples. */
export function mean(key: InstrumentKey, by: readonly string[] = []): string {
  const all = selector(ofKind(key, "histogram"), "_sum", []);
  return `${total(`rate(${all}[$__rate_interval])`, key, by)} / ${samples(key, by)}`;
}

/** The Prometheus name, by the rule of docs/metrics.md. */
export function prometheusName({ name, kind }: InstrumentDescriptor): string {
  return `${name.replaceAll(".", "_")}${kind === "counter" ? "_total" : ""}`;
}

function total(expression: string, key: InstrumentKey, by: readonly string[]): string {
  return `sum${grouping(catalogue[key], by)} (${expression})`;
}

function grouping(descriptor: InstrumentDescriptor, by: readonly string[]): string {
  for (const label of by) {
    if (label !== "le") checkLabel(descriptor, label);
  }
  return by.length === 0 ? "" : ` by (${by.join(", ")})`;
}

function selector(
  descriptor: InstrumentDescriptor,
  suffix: string,
  more: readonly string[],
): string {
  const labels = [...targetLabels, ...labelsOf(descriptor)];
  const variables = labels.flatMap((label) => {
    const variable = variableOfLabel[label];
    return variable === undefined ? [] : [`${label}=~"${variable}"`];
  });
  for (const matcher of more) checkLabel(descriptor, matcher.replace(/!?[=~].*$/s, ""));
  return `${prometheusName(descriptor)}${suffix}{${[...variables, ...more].join(", ")}}`;
}

function labelsOf({ attributes }: InstrumentDescriptor): readonly string[] {
  return attributes.map((name) => name.replaceAll(".", "_"));
}

function checkLabel(descriptor: InstrumentDescriptor, label: string): void {
  const known = [...targetLabels, ...labelsOf(descriptor)];
  if (known.includes(label)) return;
  throw new Error(`${descriptor.name} has no label ${label}: it has ${known.join(", ")}`);
}

function ofKind(key: InstrumentKey, kind: InstrumentDescriptor["kind"]): InstrumentDescriptor {
  const descriptor = catalogue[key];
  if (descriptor.kind === kind) return descriptor;
  throw new Error(`${descriptor.name} is a ${descriptor.kind}: a ${kind} was expected here`);
}
