import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { countLag, lagSeconds } from "../../../src/agent/lag.ts";
import type { PartitionLag } from "../../../src/rpc/gen/streamhouse/v1/group.ts";
import type { InstrumentDescriptor } from "../../../src/telemetry/catalogue.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import type { AttributeValues } from "../../../src/telemetry/cells.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { type Faults, withFaults } from "../../fault/faulty-metadata.ts";
import {
  type BenchAgent,
  createTopic,
  memoryMetadata,
  send,
  sendAndWait,
  startAgent,
} from "./bench-agent.ts";

/** The values of a family, by the attributes named. */
function valuesOf(
  bench: BenchAgent,
  descriptor: InstrumentDescriptor,
): readonly (readonly [AttributeValues, number])[] {
  for (const family of bench.agent.telemetry.metrics.collect()) {
    if (family.descriptor !== descriptor) continue;
    return [...family.series.values()].map(({ attributes, cell }) => [
      attributes,
      "count" in cell ? cell.count : cell.value,
    ]);
  }
  return [];
}

const single = (bench: BenchAgent, descriptor: InstrumentDescriptor) =>
  valuesOf(bench, descriptor)[0]?.[1];

async function start(): Promise<{ bench: BenchAgent; faults: Faults; topicId: string }> {
  const clock = new ManualClock();
  const { metadata, faults } = withFaults(memoryMetadata(clock));
  const bench = await startAgent({ clock, metadata, telemetry: {} });
  return { bench, faults, topicId: await createTopic(bench, "t") };
}

const commit = (bench: BenchAgent, topicId: string, offset: number) =>
  bench.metadata.commitOffsets("g", { memberId: "", memberEpoch: 0 }, [
    { topicId, partition: 0, offset, metadata: "" },
  ]);

async function describeLag(bench: BenchAgent): Promise<PartitionLag | undefined> {
  const { lags } = await bench.agent.api.describeGroup({ group: "g", positions: [] }, {});
  return lags[0];
}

describe("lag", () => {
  it("in records is what lies between the commit (or the log start) and the high watermark", () => {
    const row = (committedOffset: number, logStartOffset: number, begin?: number) =>
      countLag({ committedOffset, logStartOffset, nextOffset: 10 }, begin);
    assert.deepEqual(row(3, 0), { from: 3, records: 7, lost: 0, lead: 3 });
    assert.deepEqual(row(10, 0), { from: 10, records: 0, lost: 0, lead: 10 });
    assert.deepEqual(row(3, 5), { from: 5, records: 5, lost: 2, lead: 0 });
    assert.deepEqual(row(12, 0), { from: 12, records: 0, lost: 0, lead: 12 });
    assert.deepEqual(row(-1, 5), { from: 5, records: 5, lost: 0, lead: 0 });
    assert.deepEqual(row(-1, 5, 8), { from: 8, records: 2, lost: 0, lead: 3 });
    assert.deepEqual(row(-1, 5, 4), { from: 5, records: 5, lost: 1, lead: 0 });
    assert.deepEqual(row(7, 5, 9), { from: 7, records: 3, lost: 0, lead: 2 });
  });

  it("in seconds is never negative, and never 0 while there is something, whatever the clock does", () => {
    assert.equal(lagSeconds(undefined, 5_000), 0);
    assert.equal(lagSeconds(2_000, 5_000), 3);
    assert.equal(lagSeconds(5_000, 5_000), 0.001);
    assert.equal(lagSeconds(9_000, 5_000), 0.001);
  });

  it("in seconds is the age of the batch that holds the first uncommitted record, and 0 exactly when records are", async () => {
    const { bench, topicId } = await start();
    await sendAndWait(bench, "t", ["a", "b"]);
    await bench.clock.run(10_000);
    await sendAndWait(bench, "t", ["c"]);
    await bench.clock.run(5_000);
    await commit(bench, topicId, 1);
    const stuck = await describeLag(bench);
    assert.equal(stuck?.lagRecords, 2);
    assert.ok(Math.abs((stuck?.lagSeconds ?? 0) - 15) < 0.1, String(stuck?.lagSeconds));
    await commit(bench, topicId, 2);
    const closer = await describeLag(bench);
    assert.ok(Math.abs((closer?.lagSeconds ?? 0) - 5) < 0.1, String(closer?.lagSeconds));
    await commit(bench, topicId, 3);
    const idle = await describeLag(bench);
    assert.deepEqual([idle?.lagRecords, idle?.lagSeconds], [0, 0]);
    await bench.clock.until(bench.agent.stop());
  });

  it("of a dead group keeps growing in the agent's metrics, with nobody polling", async () => {
    const { bench, topicId } = await start();
    await sendAndWait(bench, "t", ["a"]);
    await commit(bench, topicId, 1);
    await bench.clock.run(5_000);
    assert.equal(single(bench, catalogue.groupLagRecords), 0);
    assert.equal(single(bench, catalogue.groupLagSeconds), 0);
    await sendAndWait(bench, "t", ["b", "c"]);
    await bench.clock.run(20_000);
    assert.equal(single(bench, catalogue.groupLagRecords), 2);
    const seconds = single(bench, catalogue.groupLagSeconds) ?? 0;
    assert.ok(seconds > 19 && seconds < 21, String(seconds));
    const [attributes] = valuesOf(bench, catalogue.groupLagRecords)[0] ?? [];
    assert.deepEqual(attributes, { topic: "t", partition: 0, group_id: "g" });
    await bench.clock.until(bench.agent.stop());
  });

  it("that cannot be refreshed stays as it was, says how old it is, and is counted", async () => {
    const { bench, faults, topicId } = await start();
    await sendAndWait(bench, "t", ["a"]);
    await commit(bench, topicId, 0);
    await bench.clock.run(5_000);
    faults.next.lagSnapshot = ["none", "none", "none", "none"];
    await bench.clock.run(10_000);
    assert.equal(single(bench, catalogue.groupLagRecords), 1);
    assert.equal(single(bench, catalogue.lagRefreshErrors), 4);
    assert.ok((single(bench, catalogue.lagAge) ?? 0) >= 10);
    await bench.clock.until(bench.agent.stop());
  });

  it("of a partition whose lease is gone is exported no more", async () => {
    const { bench, topicId } = await start();
    await sendAndWait(bench, "t", ["a"]);
    await commit(bench, topicId, 0);
    await bench.clock.run(5_000);
    assert.equal(valuesOf(bench, catalogue.groupLagRecords).length, 1);
    assert.equal(valuesOf(bench, catalogue.highWatermark).length, 1);
    await bench.clock.until(bench.agent.drain());
    assert.equal(valuesOf(bench, catalogue.groupLagRecords).length, 0);
    assert.equal(valuesOf(bench, catalogue.highWatermark).length, 0);
    assert.equal(valuesOf(bench, catalogue.activePartitions).length, 0);
    await bench.clock.until(bench.agent.stop());
  });
});

