/**
 * What Prometheus would store of a text: series by name and labels, and the kind of each family. And in what two texts differ, after
 * the differences that a route is known to make have been taken out by name. Pure; used by the tests that compare routes.
 */
import { parseMetrics } from "../integration/metrics-text.ts";

export interface Exposition {
  /** Family name to `counter`, `gauge`, `histogram`. */
  readonly types: ReadonlyMap<string, string>;
  readonly help: ReadonlyMap<string, string>;
  /** `name{label="value",…}` with the labels in order, to the value. */
  readonly series: ReadonlyMap<string, number>;
}

export interface ReadOptions {
  /** Labels that the route adds to every series. */
  readonly ignoredLabels: readonly string[];
  /** Labels whose value differs from run to run; their presence still counts. */
  readonly anyValue?: readonly string[];
}

/** Reads the series of StreamHouse: ours and the conventions'. */
export function readExposition(text: string, options: ReadOptions): Exposition {
  const series = new Map<string, number>();
  for (const { name, labels, value } of parseMetrics(text)) {
    if (!isOurs(name)) continue;
    const shown = Object.entries(labels)
      .filter(([label]) => !options.ignoredLabels.includes(label))
      .map(([label, of]) => `${label}="${labelValue(label, of, options.anyValue ?? [])}"`);
    const key = `${name}{${shown.sort().join(",")}}`;
    if (series.has(key)) throw new Error(`two samples of ${key}`);
    series.set(key, value);
  }
  return { types: metadata(text, "TYPE"), help: metadata(text, "HELP"), series };
}

/** The part of `exposition` whose families pass. */
export function only(exposition: Exposition, keep: (family: string) => boolean): Exposition {
  const filter = <T>(map: ReadonlyMap<string, T>, family: (key: string) => string) =>
    new Map([...map].filter(([key]) => keep(family(key))));
  return {
    types: filter(exposition.types, (name) => name),
    help: filter(exposition.help, (name) => name),
    series: filter(exposition.series, (key) => familyOf(exposition, key)),
  };
}

/** The family that a series belongs to: of a histogram without `_bucket`, `_sum`, `_count`. */
export function familyOf({ types }: Pick<Exposition, "types">, key: string): string {
  const name = key.slice(0, key.indexOf("{"));
  const base = name.replace(/_(bucket|sum|count)$/, "");
  return types.get(base) === "histogram" ? base : name;
}

/**
 * A histogram series without a sample is there as zeros where cells are read, and is not there where an SDK aggregates samples:
 * it comes with the first one.
 */
export function withoutEmptyHistograms(exposition: Exposition): Exposition {
  const { types, help, series } = exposition;
  const empty = new Set<string>();
  for (const [key, value] of series) {
    const isCount = types.get(familyOf(exposition, key)) === "histogram" && /_count\{/.test(key);
    if (isCount && value === 0) empty.add(key.replace("_count{", "{"));
  }
  const seriesOf = (key: string) =>
    key
      .replace(/_(bucket|sum|count)\{/, "{")
      .replace(/,?le="[^"]*"/, "")
      .replace("{,", "{");
  const kept = new Map([...series].filter(([key]) => !empty.has(seriesOf(key))));
  const families = new Set([...kept.keys()].map((key) => familyOf(exposition, key)));
  const named = (map: ReadonlyMap<string, string>) =>
    new Map([...map].filter(([name]) => families.has(name)));
  return { types: named(types), help: named(help), series: kept };
}

/** Everything in which the second differs from the first, one line each; empty if they are the same. */
export function differences(first: Exposition, second: Exposition): readonly string[] {
  const found: string[] = [];
  const compare = <T>(
    what: string,
    a: ReadonlyMap<string, T>,
    b: ReadonlyMap<string, T>,
    same: (x: T, y: T, key: string) => boolean,
  ) => {
    for (const [key, value] of a) {
      const other = b.get(key);
      if (other === undefined) found.push(`${what} missing: ${key}`);
      else if (!same(value, other, key)) {
        found.push(`${what} differs: ${key}: ${String(value)}, ${String(other)}`);
      }
    }
    for (const key of b.keys()) if (!a.has(key)) found.push(`${what} more: ${key}`);
  };
  compare("type", first.types, second.types, Object.is);
  compare("help", first.help, second.help, Object.is);
  compare("series", first.series, second.series, sameValue);
  return found;
}

/** Sums are added up in another order by each route: the last bits may differ. Everything else is exact. */
function sameValue(a: number, b: number, key: string): boolean {
  if (Object.is(a, b)) return true;
  return /^\w+_sum\{/.test(key) && Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b));
}

function isOurs(name: string): boolean {
  return /^(streamhouse|messaging|rpc)_/.test(name);
}

/**
 * Bounds of buckets are compared as numbers: the Collector, written in Go, prints 1048576 as `1.048576e+06`. Prometheus 3 normalizes
 * both when it scrapes (https://prometheus.io/docs/prometheus/latest/migration/#le-and-quantile-label-values).
 */
function labelValue(label: string, value: string, anyValue: readonly string[]): string {
  if (anyValue.includes(label)) return "*";
  return label === "le" ? String(value === "+Inf" ? value : Number(value)) : value;
}

function metadata(text: string, kind: "TYPE" | "HELP"): ReadonlyMap<string, string> {
  const lines = text.matchAll(new RegExp(`^# ${kind} (\\S+) (.*)$`, "gm"));
  return new Map(
    [...lines].flatMap(([, name = "", rest = ""]) => (isOurs(name) ? [[name, rest]] : [])),
  );
}
