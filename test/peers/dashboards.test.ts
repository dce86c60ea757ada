/**
 * Every expression of every dashboard, rule and document against a real Prometheus that holds what a real run says: an agent and a shop
 * that are well, two agents that merge, an agent that is not well, and an SDK that refuses samples. An expression without data is a panel that nobody will ever see
 * anything in.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { eventually } from "../integration/child.ts";
import { scratch } from "../package/packed.ts";
import { documentQueries, readDashboards, readRules } from "../structure/monitoring.ts";
import { startMergingAgents } from "./merging-agents.ts";
import { type Observed, startShop } from "./observed-shop.ts";
import { type RealPrometheus, startPrometheus } from "./real-prometheus.ts";
import { startRefusingSdk } from "./refusing-sdk.ts";
import { startTroubledAgent } from "./troubled-agent.ts";

/** Grafana fills these in; everything is scraped once a second. */
const filled: Readonly<Record<string, string>> = {
  __rate_interval: "5s",
  job: ".*",
  instance: ".*",
  topic: ".*",
  group: ".*",
};

function fill(expression: string): string {
  return expression.replace(/\$\{?(\w+)\}?/g, (all, name: string) => filled[name] ?? all);
}

/** The one query of the documents that must answer nothing: the telemetry audits itself. */
const neverTrue = "streamhouse_audit_discrepancy != 0";

/** Alerts of agents that fail; the other agent is well. */
const ofBrokenAgents: readonly string[] = [
  "StreamHouseFencedWrites",
  "StreamHouseFlushFailing",
  "StreamHouseLeaseChurn",
  "StreamHouseMergeErrors",
  "StreamHouseMetadataErrors",
  "StreamHouseStoreErrors",
  "StreamHouseSweepErrors",
];
const troubles: readonly string[] = [
  ...ofBrokenAgents,
  "StreamHouseDeadLetterErrors",
  "StreamHouseDeadLetters",
  "StreamHouseGroupDeadWithLag",
  "StreamHouseMembershipsLost",
  "StreamHouseRebalancing",
  "StreamHouseRecordsLostToRetention",
  "StreamHouseRetentionNearUnread",
  "StreamHouseSendErrors",
  "StreamHouseTelemetryDropping",
];
/** What does not happen here. Those of latency and scrapes are left out: the machine may be busy. */
const silent: readonly string[] = [
  "StreamHouseAgentsAbsent",
  "StreamHouseAuditDiscrepancy",
  "StreamHouseLagRecordsHigh",
  "StreamHouseLagSecondsHigh",
  "StreamHouseMergeBacklog",
  "StreamHouseNoActiveLeases",
  "StreamHouseRequestErrors",
];

