/** The integration tests of StreamHouse's phase 7 (observability), by their names, against this implementation and its `/metrics`. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import { type Served, serve } from "../../src/serve/serve.ts";
import { bootstrap, type TelemetrySdk } from "../../src/telemetry/bootstrap.ts";
import { eventually } from "./child.ts";
import { parseMetrics, samplesOf, sumOf } from "./metrics-text.ts";
import { temporaryFolder } from "./ways.ts";

for (const instruments of ["producer", "meter"] as const) {
  describe(`the observability tests of the seed, by ${instruments}`, () => {
    let sdk: TelemetrySdk;
    let served: Served;
    let house: House;
    let removeFolder: () => Promise<void>;

    const get = (path: string, headers: Readonly<Record<string, string>> = {}) =>
      fetch(`${served.http}${path}`, { headers });
    const scrape = async () => parseMetrics(await (await get("/metrics")).text());

    before(async () => {
      const folder = await temporaryFolder();
      removeFolder = folder.remove;
      sdk = bootstrap({ register: false, env: {}, instruments });
      served = await serve({
        ...{ data: folder.path, grpc: "127.0.0.1:0", http: "127.0.0.1:0", telemetry: sdk },
        agent: { lagRefreshMs: 100 },
      });
      house = await connect({ agents: [served.grpc], telemetry: sdk });
    });

    after(async () => {
      await house.close();
      await served.stop();
      await sdk.shutdown();
      await removeFolder();
    });

    it("test_ready_endpoint: 503 without leases, 200 with them", async () => {
      const before = await get("/ready");
      assert.equal(before.status, 503);
      assert.match(await before.text(), /lease/);
      await house.admin.createTopic("ready");
      await eventually("a lease", async () => served.agent.hasActiveLeases());
      assert.equal((await get("/ready")).status, 200);
      await house.admin.deleteTopic("ready");
      await eventually("no lease", async () => !served.agent.hasActiveLeases());
      assert.equal((await get("/ready")).status, 503);
    });

    it("test_health_endpoint: 200 while the process runs", async () => {
      const response = await get("/health");
      assert.equal(response.status, 200);
      await response.text();
    });

    it("test_producer_metrics_end_to_end: after 100 records the sum over streamhouse_records_sent_total is 100", async () => {
      await house.admin.createTopic("sent", { partitions: 3 });
      const producer = house.producer();
      const sends = Array.from({ length: 100 }, (_, i) =>
        producer.send({ topic: "sent", key: `k${i}`, value: `v${i}` }),
      );
      await Promise.all(sends);
      const samples = await scrape();
      assert.equal(sumOf(samples, "streamhouse_records_sent_total"), 100);
      assert.equal(sumOf(samples, "streamhouse_records_sent_total", { topic: "sent" }), 100);
      assert.equal(
        sumOf(samples, "streamhouse_send_duration_seconds_count", { topic: "sent" }),
        100,
      );
      assert.equal(sumOf(samples, "streamhouse_pending_records"), 0);
    });

    it("test_agent_metrics_during_produce: the agent counts what it writes while it is being produced to", async () => {
      await house.admin.createTopic("written", { partitions: 2 });
      const producer = house.producer();
      let written = 0;
      for (let round = 1; round <= 3; round++) {
        const records = Array.from({ length: 50 }, (_, i) => ({ key: `k${i}`, value: "x" }));
        await producer.sendBatch({ topic: "written", records });
        written += records.length;
        const labels = { topic: "written" };
        // A scrape is answered from the one before for as long as that took.
        const samples = await eventually("a new collection", async () => {
          const samples = await scrape();
          const shown = samplesOf(samples, "streamhouse_records_written_total", labels);
          return shown.reduce((all, { value }) => all + value, 0) >= written && samples;
        });
        assert.equal(sumOf(samples, "streamhouse_records_written_total", labels), written);
        assert.ok(sumOf(samples, "streamhouse_write_latency_seconds_count", labels) >= round);
        assert.equal(sumOf(samples, "streamhouse_active_partitions", labels), 2);
        assert.ok(sumOf(samples, "streamhouse_grpc_requests_total", { status: "OK" }) > 0);
        assert.ok(sumOf(samples, "streamhouse_active_connections") >= 1);
      }
    });

    it("test_consumer_lag_accuracy: what is written and not committed, then none", async () => {
      await house.admin.createTopic("lag", { partitions: 2 });
      const records = Array.from({ length: 100 }, (_, i) => ({ key: `k${i}`, value: "x" }));
      await house.producer().sendBatch({ topic: "lag", records });
      const consumer = house.consumer({
        ...{ group: "g", topics: ["lag"], autoCommit: false, lagIntervalMs: 100 },
        maxPollRecords: 20,
      });
      const behind = async (expected: number) => {
        const labels = { topic: "lag", group_id: "g" };
        await eventually(`a lag of ${expected}`, async () => {
          const samples = await scrape();
          const sum = (name: string) =>
            samplesOf(samples, name, labels).reduce((all, { value }) => all + value, 0);
          const both = ["streamhouse_consumer_lag_records", "streamhouse_group_lag_records"].map(
            sum,
          );
          return (
            both.every((it) => it === expected) &&
            samplesOf(samples, "streamhouse_group_lag_records", labels).length === 2
          );
        });
      };
      let read = 0;
      while (read < 60) read += (await consumer.poll(10_000)).length;
      await consumer.commit();
      await behind(100 - read);
      while (read < 100) read += (await consumer.poll(10_000)).length;
      await consumer.commit();
      await behind(0);
      await consumer.close();
    });

    it("test_metrics_endpoint_format: Prometheus text, with help and type of every family", async () => {
      const response = await get("/metrics");
      assert.equal(response.status, 200);
      assert.match(response.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
      const text = await response.text();
      assert.ok(text.endsWith("\n"));
      for (const [, name] of text.matchAll(/^# TYPE (\S+)/gm)) {
        assert.match(text, new RegExp(`^# HELP ${name} .+$`, "m"));
      }
      const families = [...text.matchAll(/^# TYPE (streamhouse_\S+) (\S+)$/gm)].map(
        ([, name, type]) => `${name} ${type}`,
      );
      for (const expected of [
        "streamhouse_records_sent_total counter",
        "streamhouse_records_written_total counter",
        "streamhouse_send_duration_seconds histogram",
        "streamhouse_active_partitions gauge",
        "streamhouse_grpc_requests_total counter",
      ]) {
        assert.ok(families.includes(expected), expected);
      }
      for (const { name, value } of parseMetrics(text)) assert.ok(!Number.isNaN(value), name);
    });
  });
}
