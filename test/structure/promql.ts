/**
 * Reads PromQL as far as the tests need: which series an expression asks for with which labels, and by which labels it groups. It does
 * not check the grammar: Prometheus does, in test/peers. Used by the tests of dashboards, rules and documents.
 */
import { catalogue } from "../../src/telemetry/catalogue.ts";

/** A series that an expression names, and the labels that it matches. */
export interface Selected {
  readonly name: string;
  readonly labels: readonly string[];
}

export interface Expression {
  readonly selected: readonly Selected[];
  /** Labels in `by (…)`, `on (…)` and the like. */
  readonly grouping: readonly string[];
}

const TOKEN = /"(?:[^"\\]|\\.)*"|'[^']*'|\[[^\]]*\]|[a-zA-Z_:][\w:]*|\d[\w.]*|[{}(),]|[^\s\w]/g;
const listKeywords = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const otherKeywords = ["and", "or", "unless", "bool", "offset", "inf", "nan", "atan2"];

export function readPromql(expression: string): Expression {
  const tokens: readonly string[] = expression.match(TOKEN) ?? [];
  const selected: Selected[] = [];
  const grouping: string[] = [];
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] ?? "";
    if (!/^[a-zA-Z_:]/.test(token)) continue;
    const word = token.toLowerCase();
    const next = tokens[i + 1];
    if (listKeywords.includes(word)) {
      if (next !== "(") continue;
      const end = tokens.indexOf(")", i);
      grouping.push(...tokens.slice(i + 2, end).filter((it) => it !== ","));
      i = end;
    } else if (next !== "(" && !otherKeywords.includes(word) && !aggregates(next)) {
      const end = next === "{" ? tokens.indexOf("}", i) : i;
      selected.push({ name: token, labels: labelsIn(tokens.slice(i + 2, end)) });
      i = end;
    }
  }
  return { selected, grouping };
}

/** `sum by (…)` is no series. */
function aggregates(next: string | undefined): boolean {
  return next === "by" || next === "without";
}

/** The label names of what stands between braces. */
function labelsIn(tokens: readonly string[]): readonly string[] {
  return tokens.filter(
    (token, i) => /^[a-zA-Z_]/.test(token) && (i === 0 || tokens[i - 1] === ","),
  );
}

/** What Prometheus itself records of every scrape, and of alerts. */
const ofPrometheus: Readonly<Record<string, readonly string[]>> = {
  up: [],
  scrape_duration_seconds: [],
  scrape_samples_scraped: [],
  ALERTS: ["alertname", "alertstate", "severity"],
};

/** Every series that there can be, with its labels: the catalogue's, Prometheus's, and those of recording rules. */
export function knownSeries(
  recorded: ReadonlyMap<string, readonly string[]> = new Map(),
): ReadonlyMap<string, readonly string[]> {
  const known = new Map<string, readonly string[]>(Object.entries(ofPrometheus));
  for (const { name, kind, attributes } of Object.values(catalogue)) {
    const base = name.replaceAll(".", "_");
    const labels = attributes.map((it) => it.replaceAll(".", "_"));
    if (kind === "counter") known.set(`${base}_total`, labels);
    else if (kind !== "histogram") known.set(base, labels);
    else {
      known.set(`${base}_bucket`, [...labels, "le"]);
      known.set(`${base}_sum`, labels);
      known.set(`${base}_count`, labels);
    }
  }
  for (const [name, labels] of recorded) known.set(name, labels);
  return known;
}

/** What is wrong with an expression by what there is; empty when nothing is. */
export function faultsOf(
  expression: string,
  known: ReadonlyMap<string, readonly string[]>,
): readonly string[] {
  const { selected, grouping } = readPromql(expression);
  const faults: string[] = [];
  const all = new Set(["job", "instance"]);
  if (selected.length === 0) faults.push("it names no series");
  for (const { name, labels } of selected) {
    const own = known.get(name);
    if (own === undefined) faults.push(`there is no ${name}`);
    for (const label of own ?? []) all.add(label);
    for (const label of labels) {
      if (own?.includes(label) === false && label !== "job" && label !== "instance") {
        faults.push(`${name} has no label ${label}`);
      }
    }
  }
  for (const label of grouping) {
    if (!all.has(label)) faults.push(`nothing in it has the label ${label}`);
  }
  return faults.map((fault) => `${fault}: ${expression}`);
}
