/**
 * METRICS rule 6: a family has a limit. Past it counters and histograms fold into one overflow series, gauges drop `partition`, no number
 * is lost by it, and the telemetry says so itself.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bootstrap } from "../../../src/telemetry/bootstrap.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { createTelemetry, type Telemetry } from "../../../src/telemetry/telemetry.ts";
import { createTestHouse } from "../../../src/testing/test-house.ts";
import { parseMetrics, type Sample, samplesOf, sumOf } from "../metrics-text.ts";

const limit = 2_000;

/** What components that count as `work` says look like to a Prometheus. */
async function scraped(work: (components: readonly Telemetry[]) => void): Promise<Sample[]> {
  const sdk = bootstrap({ register: false, env: {} });
  const components = [1, 2].map(() => createTelemetry(sdk, { name: "test" }));
  work(components);
  await sdk.metrics.collect();
  const { body } = await sdk.metrics.collect();
  for (const one of components) one.close();
  await sdk.shutdown();
  return [...parseMetrics(body)];
}

describe("rule 6: cardinality", () => {
  it("counters and histograms keep 2,000 series and one overflow, and their sums, over all components", async () => {
    const topics = 1_500;
    const samples = await scraped((components) => {
      for (const [i, { metrics }] of components.entries()) {
        for (let n = 0; n < topics; n++) {
          const topic = `component-${i}-topic-${n}`;
          metrics.counter(catalogue.recordsSent, { topic }).add(1);
          metrics.histogram(catalogue.batchSizeRecords, { topic }).record(3);
        }
      }
    });
    const overflow = { otel_metric_overflow: "true" };
    for (const name of ["streamhouse_records_sent_total", "streamhouse_batch_size_records_count"]) {
      assert.equal(samplesOf(samples, name).length, limit + 1);
      assert.equal(sumOf(samples, name), 2 * topics);
      assert.equal(sumOf(samples, name, overflow), 2 * topics - limit);
    }
    const folded = samplesOf(samples, "streamhouse_telemetry_series_overflow_total");
    assert.deepEqual(folded.map(({ labels, value }) => [labels.family, value]).sort(), [
      ["streamhouse.batch.size.records", 1_000],
      ["streamhouse.records.sent", 1_000],
    ]);
  });

  it("gauges are never folded into an overflow: lag is summed or the greatest, offsets are left out", async () => {
    const partitions = 3_000;
    const samples = await scraped(([one, two]) => {
      for (let partition = 0; partition < partitions; partition++) {
        const component = partition % 2 === 0 ? one : two;
        const attributes = { topic: "t", partition, group_id: "g" };
        component?.metrics.gauge(catalogue.consumerLagRecords, attributes).set(2);
        component?.metrics.gauge(catalogue.consumerLagSeconds, attributes).set(partition);
        component?.metrics.gauge(catalogue.currentOffset, attributes).set(7);
      }
    });
    const labels = { topic: "t", group_id: "g" };
    const lags = samplesOf(samples, "streamhouse_consumer_lag_records");
    assert.deepEqual(
      lags.map((it) => [it.labels, it.value]),
      [[labels, 2 * partitions]],
    );
    const ages = samplesOf(samples, "streamhouse_consumer_lag_seconds");
    assert.deepEqual(
      ages.map((it) => [it.labels, it.value]),
      [[labels, partitions - 1]],
    );
    assert.deepEqual(samplesOf(samples, "streamhouse_current_offset"), []);
    // Neither component is beyond the limit by itself; together they are, and that is told.
    const folded = samplesOf(samples, "streamhouse_telemetry_series_overflow_total");
    assert.deepEqual(folded.map((it) => [it.labels.family, it.value]).sort(), [
      ["streamhouse.consumer.lag.records", partitions - limit],
      ["streamhouse.consumer.lag.seconds", partitions - limit],
      ["streamhouse.current_offset", partitions - limit],
    ]);
    assert.ok(!samples.some((it) => it.labels.otel_metric_overflow && /lag|offset/.test(it.name)));
  });

  it("holds for real work: what is sent to 1,100 partitions of two topics is counted to the record", async () => {
    const partitions = 1_100;
    const topics = { a: partitions, b: partitions };
    const sdk = bootstrap({ register: false, env: {} });
    const house = await createTestHouse({ topics, telemetry: { ...sdk, partitionLabels: true } });
    const producer = house.producer();
    const sends = Object.keys(topics).flatMap((topic) =>
      Array.from({ length: partitions }, (_, partition) =>
        producer.send({ topic, partition, value: "x" }),
      ),
    );
    await Promise.all(sends);
    const samples = parseMetrics((await sdk.metrics.collect()).body);
    for (const name of ["streamhouse_records_sent_total", "streamhouse_records_written_total"]) {
      assert.equal(samplesOf(samples, name).length, limit + 1);
      assert.equal(sumOf(samples, name), 2 * partitions);
    }
    await house.close();
    await sdk.shutdown();
  });
});
