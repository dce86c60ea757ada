/**
 * Writes `dashboards/grafana/*.json` from the code in `scripts/dashboards/`: `node scripts/dashboards.ts`. With `--check` it compares
 * instead, and ends with 1 if a file is not what would be written.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { agent } from "./dashboards/agent.ts";
import { consumer } from "./dashboards/consumer.ts";
import { buildDashboard } from "./dashboards/dashboard.ts";
import { overview } from "./dashboards/overview.ts";
import { producer } from "./dashboards/producer.ts";
import { telemetryHealth } from "./dashboards/telemetry-health.ts";

export const dashboardsFolder: string = fileURLToPath(
  new URL("../dashboards/grafana", import.meta.url),
);

/** File names and texts, as they should be. */
export function dashboardFiles(): ReadonlyMap<string, string> {
  const all = [overview, producer, consumer, agent, telemetryHealth];
  return new Map(
    all.map((spec) => [`${spec.name}.json`, `${JSON.stringify(buildDashboard(spec), null, 2)}\n`]),
  );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  let stale = 0;
  for (const [name, text] of dashboardFiles()) {
    const path = join(dashboardsFolder, name);
    if (!process.argv.includes("--check")) {
      writeFileSync(path, text);
    } else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
      console.error(`dashboards/grafana/${name} is out of date: run node scripts/dashboards.ts`);
      stale += 1;
    }
  }
  process.exitCode = stale === 0 ? 0 : 1;
}