describe("dashboards, rules and documents on a real Prometheus", () => {
  const folder = scratch("dashboards");
  const { alerts, recordings } = readRules();
  let shop: Observed;
  let troubled: Observed;
  let refusing: Observed;
  let merging: Observed;
  let prometheus: RealPrometheus;
  let startedAt = 0;

  /** Whether the expression had a number at any time of the run. */
  const hasData = async (expression: string): Promise<boolean> => {
    const series = await prometheus.range(fill(expression), startedAt);
    return series.some((values) => values.some(([, value]) => !Number.isNaN(Number(value))));
  };
  /** Those that have none, when there was time enough for all. */
  const emptyOnes = async (expressions: readonly string[]): Promise<readonly string[]> => {
    let empty = [...new Set(expressions)];
    const look = async () => {
      const found = await Promise.all(empty.map(hasData));
      empty = empty.filter((_, i) => found[i] !== true);
      return empty.length === 0;
    };
    await eventually("data", look).catch(() => {});
    return empty;
  };

  before(async () => {
    startedAt = Date.now() / 1_000;
    shop = await startShop(join(folder.path, "data"));
    // A port that is closed again: nothing listens there.
    troubled = await startTroubledAgent("http://127.0.0.1:1");
    refusing = await startRefusingSdk();
    merging = await startMergingAgents();
    const all = [shop, troubled, refusing, merging].flatMap(({ targets }) => targets);
    prometheus = await startPrometheus(folder.path, all);
  });

  after(async () => {
    await prometheus?.end();
    await merging?.close();
    await refusing?.close();
    await troubled?.close();
    await shop?.close();
    folder.remove();
  });

  for (const { file, panels, templating, annotations } of readDashboards()) {
    it(`${file}: every panel has data`, async () => {
      const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
      assert.ok(expressions.length >= 15);
      const empty = await emptyOnes(expressions);
      assert.deepEqual(empty, []);
    });

    it(`${file}: every variable offers something, and the annotation is valid`, async () => {
      for (const { query } of templating.list) {
        const text = typeof query === "string" ? query : query.query;
        const [, series = "", label = ""] = /^label_values\((.+), (\w+)\)$/.exec(text) ?? [];
        if (series === "") continue;
        const values = (await prometheus.labels(fill(series), startedAt)).map((it) => it[label]);
        assert.ok(
          values.some((it) => it !== undefined && it !== ""),
          text,
        );
      }
      for (const { expr } of annotations.list) await prometheus.labels(expr, startedAt);
    });
  }

  it("every recording rule is healthy and records something", async () => {
    const empty = await emptyOnes(recordings.map(({ record }) => record));
    assert.deepEqual(empty, []);
    for (const labels of recordings.map((it) => it.labels).filter((it) => it !== undefined)) {
      const selector = `{loss="${labels.loss}"}`;
      const expression = `job_instance:streamhouse_telemetry_losses:increase10m${selector}`;
      assert.deepEqual(await emptyOnes([expression]), []);
    }
  });

  it("every alert can be evaluated", async () => {
    const states = await eventually("the rules to be evaluated", async () => {
      const rules = await prometheus.rules();
      return rules.every(({ health }) => health !== "unknown") && rules;
    });
    assert.equal(states.length, alerts.length + recordings.length);
    const ill = states.filter(({ health }) => health !== "ok");
    assert.deepEqual(ill, []);
  });

  it("the alerts see what goes wrong here, on the agent where it does, and nothing else", async () => {
    const active = await eventually("the alerts to see it", async () => {
      const states = await prometheus.rules();
      const seen = states.filter(({ state }) => state === "pending" || state === "firing");
      const names = seen.map(({ name }) => name);
      return troubles.every((name) => names.includes(name)) && seen;
    });
    const names = active.map(({ name }) => name);
    assert.deepEqual(
      names.filter((name) => silent.includes(name)),
      [],
    );
    const well = new URL(shop.targets[0]?.url ?? "").host;
    const accused = active
      .filter(({ name }) => ofBrokenAgents.includes(name))
      .filter(({ alerts: of = [] }) => of.some(({ labels }) => labels.instance === well));
    assert.deepEqual(
      accused.map(({ name }) => name),
      [],
    );
  });

  for (const path of ["docs/observability.md", "docs/runbook.md"]) {
    it(`${path}: every query can be asked`, async () => {
      const queries = documentQueries(path);
      assert.ok(queries.length >= 5);
      for (const query of queries) await prometheus.labels(fill(query), startedAt);
      const empty = await emptyOnes(queries.filter((query) => !query.includes(neverTrue)));
      assert.deepEqual(empty, []);
      assert.equal(await hasData(neverTrue), false, "the telemetry contradicts itself");
    });
  }

  it("histograms carry exemplars that lead to traces", async () => {
    for (const name of ["streamhouse_send_duration_seconds", "streamhouse_write_latency_seconds"]) {
      const labels = await eventually(`an exemplar of ${name}`, async () => {
        const found = await prometheus.exemplars(`${name}_bucket`, startedAt);
        return found[0];
      });
      assert.match(labels.trace_id ?? "", /^[0-9a-f]{32}$/, name);
    }
  });
});
