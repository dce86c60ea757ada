import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { MetricHub } from "../../../src/telemetry/hub.ts";
import { createMetricRegistry } from "../../../src/telemetry/registry.ts";
import { readFamilies } from "./read-families.ts";

function read(hub: MetricHub): Record<string, number | number[]> {
  const { "streamhouse.telemetry.series{}": _, ...rest } = readFamilies(hub.collect());
  return rest;
}

describe("a hub of registries", () => {
  it("sums the counters, up-down counters and histograms of two components", () => {
    const hub = new MetricHub();
    for (const n of [1, 2]) {
      const registry = createMetricRegistry();
      hub.attach(registry);
      registry.counter(catalogue.bytesSent, { topic: "t" }).add(n);
      registry.counter(catalogue.bytesSent, { topic: `own-${n}` }).add(n);
      registry.upDown(catalogue.pendingRecords, { topic: "t" }).add(n);
      registry.histogram(catalogue.sendDuration, { topic: "t" }).record(n);
    }
    const expected = {
      "streamhouse.bytes.sent{topic=t}": 3,
      "streamhouse.bytes.sent{topic=own-1}": 1,
      "streamhouse.bytes.sent{topic=own-2}": 2,
      "streamhouse.pending.records{topic=t}": 3,
      "streamhouse.send.duration.seconds{topic=t}": [2, 3],
    };
    assert.deepEqual(read(hub), expected);
    // Merging reads the cells: it must not add to them.
    assert.deepEqual(read(hub), expected);
  });

  it("shows of a gauge what was written last", () => {
    const hub = new MetricHub();
    const [a, b] = [createMetricRegistry(), createMetricRegistry()];
    hub.attach(a);
    hub.attach(b);
    b.gauge(catalogue.lagAge).set(1);
    const cell = a.gauge(catalogue.lagAge);
    do cell.set(2);
    while (cell.setAt <= b.gauge(catalogue.lagAge).setAt);
    assert.deepEqual(read(hub), { "streamhouse.lag.age.seconds{}": 2 });
  });

  it("keeps a closed component's totals and forgets its gauges", () => {
    const hub = new MetricHub();
    const open = createMetricRegistry();
    hub.attach(open);
    open.counter(catalogue.bytesSent, { topic: "t" }).add(1);
    for (let i = 0; i < 3; i++) {
      const registry = createMetricRegistry();
      const detach = hub.attach(registry);
      registry.counter(catalogue.bytesSent, { topic: "t" }).add(10);
      registry.histogram(catalogue.sendDuration, { topic: "t" }).record(2);
      registry.upDown(catalogue.pendingRecords, { topic: "t" }).add(1);
      registry.gauge(catalogue.lagAge).set(5);
      detach();
      detach();
    }
    assert.deepEqual(read(hub), {
      "streamhouse.bytes.sent{topic=t}": 31,
      "streamhouse.send.duration.seconds{topic=t}": [3, 6],
    });
  });

  it("does not grow with the number of components that came and went", () => {
    const hub = new MetricHub();
    for (let i = 0; i < 2_500; i++) {
      const registry = createMetricRegistry();
      const detach = hub.attach(registry);
      registry.counter(catalogue.bytesSent, { topic: `topic-${i}` }).add(1);
      detach();
    }
    const all = read(hub);
    assert.equal(Object.keys(all).length, 2_001);
    assert.equal(all["streamhouse.bytes.sent{otel.metric.overflow=true}"], 500);
  });

  it("counts its series", () => {
    const hub = new MetricHub();
    const registry = createMetricRegistry();
    hub.attach(registry);
    for (const topic of ["a", "b", "c"]) registry.counter(catalogue.bytesSent, { topic });
    assert.equal(readFamilies(hub.collect())["streamhouse.telemetry.series{}"], 4);
  });
});
