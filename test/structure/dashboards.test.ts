/** The dashboards are what the code makes, speak of instruments that there are, and can be imported anywhere. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { dashboardFiles } from "../../scripts/dashboards.ts";
import { readDashboards, runbookSections } from "./monitoring.ts";
import { faultsOf, knownSeries } from "./promql.ts";
import { root } from "./source-tree.ts";

const dashboards = readDashboards();

describe("the reader of PromQL", () => {
  const known = knownSeries(new Map([["a:b:c", ["topic"]]]));
  const faults = (expression: string) => faultsOf(expression, known);

  it("accepts series and labels that there are", () => {
    const good = [
      'sum by (topic, job) (rate(streamhouse_records_sent_total{topic=~"a|b", job="x"}[5m]))',
      "histogram_quantile(0.99, sum by (le) (rate(streamhouse_write_latency_seconds_bucket[$__rate_interval])))",
      "streamhouse_group_lag_seconds > on (topic) group_left () (0.8 * streamhouse_retention_seconds)",
      'a:b:c{topic="by (nothing)"} offset 5m or vector(0)',
    ];
    assert.deepEqual(good.flatMap(faults), []);
  });

  it("finds a series, a label and a grouping that there are not", () => {
    const bad = [
      "rate(streamhouse_records_sent[5m])",
      'streamhouse_pending_records{group_id="x"}',
      "sum by (group_id) (streamhouse_pending_records)",
      "streamhouse_write_latency_seconds",
      "vector(1)",
    ];
    for (const expression of bad) assert.notDeepEqual(faults(expression), [], expression);
  });
});

describe("the dashboards", () => {
  it("are five, and what node scripts/dashboards.ts writes", () => {
    const files = dashboardFiles();
    assert.deepEqual(
      [...files.keys()].sort(),
      dashboards.map(({ file }) => file),
    );
    assert.equal(files.size, 5);
    for (const [name, text] of files) {
      const committed = readFileSync(join(root, "dashboards/grafana", name), "utf8");
      assert.ok(committed === text, `${name} is out of date: run node scripts/dashboards.ts`);
    }
  });

  for (const dashboard of dashboards) {
    const { file } = dashboard;
    const panels = dashboard.panels.filter(({ type }) => type !== "row");
    const expressions = panels.flatMap(({ targets }) => (targets ?? []).map(({ expr }) => expr));

    it(`${file} asks only for series and labels of the catalogue`, () => {
      const known = knownSeries();
      const ofVariables = dashboard.templating.list
        .map(({ query }) => (typeof query === "string" ? query : query.query))
        .flatMap((query) => /^label_values\((.+), \w+\)$/.exec(query)?.[1] ?? []);
      const asked = [
        ...expressions,
        ...ofVariables,
        ...dashboard.annotations.list.map((it) => it.expr),
      ];
      assert.ok(expressions.length >= 15, `${expressions.length} expressions`);
      assert.deepEqual(
        asked.flatMap((expression) => faultsOf(expression, known)),
        [],
      );
    });

    it(`${file} uses variables that it has, and every one of them`, () => {
      const text = JSON.stringify(dashboard.panels) + JSON.stringify(dashboard.templating);
      const used = new Set(Array.from(text.matchAll(/\$\{?(\w+)/g), ([, name]) => name ?? ""));
      const own = dashboard.templating.list.map(({ name }) => name);
      const builtIn = ["__rate_interval", "__all"];
      assert.deepEqual(
        [...used].filter((name) => !own.includes(name) && !builtIn.includes(name)),
        [],
      );
      assert.deepEqual(
        own.filter((name) => !used.has(name)),
        [],
      );
      for (const name of ["datasource", "job", "instance"]) assert.ok(own.includes(name), name);
    });

    it(`${file} names no data source of anybody's, and rates over the interval that fits the scrapes`, () => {
      const text = readFileSync(join(root, "dashboards/grafana", file), "utf8");
      const sources = Array.from(text.matchAll(/"uid": "([^"]*)"/g), ([, uid]) => uid);
      assert.deepEqual([...new Set(sources)].sort(), ["$datasource", dashboard.uid].sort());
      const ranges = expressions.flatMap((it) => it.match(/\[[^\]]*\]/g) ?? []);
      assert.deepEqual([...new Set(ranges)], ["[$__rate_interval]"]);
      assert.equal(dashboard.schemaVersion, 42);
    });

    it(`${file} has a unit, a title and advice in every panel, and traces where there are histograms`, () => {
      for (const panel of panels) {
        const { title, description = "", targets = [] } = panel;
        const unit = panel.fieldConfig?.defaults.unit ?? panel.options?.yAxis?.unit;
        assert.ok(unit !== undefined && unit !== "", `${title} has no unit`);
        assert.ok(description.length >= 15, `${title} says nothing of itself`);
        for (const { expr, exemplar } of targets) {
          if (panel.type !== "stat") assert.equal(exemplar, expr.includes("_bucket"), title);
        }
      }
      const rows = dashboard.panels.filter(({ type }) => type === "row");
      assert.ok(rows.length >= 3);
    });

    it(`${file} has no two panels with one id or in one place`, () => {
      assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length);
      const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) => {
        assert.ok(x + w <= 24);
        return Array.from({ length: w * h }, (_, i) => `${x + (i % w)}/${y + Math.floor(i / w)}`);
      });
      assert.equal(new Set(cells).size, cells.length);
    });

    it(`${file} links to sections that docs/runbook.md has`, () => {
      const sections = runbookSections();
      const links = panels.flatMap(({ links: of = [] }) => of.map(({ url }) => url));
      assert.ok(links.length > 0);
      const broken = links.filter((url) => {
        const anchor = /^\$\{runbook\}#(.+)$/.exec(url)?.[1];
        return anchor === undefined || !sections.has(anchor);
      });
      assert.deepEqual(broken, []);
      const runbook = dashboard.templating.list.find(({ name }) => name === "runbook");
      assert.equal(runbook?.query, "docs/runbook.md");
    });
  }
});
