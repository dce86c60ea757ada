/** Alerts speak of instruments that there are, have a section in the runbook, and are proved to fire and to stay silent. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  documentQueries,
  readAlertCases,
  readRules,
  recordedSeries,
  runbookSections,
} from "./monitoring.ts";
import { faultsOf, knownSeries } from "./promql.ts";
import { root } from "./source-tree.ts";

const { alerts, recordings } = readRules();
const known = knownSeries(recordedSeries(recordings));

describe("alert and recording rules", () => {
  it("ask only for series and labels of the catalogue, or of other rules", () => {
    assert.ok(alerts.length >= 13 && recordings.length >= 8);
    const faults = [...alerts, ...recordings].flatMap(({ expr }) => faultsOf(expr, known));
    assert.deepEqual(faults, []);
  });

  it("record what something uses", () => {
    const used =
      alerts.map(({ expr }) => expr).join("\n") +
      documentQueries("docs/observability.md").join("\n");
    const idle = recordings.map(({ record }) => record).filter((record) => !used.includes(record));
    assert.deepEqual(idle, []);
  });

  it("match error codes and statuses that there are", () => {
    const errors = readFileSync(join(root, "src/core/errors.ts"), "utf8");
    const statuses = readFileSync(join(root, "docs/errors.md"), "utf8");
    for (const { expr } of [...alerts, ...recordings]) {
      for (const [, values = ""] of expr.matchAll(/outcome=~"([^"]+)"/g)) {
        const codes = values.split("|").filter((it) => /^[A-Z]/.test(it));
        for (const code of codes) assert.ok(errors.includes(`"${code}"`), code);
      }
      for (const [, values = ""] of expr.matchAll(/status=~?"([^"]+)"/g)) {
        for (const status of values.split("|")) {
          // gRPC's own, for what no code of ours has.
          assert.ok(status === "UNKNOWN" || statuses.includes(`${status} |`), status);
        }
      }
    }
  });

  for (const rule of alerts) {
    const { alert, annotations, labels } = rule;

    it(`${alert} says how bad it is, on what, with its value, and where to read on`, () => {
      assert.match(labels.severity ?? "", /^(critical|warning)$/);
      assert.deepEqual(Object.keys(annotations).sort(), ["description", "runbook_url", "summary"]);
      assert.equal(annotations.runbook_url, `docs/runbook.md#${alert.toLowerCase()}`);
      // Without a series there is nothing to name.
      if (alert === "StreamHouseAgentsAbsent") return;
      assert.match(annotations.summary ?? "", /\{\{ \$labels\.\w+ \}\}/);
      if (!/== 0\s*$/.test(rule.expr) || rule.expr.includes("and")) {
        assert.match(annotations.description ?? "", /\{\{ \$value/);
      }
      const named = `${annotations.summary} ${annotations.description}`.matchAll(
        /\$labels\.(\w+)/g,
      );
      for (const [, label = ""] of named)
        assert.ok(rule.expr.includes(label) || labelsOf(rule.expr).has(label), label);
    });

    it(`${alert} has a section in the runbook, with its severity and what to do`, () => {
      const section = runbookSections().get(alert.toLowerCase()) ?? "";
      assert.ok(section !== "", "no section");
      assert.ok(section.includes(`**${labels.severity}**`), "the severity is another");
      for (const part of ["Users notice", "Look deeper", "Do", "Page"]) {
        assert.ok(section.includes(`**${part}**`), `nothing under ${part}`);
      }
    });

    it(`${alert} is tested to fire and to stay silent`, () => {
      const cases = readAlertCases().filter(({ alertname }) => alertname === alert);
      assert.ok(
        cases.some((it) => it.exp_alerts.length > 0),
        "no case fires",
      );
      assert.ok(
        cases.some((it) => it.exp_alerts.length === 0),
        "no case stays silent",
      );
    });
  }

  it("are all there is sections of in the runbook", () => {
    const names = alerts.map(({ alert }) => alert.toLowerCase());
    const other = [...runbookSections().keys()].filter((anchor) =>
      anchor.startsWith("streamhouse"),
    );
    assert.deepEqual(other.sort(), names.sort());
  });
});

describe("queries in the documents", () => {
  for (const path of ["docs/runbook.md", "docs/observability.md"]) {
    it(`${path} asks only for series and labels that there are`, () => {
      const queries = documentQueries(path);
      assert.ok(queries.length >= 5, `${queries.length} queries`);
      assert.deepEqual(
        queries.flatMap((query) => faultsOf(query, known)),
        [],
      );
    });
  }
});

/** Labels of everything that an expression selects. */
function labelsOf(expression: string): ReadonlySet<string> {
  const names = expression.match(/[a-zA-Z_:][\w:]*/g) ?? [];
  return new Set(["job", "instance", ...names.flatMap((name) => known.get(name) ?? [])]);
}
