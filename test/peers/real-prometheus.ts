/** A real Prometheus as a child process that scrapes fast and evaluates our rules, and its API. Used by the tests of this folder. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { prometheusFiles } from "../structure/monitoring.ts";
import { root } from "../structure/source-tree.ts";
import { Running, startOnFreePorts } from "./running.ts";

export interface ScrapeTarget {
  readonly job: string;
  /** `http://host:port` */
  readonly url: string;
}

export interface RuleState {
  readonly name: string;
  readonly type: "alerting" | "recording";
  readonly health: string;
  readonly lastError?: string;
  /** Of an alert: `inactive`, `pending` or `firing`. */
  readonly state?: string;
  readonly alerts?: readonly { readonly labels: Readonly<Record<string, string>> }[];
}

interface OverTime {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly (readonly [number, string])[];
}

export interface RealPrometheus {
  /** Every series of the expression in every second from `from` (seconds since 1970) until now. */
  range(
    expression: string,
    from: number,
  ): Promise<readonly (readonly (readonly [number, string])[])[]>;
  /** The label sets that the expression had at any time since `from`. */
  labels(expression: string, from: number): Promise<readonly Readonly<Record<string, string>>[]>;
  rules(): Promise<readonly RuleState[]>;
  /** Labels of the exemplars that it keeps for an expression. */
  exemplars(expression: string, from: number): Promise<readonly Readonly<Record<string, string>>[]>;
  end(): Promise<void>;
}

/** Starts it on our rules, in a folder that the caller removes. */
export async function startPrometheus(
  folder: string,
  targets: readonly ScrapeTarget[],
): Promise<RealPrometheus> {
  const config = join(folder, "prometheus.yml");
  writeFileSync(config, configOf(targets));
  const { running, url } = await startOnFreePorts(async (port) => {
    const listen = `127.0.0.1:${port}`;
    const program = new Running("prometheus", [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(folder, "tsdb")}`,
      `--web.listen-address=${listen}`,
      "--enable-feature=exemplar-storage",
    ]);
    await program.answers(`http://${listen}/-/ready`);
    return { running: program, url: `http://${listen}` };
  });
  const ask = async <T>(path: string, query: Readonly<Record<string, string>>): Promise<T> => {
    const answer = await fetch(`${url}/api/v1/${path}?${new URLSearchParams(query)}`);
    const body = (await answer.json()) as { status: string; error?: string; data: T };
    if (body.status !== "success") throw new Error(`${body.error}: ${JSON.stringify(query)}`);
    return body.data;
  };
  const now = () => Date.now() / 1_000;
  const overTime = async (expression: string, from: number) => {
    const query = { query: expression, start: `${from}`, end: `${now()}`, step: "1" };
    const data = await ask<{ result: readonly OverTime[] }>("query_range", query);
    return data.result;
  };
  return {
    async range(expression, from) {
      return (await overTime(expression, from)).map(({ values }) => values);
    },
    async labels(expression, from) {
      return (await overTime(expression, from)).map(({ metric }) => metric);
    },
    async rules() {
      const data = await ask<{ groups: { rules: RuleState[] }[] }>("rules", {});
      return data.groups.flatMap(({ rules }) => rules);
    },
    async exemplars(expression, from) {
      const query = { query: expression, start: `${from}`, end: `${now()}` };
      const data = await ask<{ exemplars: { labels: Record<string, string> }[] }[]>(
        "query_exemplars",
        query,
      );
      return data.flatMap(({ exemplars }) => exemplars.map(({ labels }) => labels));
    },
    end: () => running.end(),
  };
}

function configOf(targets: readonly ScrapeTarget[]): string {
  const jobs = new Map<string, string[]>();
  for (const { job, url } of targets) jobs.set(job, [...(jobs.get(job) ?? []), new URL(url).host]);
  const scrapes = [...jobs].flatMap(([job, hosts]) => [
    `  - job_name: ${job}`,
    `    static_configs: [{ targets: ${JSON.stringify(hosts)} }]`,
  ]);
  const rules = prometheusFiles("rules").map((path) => `  - ${join(root, path)}`);
  return [
    "global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }",
    "rule_files:",
    ...rules,
    "scrape_configs:",
    ...scrapes,
    "",
  ].join("\n");
}
