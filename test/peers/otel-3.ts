/**
 * The 3.x OpenTelemetry SDK, which needs Node 22.15 and the 1.10 API: beside the 2.x SDK that this package depends on, so that the
 * tests can be an application that has moved on. Installed with npm into the ignored folder `.tools` on first use.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { root } from "../../scripts/runtimes.ts";

/** One release of the SDK: its stable packages are 3.1.0, its experimental ones 0.301.0. */
const packages = {
  "@opentelemetry/api": "1.10.0",
  "@opentelemetry/sdk-metrics": "3.1.0",
  "@opentelemetry/resources": "3.1.0",
  "@opentelemetry/sdk-node": "0.301.0",
  "@opentelemetry/exporter-prometheus": "0.301.0",
  "@opentelemetry/exporter-metrics-otlp-proto": "0.301.0",
  "@opentelemetry/exporter-trace-otlp-proto": "0.301.0",
} as const;

export const sdk3Version: string = packages["@opentelemetry/sdk-metrics"];

/** Installs what is missing; called by the process that starts others, because two must not install at once. */
export function installSdk3(): string {
  const folder = join(root, ".tools", `otel-${sdk3Version}`);
  const done = join(folder, "installed");
  if (existsSync(done)) return folder;
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ private: true, dependencies: packages }),
  );
  const npm = spawnSync("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts"], {
    cwd: folder,
    encoding: "utf8",
  });
  if (npm.status !== 0) throw new Error(`cannot install the 3.x SDK: ${npm.stderr}`);
  writeFileSync(done, "");
  return folder;
}

/**
 * Its modules. They are typed by the 2.x packages of this repository: what the tests use of them is the same in both, and a
 * difference would fail when the tests run.
 */
export function loadSdk3(): {
  readonly metrics: typeof import("@opentelemetry/sdk-metrics");
  readonly prometheus: typeof import("@opentelemetry/exporter-prometheus");
  readonly otlpMetrics: typeof import("@opentelemetry/exporter-metrics-otlp-proto");
  readonly otlpTraces: typeof import("@opentelemetry/exporter-trace-otlp-proto");
  readonly resources: typeof import("@opentelemetry/resources");
  readonly node: Sdk3Node;
} {
  const load = createRequire(join(installSdk3(), "package.json"));
  return {
    metrics: load("@opentelemetry/sdk-metrics"),
    prometheus: load("@opentelemetry/exporter-prometheus"),
    otlpMetrics: load("@opentelemetry/exporter-metrics-otlp-proto"),
    otlpTraces: load("@opentelemetry/exporter-trace-otlp-proto"),
    resources: load("@opentelemetry/resources"),
    node: load("@opentelemetry/sdk-node"),
  };
}

/** What the tests use of `@opentelemetry/sdk-node`, which is no dependency of this repository. */
interface Sdk3Node {
  readonly NodeSDK: new (options: {
    readonly serviceName?: string;
    readonly traceExporter?: unknown;
    readonly metricReaders?: readonly unknown[];
    readonly views?: readonly unknown[];
    readonly instrumentations?: readonly unknown[];
  }) => { start(): void; shutdown(): Promise<void> };
}
