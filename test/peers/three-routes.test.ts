/**
 * One run, measured once, comes out the same by every way to Prometheus: our own `/metrics`, the stock exporter of an application's
 * SDK (2.x and 3.x), and a real OpenTelemetry Collector with its default settings. Names, labels, kinds, descriptions, numbers.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { whyNoPeers } from "../../scripts/peers.ts";
import { bootstrap, catalogue } from "../../src/telemetry.ts";
import { eventually } from "../integration/child.ts";
import { startCollector } from "./backends.ts";
import { openRoutes, type Route, type Routes } from "./routes.ts";
import {
  differences,
  type Exposition,
  only,
  readExposition,
  withoutEmptyHistograms,
} from "./series.ts";
import { SENT, scrapeSettled, type Workload, work } from "./workload.ts";

/**
 * Labels that say where a series comes from, not what it is. The stock exporters and the Collector print the scope by default
 * (`withoutScopeInfo`, `without_scope_info` leave it out), the Collector also the resource's service as `job` and `instance`.
 */
const ignoredLabels = [
  "otel_scope_name",
  "otel_scope_version",
  "otel_scope_schema_url",
  "job",
  "instance",
];

/** Each reader's own work, so no two agree on it; present on each that has something to say. */
const ofTheReader = /^streamhouse_telemetry_/;

/** Gauges that move by themselves: compared by name and labels. */
const live = [
  "streamhouse_consumer_lag_seconds",
  "streamhouse_group_lag_seconds",
  "streamhouse_lag_age_seconds",
];

/** What only a failed call, an hour or another agent would feed. */
const perhapsNotInThisRun = [
  "streamhouse_client_retries",
  "streamhouse_retention_records",
  // An agent alone in memory: nobody else writes its log, no bucket is slow, nothing is merged.
  "streamhouse_index_refreshes",
  "streamhouse_store_retries",
  "streamhouse_store_hedges",
  "streamhouse_compaction_merges",
  "streamhouse_compaction_records",
  "streamhouse_compaction_bytes",
  "streamhouse_objects_deleted",
  // A member that reads in time, in a house without keys.
  "streamhouse_consumer_memberships_lost",
  "streamhouse_access_refused",
];

/** Of `consumer.run`, which this run does not use: its records are read by loops. */
const ofHandlers = "streamhouse_consumer_run_";

function read(text: string): Exposition {
  return only(readExposition(text, { ignoredLabels }), (family) => !ofTheReader.test(family));
}

describe("three routes to Prometheus", { skip: whyNoPeers() ?? false }, () => {
  let routes: Routes;
  let workload: Workload;

  before(async () => {
    routes = await openRoutes();
    workload = await work(routes.telemetry);
    await scrapeSettled(routes.own.scrape);
  });
  after(async () => {
    await workload?.close();
    await routes?.stop();
  });

  const gauge = (exposition: Exposition) => (family: string) =>
    exposition.types.get(family) === "gauge";

  /** Until two readings that are moments apart agree: the agent goes on renewing leases and refreshing lag. */
  async function agree(route: Route, view: (it: Exposition) => Exposition): Promise<void> {
    let last: readonly string[] = [];
    await eventually(`${route.name} to say the same`, async () => {
      const own = read(await routes.own.scrape());
      const other = read(await route.scrape());
      last = differences(view(own), view(other));
      return last.length === 0;
    }).catch(() => assert.deepEqual(last, [], route.name));
  }

  it("carry a run in which every instrument was fed", async () => {
    const own = read(await routes.own.scrape());
    const families = [...own.types.keys()];
    const missing = Object.values(catalogue)
      .map(({ name }) => name.replaceAll(".", "_"))
      .filter((name) => !ofTheReader.test(name))
      .filter(
        (name) =>
          !families.some(
            (family) => family.replace(/_(total|seconds)$/, "") === name.replace(/_seconds$/, ""),
          ),
      );
    assert.deepEqual(
      missing.filter((name) => {
        return !perhapsNotInThisRun.includes(name) && !name.startsWith(ofHandlers);
      }),
      [],
    );
    assert.equal(own.series.get('streamhouse_records_sent_total{topic="orders"}'), SENT);
  });

  it("agree on every gauge that is still, while everything is open", async () => {
    for (const route of routes.others) {
      await agree(route, (it) => only(only(it, gauge(it)), (name) => !live.includes(name)));
    }
  });

  it("agree on name, labels, kind and description of the gauges that move", async () => {
    for (const route of routes.others) {
      await agree(route, (it) => {
        const moving = only(it, (name) => live.includes(name));
        return { ...moving, series: new Map([...moving.series.keys()].map((key) => [key, 0])) };
      });
    }
  });

  it("agree on every counter and every histogram bucket, once nothing moves any more", async () => {
    await workload.close();
    const counted = (it: Exposition) => only(it, (family) => !gauge(it)(family));
    const own = withoutEmptyHistograms(counted(read(await routes.own.scrape())));
    assert.ok(own.series.size > 500, `${own.series.size} series`);
    for (const route of routes.others) {
      const other = withoutEmptyHistograms(counted(read(await route.scrape())));
      assert.deepEqual(differences(own, other), [], route.name);
    }
  });
});

