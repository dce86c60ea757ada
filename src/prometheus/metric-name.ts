/**
 * From the name, unit and kind of an instrument to the name of a Prometheus family. Pure; called by `family.ts`.
 * Rules: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#metric-metadata-1
 */
import { prometheusUnit } from "./unit.ts";

export type FamilyKind = "counter" | "gauge" | "histogram";

export interface FamilyName {
  /** Without `_total`: what OpenMetrics calls the family. */
  readonly base: string;
  /** What the samples of a number are called; for counters `base` with `_total`. */
  readonly sample: string;
  /** Empty for none; otherwise `base` ends with it. */
  readonly unit: string;
}

/** The part of an instrument that its name comes from. */
export interface NamedInstrument {
  readonly name: string;
  readonly unit: string;
  /** An OpenTelemetry gauge: an up-down counter is a gauge to Prometheus, but counts things. */
  readonly isGauge: boolean;
}

export interface NameOptions {
  readonly prefix: string;
  /** Adds units to names. */
  readonly units: boolean;
}

/** Letters, digits and single underscores, as the stock serializer has it: colons are for recording rules. */
export function sanitizeName(name: string): string {
  return name.replace(/[^a-zA-Z0-9_]/g, "_").replace(/_{2,}/g, "_");
}

/** Undefined if nothing is left of the name. */
export function familyName(
  instrument: NamedInstrument,
  kind: FamilyKind,
  options: NameOptions,
): FamilyName | undefined {
  let base = sanitizeName(instrument.name);
  if (base === "" || base === "_") return undefined;
  if (options.prefix !== "") base = sanitizeName(`${options.prefix}_${base}`);
  if (/^[0-9]/.test(base)) base = `_${base}`;
  if (kind === "counter") base = base.replace(/(?<=.)_total$/, "");
  const unit = options.units ? prometheusUnit(instrument.unit, instrument.isGauge) : "";
  if (unit !== "" && !endsWithUnit(base, unit)) base = sanitizeName(`${base}_${unit}`);
  return { base, sample: kind === "counter" ? `${base}_total` : base, unit };
}

function endsWithUnit(base: string, unit: string): boolean {
  return base === unit || base.endsWith(`_${unit}`);
}
