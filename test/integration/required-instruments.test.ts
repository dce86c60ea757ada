/**
 * The 22 required instruments, each fed by real work with the true count: one workload, then one look at `/metrics`. By both routes:
 * the metric producer, and the public metrics API.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Consumer } from "../../src/consumer/consumer.ts";
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import { type Served, serve } from "../../src/serve/serve.ts";
import { bootstrap, type TelemetrySdk } from "../../src/telemetry/bootstrap.ts";
import { eventually } from "./child.ts";
import { parseMetrics, type Sample, samplesOf, sumOf } from "./metrics-text.ts";
import { temporaryFolder } from "./ways.ts";

const topic = "orders";
const group = "billing";
const produced = 1_000;
const tooLarge = 3;
const consumed = 600;

function promises(instruments: "producer" | "meter"): void {
  let sdk: TelemetrySdk;
  let served: Served;
  let house: House;
  let consumer: Consumer;
  let removeFolder: () => Promise<void>;
  let samples: readonly Sample[] = [];

  const scrape = async () => parseMetrics(await (await fetch(`${served.http}/metrics`)).text());
  const matching = (name: string, labels: Readonly<Record<string, string>>) =>
    samplesOf(samples, name, labels);
  const sum = (name: string, labels: Readonly<Record<string, string>> = {}) =>
    sumOf(samples, name, labels);

  before(async () => {
    const folder = await temporaryFolder();
    removeFolder = folder.remove;
    sdk = bootstrap({ register: false, env: {}, instruments });
    served = await serve({
      data: folder.path,
      grpc: "127.0.0.1:0",
      http: "127.0.0.1:0",
      telemetry: sdk,
      agent: { leaseTtlMs: 10_000, leaseRenewMs: 100 },
    });
    house = await connect({ agents: [served.grpc], telemetry: sdk });
    await house.admin.createTopic(topic, { partitions: 2 });
    const producer = house.producer();
    const value = "x".repeat(100);
    const sends = Array.from({ length: produced }, (_, i) =>
      producer.send({ topic, key: `${i}`, value }),
    );
    const huge = new Uint8Array(1_100_000);
    const failures = Array.from({ length: tooLarge }, () =>
      assert.rejects(producer.send({ topic, value: huge }), { code: "RECORD_TOO_LARGE" }),
    );
    await Promise.all([...sends, ...failures]);
    await assert.rejects(house.admin.describeTopic("nowhere"), { code: "TOPIC_NOT_FOUND" });
    consumer = house.consumer({
      group,
      topics: [topic],
      maxPollRecords: 100,
      autoCommit: false,
      lagIntervalMs: 100,
    });
    for (let read = 0; read < consumed; ) read += (await consumer.poll(5_000)).length;
    await consumer.commit();
    await eventually("lag and leases to be looked at", async () => {
      samples = await scrape();
      const lag = matching("streamhouse_consumer_lag_records", {});
      const renewals = matching("streamhouse_lease_renewals_total", { status: "ok" });
      const total = lag.reduce((all, it) => all + it.value, 0);
      return total === produced - consumed && (renewals[0]?.value ?? 0) > 0;
    });
  });

  after(async () => {
    await house.close();
    await served.stop();
    await sdk.shutdown();
    await removeFolder();
  });

  it("records_sent_total: those acknowledged", () => {
    assert.equal(sum("streamhouse_records_sent_total", { topic }), produced);
  });

  it("bytes_sent_total: their encoded bytes", () => {
    const bytes = sum("streamhouse_bytes_sent_total", { topic });
    assert.ok(bytes > produced * 100 && bytes < produced * 200, `${bytes}`);
    assert.equal(bytes, sum("streamhouse_batch_size_bytes_sum", { topic }));
  });

  it("send_duration_seconds: one sample for each send()", () => {
    assert.ok(sum("streamhouse_send_duration_seconds_count", { topic }) >= produced);
    assert.ok(sum("streamhouse_send_duration_seconds_sum", { topic }) > 0);
  });

  it("batch_flush_duration_seconds: one sample for each batch", () => {
    const flushes = sum("streamhouse_batch_flush_duration_seconds_count", { topic });
    assert.equal(flushes, sum("streamhouse_batch_size_records_count", { topic }));
  });

  it("batch_size_records: every record is in a batch", () => {
    assert.equal(sum("streamhouse_batch_size_records_sum", { topic }), produced);
  });

  it("batch_size_bytes: the bytes on the wire", () => {
    assert.ok(sum("streamhouse_batch_size_bytes_sum", { topic }) > produced * 100);
  });

  it("send_errors_total: records that failed for good, by error code", () => {
    const labels = { topic, error_type: "RECORD_TOO_LARGE" };
    assert.equal(sum("streamhouse_send_errors_total", labels), tooLarge);
  });

  it("pending_records: none when everything has settled", () => {
    assert.equal(sum("streamhouse_pending_records", { topic }), 0);
  });

  it("records_consumed_total: those handed to the application", () => {
    assert.equal(sum("streamhouse_records_consumed_total", { topic, group_id: group }), consumed);
  });

  it("bytes_consumed_total: their bytes", () => {
    const bytes = sum("streamhouse_bytes_consumed_total", { topic, group_id: group });
    assert.ok(bytes > consumed * 100 && bytes < consumed * 200, `${bytes}`);
  });

  it("poll_duration_seconds: one sample for each poll()", () => {
    const polls = sum("streamhouse_poll_duration_seconds_count", { group_id: group });
    assert.ok(polls >= consumed / 100, `${polls}`);
  });

  it("consumer_lag_records: high watermark minus committed offset, for each partition", () => {
    const labels = { topic, group_id: group };
    assert.equal(sum("streamhouse_consumer_lag_records", labels), produced - consumed);
    const partitions = matching("streamhouse_consumer_lag_records", labels);
    assert.deepEqual(partitions.map((it) => it.labels.partition).sort(), ["0", "1"]);
  });

  it("consumer_lag_seconds: above 0 exactly where there is lag", () => {
    for (const partition of ["0", "1"]) {
      const labels = { topic, group_id: group, partition };
      const behind = sum("streamhouse_consumer_lag_records", labels) > 0;
      assert.equal(sum("streamhouse_consumer_lag_seconds", labels) > 0, behind);
    }
  });

  it("last_committed_offset: what was committed", () => {
    const labels = { topic, group_id: group };
    assert.equal(sum("streamhouse_last_committed_offset", labels), consumed);
  });

  it("current_offset: the next record that the application will be given", () => {
    assert.equal(sum("streamhouse_current_offset", { topic, group_id: group }), consumed);
  });

  it("active_partitions: those whose lease the agent holds", () => {
    assert.equal(sum("streamhouse_active_partitions", { topic }), 2);
  });

  it("lease_renewals_total: by status", () => {
    assert.ok(sum("streamhouse_lease_renewals_total", { status: "ok" }) > 0);
  });

  it("records_written_total: those made durable and committed", () => {
    assert.equal(sum("streamhouse_records_written_total", { topic }), produced);
  });

  it("write_latency_seconds: one sample for each partition batch", () => {
    const batches = sum("streamhouse_batch_size_records_count", { topic });
    assert.equal(sum("streamhouse_write_latency_seconds_count", { topic }), batches);
  });

  it("active_connections: the client's", () => {
    assert.ok(sum("streamhouse_active_connections") >= 1);
  });

  it("grpc_requests_total: unary calls and produce frames, by method and status", () => {
    const method = (name: string) => `streamhouse.v1.${name}`;
    const name = "streamhouse_grpc_requests_total";
    const frames = { method: method("ProducerService/ProduceStream"), status: "OK" };
    assert.ok(sum(name, frames) > 0);
    assert.equal(sum(name, { method: method("AdminService/CreateTopic"), status: "OK" }), 1);
    const failed = { method: method("AdminService/DescribeTopic"), status: "NOT_FOUND" };
    assert.equal(sum(name, failed), 1);
    assert.ok(sum(name, { method: method("ConsumerService/Fetch"), status: "OK" }) > 0);
  });

  it("grpc_request_duration_seconds: the same units of work", async () => {
    // Families are collected in turns of their own, and calls of the background may be counted in between.
    await eventually("a scrape without a call in the middle", async () => {
      const scraped = await scrape();
      const byMethod = (name: string) => {
        const sums: Record<string, number> = {};
        for (const { labels, value } of samplesOf(scraped, name)) {
          const { method = "" } = labels;
          sums[method] = (sums[method] ?? 0) + value;
        }
        return sums;
      };
      const requests = byMethod("streamhouse_grpc_requests_total");
      const durations = byMethod("streamhouse_grpc_request_duration_seconds_count");
      const methods = Object.keys({ ...requests, ...durations });
      return methods.length > 3 && methods.every((it) => requests[it] === durations[it]);
    });
  });
}

for (const instruments of ["producer", "meter"] as const) {
  describe(`the 22 required instruments after real work, by ${instruments}`, () => {
    promises(instruments);
  });
}