describe("a Collector that is sent deltas", { skip: whyNoPeers() ?? false }, () => {
  it("adds them up to the totals of our own /metrics", async () => {
    const collector = await startCollector();
    const sdk = bootstrap({
      register: false,
      env: {
        OTEL_METRICS_EXPORTER: "prometheus,otlp",
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${collector.otlp}/v1/metrics`,
        OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "delta",
        // Several pushes while the work goes on.
        OTEL_METRIC_EXPORT_INTERVAL: "200",
      },
    });
    try {
      const workload = await work({ meterProvider: sdk.meterProvider });
      await workload.close();
      const counted = (it: Exposition) => only(it, (family) => it.types.get(family) !== "gauge");
      const own = withoutEmptyHistograms(counted(read((await sdk.metrics.collect()).body)));
      assert.equal(own.series.get('streamhouse_records_sent_total{topic="orders"}'), SENT);
      let last: readonly string[] = [];
      await eventually("the last push", async () => {
        const sent = withoutEmptyHistograms(counted(read(await collector.scrape())));
        last = differences(own, sent);
        return last.length === 0;
      }).catch(() => assert.deepEqual(last, []));
    } finally {
      await sdk.shutdown();
      await collector.stop();
    }
  });
});

describe("settings of the Collector that matter", { skip: whyNoPeers() ?? false }, () => {
  const names = async (prometheus: readonly string[]): Promise<readonly string[]> => {
    const collector = await startCollector({ prometheus });
    const env = {
      OTEL_METRICS_EXPORTER: "otlp",
      OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${collector.otlp}/v1/metrics`,
      OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test",
    };
    const sdk = bootstrap({ register: false, serviceName: "settings", env });
    try {
      const workload = await work({ meterProvider: sdk.meterProvider });
      await workload.close();
      await sdk.shutdown();
      return (await collector.scrape())
        .split("\n")
        .filter((line) => /^(streamhouse_records_sent|messaging_process_duration)/.test(line));
    } finally {
      await sdk.shutdown();
      await collector.stop();
    }
  };

  it("are translation_strategy, which must keep suffixes, and two that only choose labels", async () => {
    const lines = await names([
      "translation_strategy: UnderscoreEscapingWithoutSuffixes",
      "without_scope_info: true",
      "resource_to_telemetry_conversion: { enabled: true }",
    ]);
    const sent = lines.find((line) => line.startsWith("streamhouse_records_sent"));
    assert.match(
      sent ?? "",
      /^streamhouse_records_sent\{/,
      "no _total: rules and dashboards miss it",
    );
    assert.match(sent ?? "", /deployment_environment_name="test"/);
    assert.doesNotMatch(sent ?? "", /otel_scope/);
    const process = lines.find((line) => line.startsWith("messaging_process_duration"));
    assert.match(process ?? "", /^messaging_process_duration_bucket\{/, "no _seconds");
  });
});
