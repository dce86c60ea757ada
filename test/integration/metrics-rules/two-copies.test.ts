/**
 * Two copies in one process, as package managers make them: of this package, and of the OpenTelemetry API and SDK. Nothing is reported
 * twice and nothing is lost. The copies are folders, so that every module exists twice.
 */
import assert from "node:assert/strict";
import { cp, mkdir, readdir, realpath, symlink } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { metrics } from "@opentelemetry/api";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import * as own from "../../../src/telemetry/bootstrap.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import * as ownTelemetry from "../../../src/telemetry/telemetry.ts";
import { MemoryReader } from "../../unit/telemetry/memory-reader.ts";
import { root } from "../child.ts";
import { parseMetrics, samplesOf, sumOf } from "../metrics-text.ts";
import { temporaryFolder } from "../ways.ts";

/** Copies of their own in the second installation; everything else is shared. */
const copied: ReadonlySet<string> = new Set(["api", "sdk-metrics"]);

interface Copy {
  readonly bootstrap: typeof own;
  readonly telemetry: typeof ownTelemetry;
  readonly sdk: { readonly MeterProvider: typeof MeterProvider };
}

/** A second installation: this package's sources, and `node_modules` with a second API and metrics SDK. */
async function install(folder: string): Promise<Copy> {
  const modules = join(root, "node_modules");
  await cp(join(root, "src"), join(folder, "src"), { recursive: true });
  await cp(join(root, "package.json"), join(folder, "package.json"));
  await mkdir(join(folder, "node_modules", "@opentelemetry"), { recursive: true });
  for (const name of await readdir(modules)) {
    if (name.startsWith(".") || name === "@opentelemetry") continue;
    await symlink(await realpath(join(modules, name)), join(folder, "node_modules", name));
  }
  for (const name of await readdir(join(modules, "@opentelemetry"))) {
    const [from, to] = [modules, join(folder, "node_modules")].map((at) =>
      join(at, "@opentelemetry", name),
    );
    if (copied.has(name)) await cp(from ?? "", to ?? "", { recursive: true });
    else await symlink(await realpath(from ?? ""), to ?? "");
  }
  const load = (path: string) => import(pathToFileURL(join(folder, path)).href);
  return {
    bootstrap: await load("src/telemetry/bootstrap.ts"),
    telemetry: await load("src/telemetry/telemetry.ts"),
    sdk: await load("node_modules/@opentelemetry/sdk-metrics/build/src/index.js"),
  };
}

type CreateTelemetry = typeof ownTelemetry.createTelemetry;

/** A component of each copy counts the same series. */
function count(
  creators: readonly CreateTelemetry[],
  options: ownTelemetry.TelemetryOptions | undefined,
): readonly ownTelemetry.Telemetry[] {
  return creators.map((create, i) => {
    const telemetry = create(options, { name: "test" });
    telemetry.metrics.counter(catalogue.recordsSent, { topic: "t" }).add(i + 1);
    telemetry.metrics.histogram(catalogue.batchSizeRecords, { topic: "t" }).record(i + 1);
    telemetry.metrics.upDown(catalogue.pendingRecords, { topic: "t" }).add(i + 1);
    const attributes = { topic: `t${i}`, partition: 0, group_id: "g" };
    telemetry.metrics.gauge(catalogue.consumerLagRecords, attributes).set(7);
    return telemetry;
  });
}

describe("two copies in one process", () => {
  let copy: Copy;
  let creators: readonly CreateTelemetry[] = [];
  let removeFolder: () => Promise<void>;

  before(async () => {
    const folder = await temporaryFolder();
    removeFolder = folder.remove;
    copy = await install(folder.path);
    creators = [ownTelemetry.createTelemetry, copy.telemetry.createTelemetry];
    assert.notEqual(creators[0], creators[1]);
    assert.notEqual(copy.sdk.MeterProvider, MeterProvider);
  });

  after(async () => {
    metrics.disable();
    await removeFolder();
  });

  for (const which of ["this", "the other"] as const) {
    it(`report once, by the metric producer, through the bootstrap of ${which} copy`, async () => {
      metrics.disable();
      const { bootstrap } = which === "this" ? own : copy.bootstrap;
      const sdk = bootstrap({ env: {} });
      const components = count(creators, undefined);
      for (const closed of [false, true]) {
        if (closed) for (const one of components) one.close();
        const samples = parseMetrics((await sdk.metrics.collect()).body);
        const sent = samplesOf(samples, "streamhouse_records_sent_total");
        assert.deepEqual(
          sent.map(({ value }) => value),
          [3],
        );
        assert.equal(sumOf(samples, "streamhouse_batch_size_records_sum"), 3);
        const lags = samplesOf(samples, "streamhouse_consumer_lag_records");
        assert.deepEqual(
          lags.map(({ value }) => value),
          closed ? [] : [7, 7],
        );
      }
      await sdk.shutdown();
    });
  }

  it("share one bridge to a provider, of whichever SDK", async () => {
    for (const Provider of [MeterProvider, copy.sdk.MeterProvider]) {
      const reader = new MemoryReader();
      const meterProvider = new Provider({ readers: [reader] });
      const components = count(creators, { meterProvider });
      const read = await reader.read();
      const points = (name: string) => read[name]?.points;
      assert.deepEqual(points("streamhouse.records.sent"), { "topic=t": 3 });
      assert.deepEqual(points("streamhouse.pending.records"), { "topic=t": 3 });
      const sizes = points("streamhouse.batch.size.records")?.["topic=t"];
      assert.deepEqual((sizes as { readonly count: number }).count, 2);
      assert.deepEqual(Object.values(points("streamhouse.consumer.lag.records") ?? {}), [7, 7]);
      for (const one of components) one.close();
      await meterProvider.shutdown();
    }
  });

  it("report each component to the provider that it was given, and to no other", async () => {
    const readers = [new MemoryReader(), new MemoryReader()];
    const [first, second] = [MeterProvider, copy.sdk.MeterProvider].map(
      (Provider, i) => new Provider({ readers: [readers[i] as MemoryReader] }),
    );
    metrics.disable();
    metrics.setGlobalMeterProvider(first as MeterProvider);
    count(creators, { meterProvider: second as MeterProvider });
    count(creators.slice(0, 1), undefined);
    const sums = [];
    for (const reader of readers) {
      sums.push((await reader.read())["streamhouse.records.sent"]?.points["topic=t"]);
    }
    assert.deepEqual(sums, [1, 3]);
    await Promise.all([first?.shutdown(), second?.shutdown()]);
  });
});
