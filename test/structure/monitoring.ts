/**
 * The dashboards, rules, runbook and documents of monitoring as data, read from their files. Used by the tests that check them, here and
 * in test/peers.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { readPromql } from "./promql.ts";
import { root } from "./source-tree.ts";

export interface Target {
  readonly expr: string;
  readonly exemplar?: boolean;
  readonly datasource?: { readonly type: string; readonly uid: string };
}

export interface DashboardPanel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: {
    readonly x: number;
    readonly y: number;
    readonly w: number;
    readonly h: number;
  };
  readonly datasource?: { readonly type: string; readonly uid: string };
  readonly targets?: readonly Target[];
  readonly links?: readonly { readonly url: string }[];
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly options?: { readonly yAxis?: { readonly unit?: string } };
}

export interface Variable {
  readonly name: string;
  readonly type: string;
  readonly query: string | { readonly query: string };
  readonly includeAll?: boolean;
  readonly allValue?: string;
}

export interface DashboardFile {
  readonly file: string;
  readonly uid: string;
  readonly schemaVersion: number;
  readonly panels: readonly DashboardPanel[];
  readonly templating: { readonly list: readonly Variable[] };
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
}

export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface RecordingRule {
  readonly record: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface AlertCase {
  readonly alertname: string;
  readonly eval_time: string;
  readonly exp_alerts: readonly unknown[];
}

const grafana = join(root, "dashboards/grafana");
const prometheus = join(root, "dashboards/prometheus");

export function readDashboards(): readonly DashboardFile[] {
  return filesOf(grafana, ".json").map((file) => ({
    ...(JSON.parse(readFileSync(join(grafana, file), "utf8")) as Omit<DashboardFile, "file">),
    file,
  }));
}

/** Paths of the rule files and of promtool's tests of them, from the repository's root. */
export function prometheusFiles(folder: "rules" | "tests"): readonly string[] {
  return filesOf(join(prometheus, folder), ".yml").map(
    (file) => `dashboards/prometheus/${folder}/${file}`,
  );
}

export function readRules(): {
  readonly alerts: readonly AlertRule[];
  readonly recordings: readonly RecordingRule[];
} {
  const rules = prometheusFiles("rules").flatMap((path) => {
    const file = readYaml(path) as {
      readonly groups: readonly { readonly rules: readonly (AlertRule | RecordingRule)[] }[];
    };
    return file.groups.flatMap((group) => group.rules);
  });
  return {
    alerts: rules.filter((rule) => "alert" in rule),
    recordings: rules.filter((rule) => "record" in rule),
  };
}

export function readAlertCases(): readonly AlertCase[] {
  return prometheusFiles("tests").flatMap((path) => {
    const file = readYaml(path) as {
      readonly tests: readonly { readonly alert_rule_test: readonly AlertCase[] }[];
    };
    return file.tests.flatMap((test) => test.alert_rule_test);
  });
}

/** Recording rules as series: a rule keeps the labels that it groups by, and adds its own. */
export function recordedSeries(
  recordings: readonly RecordingRule[],
): ReadonlyMap<string, readonly string[]> {
  return new Map(
    recordings.map(({ record, expr, labels }) => [
      record,
      [...readPromql(expr).grouping.filter((it) => it !== "le"), ...Object.keys(labels ?? {})],
    ]),
  );
}

/** Sections of docs/runbook.md by the anchors that GitHub gives them. */
export function runbookSections(): ReadonlyMap<string, string> {
  const text = readFileSync(join(root, "docs/runbook.md"), "utf8");
  const parts = text.split(/^## /m).slice(1);
  return new Map(parts.map((part) => [anchorOf(part.slice(0, part.indexOf("\n"))), part]));
}

/** The anchor that GitHub gives a heading. */
export function anchorOf(title: string): string {
  return title
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}_ -]/gu, "")
    .replaceAll(" ", "-");
}

/** Fenced blocks of a language in a document. */
export function fencedBlocks(path: string, language: string): readonly string[] {
  const text = readFileSync(join(root, path), "utf8");
  const blocks = text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"));
  return Array.from(blocks, ([, block]) => block ?? "");
}

/** The queries of a document: each block of PromQL, without its comments. */
export function documentQueries(path: string): readonly string[] {
  return fencedBlocks(path, "promql").map((block) => block.replace(/^#.*$/gm, "").trim());
}

export function readYaml(path: string): unknown {
  return parse(readFileSync(join(root, path), "utf8"));
}

function filesOf(folder: string, end: string): readonly string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(end))
    .sort();
}
