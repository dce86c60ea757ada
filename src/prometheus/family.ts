/**
 * Which families a collection makes: streams of several scopes and instruments that come out under one name are one family with
 * one TYPE, and what cannot be written together is left out and said, not mixed. Pure; called by `serializer.ts`. Rules:
 * https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#metric-metadata-1
 */
import {
  type CollectedMetrics,
  DELTA,
  type MetricScope,
  type MetricStream,
  pointTypes,
} from "./collected.ts";
import type { PrometheusFormat } from "./format.ts";
import { labelName, labelPair } from "./labels.ts";
import { type FamilyKind, type FamilyName, familyName, type NameOptions } from "./metric-name.ts";

/** The streams of one family, with the labels of their scope. */
export interface FamilyPart {
  readonly stream: MetricStream;
  /** Pairs as `otel_scope_name="x"`, joined with commas; empty without scope labels. */
  readonly scopeLabels: string;
}

export interface Family extends FamilyName {
  readonly kind: FamilyKind;
  /** What the `TYPE` line says, and of what name. */
  readonly type: FamilyKind | "unknown";
  readonly typeName: string;
  readonly help: string;
  readonly parts: readonly FamilyPart[];
}

/** Something that could not be written as it was collected. */
export interface PrometheusNotice {
  /** The instrument's name. */
  readonly metric: string;
  readonly reason: string;
}

export interface FamilyOptions extends NameOptions {
  readonly scopeLabels: boolean;
}

interface OpenFamily extends FamilyName {
  readonly kind: FamilyKind;
  help: string;
  readonly parts: FamilyPart[];
}

/** In the order in which their first stream was collected. */
export function planFamilies(
  metrics: CollectedMetrics,
  format: PrometheusFormat,
  options: FamilyOptions,
  notice: (notice: PrometheusNotice) => void,
): readonly Family[] {
  const open = new Map<string, OpenFamily>();
  for (const { scope, metrics: streams } of metrics.scopeMetrics) {
    const scopeLabels = options.scopeLabels ? scopePairs(scope) : "";
    for (const stream of streams) {
      if (stream.dataPoints.length > 0) join(open, { stream, scopeLabels }, options, notice);
    }
  }
  return claimNames([...open.values()], format, notice);
}

function join(
  open: Map<string, OpenFamily>,
  part: FamilyPart,
  options: FamilyOptions,
  notice: (notice: PrometheusNotice) => void,
): void {
  const { descriptor, dataPointType } = part.stream;
  const metric = descriptor.name;
  const kind = kindOf(part.stream);
  if (typeof kind !== "string") {
    notice({ metric, reason: kind.reason });
    return;
  }
  const isGauge = dataPointType === pointTypes.gauge;
  const name = familyName({ name: metric, unit: descriptor.unit, isGauge }, kind, options);
  if (name === undefined) {
    notice({ metric, reason: "left out: no letter or digit is left of its name" });
    return;
  }
  const known = open.get(name.sample);
  if (known === undefined) {
    open.set(name.sample, { ...name, kind, help: descriptor.description, parts: [part] });
  } else if (known.kind !== kind) {
    notice({ metric, reason: `left out: ${name.sample} is a ${known.kind} of another instrument` });
  } else {
    known.parts.push(part);
    if (known.help === "") known.help = descriptor.description;
    else if (descriptor.description !== "" && descriptor.description !== known.help) {
      notice({ metric, reason: `${name.sample} has another description: the first one is shown` });
    }
  }
}

function kindOf(stream: MetricStream): FamilyKind | { readonly reason: string } {
  const { dataPointType, aggregationTemporality, isMonotonic } = stream;
  if (dataPointType === pointTypes.gauge) return "gauge";
  if (aggregationTemporality === DELTA) {
    return { reason: "left out: it has delta temporality, and Prometheus counts from the start" };
  }
  switch (dataPointType) {
    case pointTypes.sum:
      return isMonotonic === true ? "counter" : "gauge";
    case pointTypes.histogram:
    case pointTypes.exponentialHistogram:
      return "histogram";
    default:
      return { reason: `left out: data points of type ${dataPointType} are not known` };
  }
}

/** In the order of the stock serializer; then what attributes the scope has. */
function scopePairs(scope: MetricScope): string {
  const { name, version, schemaUrl, attributes = {} } = scope;
  const pairs = [labelPair("otel_scope_name", name)];
  if (schemaUrl) pairs.push(labelPair("otel_scope_schema_url", schemaUrl));
  if (version) pairs.push(labelPair("otel_scope_version", version));
  const taken = new Set(["otel_scope_name", "otel_scope_schema_url", "otel_scope_version"]);
  for (const [key, value] of Object.entries(attributes)) {
    const label = labelName(`otel_scope_${key}`);
    if (taken.has(label)) continue;
    taken.add(label);
    pairs.push(labelPair(label, value));
  }
  return pairs.join(",");
}

/**
 * Sees to it that no two families write samples of one name: a histogram `x` has `x_count`, and in OpenMetrics a counter `x` has
 * `x` too. There a counter beside a gauge of its name is written as `unknown` under its full name, which keeps the samples of both.
 */
function claimNames(
  families: readonly OpenFamily[],
  format: PrometheusFormat,
  notice: (notice: PrometheusNotice) => void,
): readonly Family[] {
  const claimed = new Set(["target_info", ...(format === "openmetrics" ? ["target"] : [])]);
  const claim = (names: readonly string[]): boolean => {
    if (names.some((name) => claimed.has(name))) return false;
    for (const name of names) claimed.add(name);
    return true;
  };
  const planned = new Map<OpenFamily, Family>();
  const counters = families.filter((family) => family.kind === "counter");
  for (const family of [...families.filter((it) => it.kind !== "counter"), ...counters]) {
    const { kind, base, sample } = family;
    const openmetrics = format === "openmetrics";
    if (claim(namesOf(family, openmetrics))) {
      const typeName = openmetrics ? base : sample;
      planned.set(family, { ...family, type: kind, typeName });
    } else if (kind === "counter" && openmetrics && claim([sample])) {
      planned.set(family, { ...family, unit: "", type: "unknown", typeName: sample });
    } else {
      const metric = family.parts[0]?.stream.descriptor.name ?? sample;
      notice({ metric, reason: `left out: another family has samples named ${sample} or like it` });
    }
  }
  return families.flatMap((family) => planned.get(family) ?? []);
}

/** https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md#suffixes */
function namesOf(family: OpenFamily, openmetrics: boolean): readonly string[] {
  const { base, sample, kind } = family;
  switch (kind) {
    case "gauge":
      return [base];
    case "counter":
      return openmetrics ? [base, sample, `${base}_created`] : [sample];
    case "histogram": {
      const names = [base, `${base}_bucket`, `${base}_count`, `${base}_sum`];
      return openmetrics ? [...names, `${base}_created`] : names;
    }
  }
}
