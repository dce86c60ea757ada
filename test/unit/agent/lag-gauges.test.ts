import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { GroupLag, PartitionLags } from "../../../src/agent/lag.ts";
import { LagGauges } from "../../../src/agent/lag-gauges.ts";
import { catalogue, type InstrumentDescriptor } from "../../../src/telemetry/catalogue.ts";
import { createMetricRegistry } from "../../../src/telemetry/registry.ts";

const metrics = createMetricRegistry();

function valuesOf({ name }: InstrumentDescriptor): Readonly<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const { descriptor, series } of metrics.collect()) {
    if (descriptor.name !== name) continue;
    for (const { attributes, cell } of series.values()) {
      found[Object.values(attributes).join("/")] = "count" in cell ? cell.count : cell.value;
    }
  }
  return found;
}

function partitionOf(partition: number, ...lags: readonly Partial<GroupLag>[]): PartitionLags {
  const none = { from: 0, records: 0, lost: 0, lead: 0, committedAtMs: 0, appendedMs: undefined };
  return {
    topicId: "id",
    topic: "t",
    partition,
    lags: lags.map((it) => ({ ...none, group: "g", ...it })),
    firstOf: [],
  };
}

describe("the gauges of groups", () => {
  it("have a series for each partition while there are few, and none for a partition beyond the limit", () => {
    const gauges = new LagGauges(metrics, 3);
    const some = [
      partitionOf(0, { records: 5, appendedMs: 1_000, lead: 7, committedAtMs: 9_000 }),
      partitionOf(1, { records: 2, appendedMs: 4_000, lead: 3, lost: 1, committedAtMs: 8_000 }),
      partitionOf(2, {}),
    ];
    gauges.show(some, new Map(), 10_000);
    assert.deepEqual(valuesOf(catalogue.groupLagSeconds), { "t/0/g": 9, "t/1/g": 6, "t/2/g": 0 });
    gauges.moveOn(11_000);
    assert.deepEqual(valuesOf(catalogue.groupLagSeconds), { "t/0/g": 10, "t/1/g": 7, "t/2/g": 0 });

    const many = [...some, partitionOf(3, { records: 1, appendedMs: 500, lead: 50, lost: 4 })];
    gauges.show(many, new Map(), 11_000);
    assert.deepEqual(valuesOf(catalogue.groupLagRecords), { "t/g": 8 }, "the sum");
    assert.deepEqual(valuesOf(catalogue.groupLagSeconds), { "t/g": 10.5 }, "the oldest");
    assert.deepEqual(valuesOf(catalogue.groupLeadRecords), { "t/g": 0 }, "the least");
    assert.deepEqual(valuesOf(catalogue.groupLostRecords), { "t/g": 5 }, "the sum");
    assert.deepEqual(valuesOf(catalogue.groupLastCommit), { "t/g": 9 }, "the latest");
    gauges.moveOn(12_000);
    assert.deepEqual(valuesOf(catalogue.groupLagSeconds), { "t/g": 11.5 });
    assert.equal(valuesOf(catalogue.seriesOverflow)[catalogue.groupLagRecords.name], 1);

    gauges.show(some, new Map(), 12_000);
    assert.deepEqual(Object.keys(valuesOf(catalogue.groupLagRecords)), ["t/0/g", "t/1/g", "t/2/g"]);
    gauges.show(many, new Map(), 12_000);
    assert.equal(valuesOf(catalogue.seriesOverflow)[catalogue.groupLagRecords.name], 1, "once");
  });
});
