/** Prometheus's own checker reads the rules, runs their tests, and reads every configuration that we tell people to use. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { stringify } from "yaml";
import { scratch } from "../package/packed.ts";
import { fencedBlocks, prometheusFiles, readRules } from "../structure/monitoring.ts";
import { root } from "../structure/source-tree.ts";

function promtool(...args: readonly string[]): {
  readonly status: number | null;
  readonly output: string;
} {
  const ran = spawnSync("promtool", args, { cwd: root, encoding: "utf8" });
  assert.equal(ran.error, undefined);
  return { status: ran.status, output: `${ran.stdout}${ran.stderr}` };
}

describe("promtool", () => {
  const folder = scratch("rules");
  after(() => folder.remove());

  it("accepts every rule file, and finds all their rules", () => {
    const { status, output } = promtool("check", "rules", ...prometheusFiles("rules"));
    assert.equal(status, 0, output);
    const found = Array.from(output.matchAll(/SUCCESS: (\d+) rules found/g), ([, n]) => Number(n));
    const { alerts, recordings } = readRules();
    assert.equal(
      found.reduce((sum, n) => sum + n, 0),
      alerts.length + recordings.length,
    );
  });

  for (const file of prometheusFiles("tests")) {
    it(`runs ${file}`, () => {
      const { status, output } = promtool("test", "rules", file);
      assert.equal(status, 0, output);
    });
  }

  it("notices a rule that would not fire: its tests are no formality", () => {
    const rules = join(folder.path, "rules");
    mkdirSync(join(folder.path, "tests"), { recursive: true });
    for (const path of [...prometheusFiles("rules"), ...prometheusFiles("tests")]) {
      const name = path.slice(path.lastIndexOf("/") + 1);
      cpSync(
        join(root, path),
        join(folder.path, path.includes("/rules/") ? "rules" : "tests", name),
      );
    }
    const { alerts } = readRules();
    const muted = alerts.map((rule) => ({ ...rule, for: "90d" }));
    const file = stringify({ groups: [{ name: "muted", rules: muted }] });
    writeFileSync(join(rules, "streamhouse-alerts.yml"), file);
    for (const path of prometheusFiles("tests")) {
      const name = path.slice(path.lastIndexOf("/") + 1);
      const { status } = promtool("test", "rules", join(folder.path, "tests", name));
      assert.notEqual(status, 0, name);
    }
  });

  it("accepts the configuration of examples/observability, with the rules mounted as Compose does", () => {
    const mounted = join(folder.path, "etc");
    cpSync(join(root, "examples/observability/prometheus.yml"), join(mounted, "prometheus.yml"));
    cpSync(join(root, "dashboards/prometheus/rules"), join(mounted, "rules"), { recursive: true });
    const { status, output } = promtool("check", "config", join(mounted, "prometheus.yml"));
    assert.equal(status, 0, output);
    const rules = readRules();
    const count = rules.alerts.length + rules.recordings.length;
    const found = Array.from(output.matchAll(/(\d+) rules found/g), ([, n]) => Number(n));
    assert.equal(
      found.reduce((sum, n) => sum + n, 0),
      count,
    );
  });

  it("accepts the scrape configurations of docs/observability.md", () => {
    const blocks = fencedBlocks("docs/observability.md", "yaml").filter((block) =>
      block.includes("scrape_configs:"),
    );
    assert.ok(blocks.length >= 1);
    for (const [i, block] of blocks.entries()) {
      const config = join(folder.path, `documented-${i}.yml`);
      writeFileSync(config, block);
      const { status, output } = promtool("check", "config", "--syntax-only", config);
      assert.equal(status, 0, output);
    }
  });
});
