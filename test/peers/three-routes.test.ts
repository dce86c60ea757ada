/**
 * One run, measured once, comes out the same by every way to Prometheus: our own `/metrics`, the stock exporter of an application's
 * SDK (2.x and 3.x), and a real OpenTelemetry Collector with its default settings. Names, labels, kinds, descriptions, numbers.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { whyNoPeers } from "../../scripts/peers.ts";
import { catalogue } from "../../src/telemetry.ts";
import { eventually } from "../integration/child.ts";
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

/** What only a failed call or an hour would feed. */
const perhapsNotInThisRun = ["streamhouse_client_retries", "streamhouse_retention_records"];

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
      missing.filter((name) => !perhapsNotInThisRun.includes(name)),
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