describe("the agent's instruments", () => {
  it("count what is durable, per topic: records, one latency sample a batch, flushes, leases", async () => {
    const { bench } = await start();
    await createTopic(bench, "u", { partitions: 3 });
    const answers = [send(bench, "t", ["a", "b"]), send(bench, "u", ["c"], { partition: 2 })];
    await bench.clock.until(Promise.all(answers));
    await sendAndWait(bench, "t", ["d"]);
    const written = new Map(
      valuesOf(bench, catalogue.recordsWritten).map(([a, v]) => [a.topic, v]),
    );
    assert.deepEqual([...written].sort(), [
      ["t", 3],
      ["u", 1],
    ]);
    const latency = new Map(valuesOf(bench, catalogue.writeLatency).map(([a, v]) => [a.topic, v]));
    assert.equal(latency.get("t"), 2);
    const active = new Map(
      valuesOf(bench, catalogue.activePartitions).map(([a, v]) => [a.topic, v]),
    );
    assert.deepEqual([...active].sort(), [
      ["t", 1],
      ["u", 3],
    ]);
    assert.equal(single(bench, catalogue.flushBytes), 2);
    assert.equal(single(bench, catalogue.bufferBytes), 0);
    const marks = valuesOf(bench, catalogue.highWatermark);
    assert.equal(marks.find(([a]) => a.topic === "t")?.[1], 3);
    await bench.clock.run(3_100);
    const renewals = valuesOf(bench, catalogue.leaseRenewals);
    assert.deepEqual(
      renewals.filter(([, v]) => v > 0).map(([a]) => a.status),
      ["ok"],
    );
    await bench.clock.until(bench.agent.stop());
  });

  it("count failures as failures: no record written, the flush failed, the renewal in error or lost", async () => {
    const { bench, faults } = await start();
    bench.sink.fates.push("full");
    await bench.clock.until(send(bench, "t", ["a"]).catch(() => {}));
    assert.equal(single(bench, catalogue.recordsWritten), 0);
    const outcomes = valuesOf(bench, catalogue.flushDuration).map(([a]) => a.outcome);
    assert.deepEqual(outcomes, ["failed"]);
    faults.next.renewRun = ["none"];
    await bench.clock.run(3_100);
    const renewals = (status: string) =>
      valuesOf(bench, catalogue.leaseRenewals).find(([a]) => a.status === status)?.[1];
    assert.equal(renewals("error"), 1);
    assert.equal(renewals("lost"), 0);
    await bench.metadata.endRun(bench.agent.runId);
    await bench.clock.run(3_100);
    assert.equal(renewals("lost"), 1);
    assert.equal(renewals("error"), 1);
    await bench.clock.until(bench.agent.stop());
  });
});
