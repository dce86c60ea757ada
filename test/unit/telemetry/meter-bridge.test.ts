import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { BatchObservableCallback } from "@opentelemetry/api";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { HistogramCell, type MetricRegistry } from "../../../src/telemetry/cells.ts";
import { MetricHub } from "../../../src/telemetry/hub.ts";
import { attachmentOf } from "../../../src/telemetry/meter-bridge.ts";
import { createMetricProducer } from "../../../src/telemetry/metric-producer.ts";
import { createMetricRegistry } from "../../../src/telemetry/registry.ts";
import { replayedSamplesMax } from "../../../src/telemetry/replay.ts";
import { MemoryReader, type ReadMetric } from "./memory-reader.ts";

/** Every instrument of the catalogue, with two series where it has attributes. */
function workload(registry: MetricRegistry): void {
  for (const [i, descriptor] of Object.values(catalogue).entries()) {
    for (const value of descriptor.attributes.length === 0 ? ["-"] : ["a", "b"]) {
      const attributes = Object.fromEntries(descriptor.attributes.map((key) => [key, value]));
      switch (descriptor.kind) {
        case "counter":
          registry.counter(descriptor, attributes).add(i + 1);
          break;
        case "upDownCounter":
          registry.upDown(descriptor, attributes).add(i - 50);
          break;
        case "gauge":
          registry.gauge(descriptor, attributes).set(i / 4);
          break;
        case "histogram":
          for (const sample of [0, 0.001, 0.0011, 3, 1e9]) {
            registry.histogram(descriptor, attributes).record(sample);
          }
      }
    }
  }
}

function withoutHealth(read: Record<string, ReadMetric>): Record<string, ReadMetric> {
  // Each route counts its own series.
  const { "streamhouse.telemetry.series": _, ...rest } = read;
  return rest;
}

function bridged(): { reader: MemoryReader; provider: MeterProvider } {
  const reader = new MemoryReader();
  return { reader, provider: new MeterProvider({ readers: [reader] }) };
}

/** A provider that shows what is observed, as no SDK does: an SDK repeats what it saw before. */
function recordingProvider() {
  let observe: BatchObservableCallback = () => {};
  const instrument = (name: string) => ({
    name,
    record() {},
    addCallback() {},
    removeCallback() {},
  });
  const meter = {
    createHistogram: instrument,
    createObservableCounter: instrument,
    createObservableUpDownCounter: instrument,
    createObservableGauge: instrument,
    addBatchObservableCallback(callback: BatchObservableCallback) {
      observe = callback;
    },
  };
  /** Values by partition of one instrument. */
  const collect = (name: string): Record<string, number> => {
    const values: Record<string, number> = {};
    observe({
      observe(metric, value, attributes) {
        if ((metric as unknown as { name: string }).name !== name) return;
        values[String(attributes?.partition)] = value;
      },
    });
    return values;
  };
  return { provider: { getMeter: () => meter } as unknown as MeterProvider, collect };
}

describe("the bridge and the metric producer", () => {
  it("report one workload with the same names, units, kinds, attributes and values", async () => {
    const bridge = bridged();
    const registry = createMetricRegistry();
    attachmentOf(bridge.provider).attach(registry);
    workload(registry);
    const hub = new MetricHub();
    const producer = new MemoryReader([createMetricProducer(hub)]);
    new MeterProvider({ readers: [producer] });
    const own = createMetricRegistry();
    hub.attach(own);
    workload(own);
    const byProducer = withoutHealth(await producer.read());
    assert.deepEqual(withoutHealth(await bridge.reader.read()), byProducer);
    assert.equal(Object.keys(byProducer).length, Object.keys(catalogue).length - 1);
    for (const { scope } of Object.values(byProducer)) {
      assert.match(scope, /^@streamhouse\/streamhouse@\d+\.\d+\.\d+ https:\/\/opentelemetry\.io\//);
    }
  });

  it("report the same totals again at the next collection", async () => {
    const { reader, provider } = bridged();
    const registry = createMetricRegistry();
    attachmentOf(provider).attach(registry);
    workload(registry);
    const first = withoutHealth(await reader.read());
    assert.deepEqual(withoutHealth(await reader.read()), first);
  });
});

describe("the meter bridge", () => {
  it("is one for each provider, and sums two components", async () => {
    const { reader, provider } = bridged();
    assert.equal(attachmentOf(provider), attachmentOf(provider));
    const cells = [1, 2].map((n) => {
      const registry = createMetricRegistry();
      const detach = attachmentOf(provider).attach(registry);
      registry.counter(catalogue.bytesSent, { topic: "t" }).add(n);
      registry.histogram(catalogue.batchSizeRecords, { topic: "t" }).record(n);
      return detach;
    });
    const check = async () => {
      const read = await reader.read();
      assert.deepEqual(read[catalogue.bytesSent.name]?.points, { "topic=t": 3 });
      const sizes = read[catalogue.batchSizeRecords.name]?.points["topic=t"];
      assert.deepEqual((sizes as { count: number; sum: number }).count, 2);
    };
    await check();
    cells[0]?.();
    // Closed: what it counted stays.
    await check();
  });

  it("repeats what histograms held before the provider came", async () => {
    const { reader, provider } = bridged();
    const registry = createMetricRegistry();
    const cell = registry.histogram(catalogue.sendDuration, { topic: "t" });
    for (const sample of [0.002, 0.004, 0.3, 20]) cell.record(sample);
    attachmentOf(provider).attach(registry);
    cell.record(0.5);
    const read = await reader.read();
    assert.deepEqual(read[catalogue.sendDuration.name]?.points["topic=t"], {
      count: 5,
      sum: 20.806,
      counts: [...cell.counts],
      boundaries: catalogue.sendDuration.buckets,
    });
  });

  it("counts the samples that were too many to repeat", async () => {
    const { reader, provider } = bridged();
    const registry = createMetricRegistry();
    const cell = registry.histogram(catalogue.sendDuration, { topic: "t" });
    for (let i = 0; i <= replayedSamplesMax; i++) cell.record(1);
    attachmentOf(provider).attach(registry);
    cell.record(1);
    const read = await reader.read();
    const points = read[catalogue.sendDuration.name]?.points["topic=t"];
    assert.equal((points as { count: number }).count, 1);
    assert.deepEqual(read[catalogue.samplesLost.name]?.points, { "": replayedSamplesMax + 1 });
  });

  it("observes a revoked lag as 0 once; offsets keep their last value", async () => {
    const { reader, provider } = bridged();
    const registry = createMetricRegistry();
    attachmentOf(provider).attach(registry);
    const attributes = { topic: "t", partition: 0, group_id: "g" };
    const families = [
      catalogue.consumerLagRecords,
      catalogue.consumerLagSeconds,
      catalogue.currentOffset,
    ];
    for (const family of families) registry.gauge(family, attributes).set(7);
    await reader.read();
    for (const family of families) registry.release(family, attributes);
    const read = await reader.read();
    const values = families.map((family) => Object.values(read[family.name]?.points ?? {}));
    assert.deepEqual(values, [[0], [0], [7]]);
    // It was once: a series that comes back elsewhere is not pushed to 0 again.
    registry.gauge(catalogue.consumerLagRecords, attributes).set(3);
    const again = await reader.read();
    assert.deepEqual(Object.values(again[families[0]?.name ?? ""]?.points ?? {}), [3]);
  });

  it("observes every revoked lag as 0 in exactly one collection, the family's last one too", () => {
    const { provider, collect } = recordingProvider();
    const registry = createMetricRegistry();
    attachmentOf(provider).attach(registry);
    const attributes = (partition: number) => ({ topic: "t", partition, group_id: "g" });
    const lag = catalogue.groupLagRecords;
    for (const partition of [0, 1]) registry.gauge(lag, attributes(partition)).set(5);
    assert.deepEqual(collect(lag.name), { 0: 5, 1: 5 });
    registry.release(lag, attributes(0));
    assert.deepEqual(collect(lag.name), { 0: 0, 1: 5 });
    assert.deepEqual(collect(lag.name), { 1: 5 });
    registry.release(lag, attributes(1));
    assert.deepEqual(collect(lag.name), { 1: 0 });
    assert.deepEqual(collect(lag.name), {});
  });

  it("reports the same total again however many series there are: the SDK is shown no more than it can hold", async () => {
    const { reader, provider } = bridged();
    const registry = createMetricRegistry();
    attachmentOf(provider).attach(registry);
    const total = async (name: string) => {
      const points = Object.values((await reader.read())[name]?.points ?? {});
      return points.reduce<number>((sum, value) => sum + Number(value), 0);
    };
    const { bytesSent, pendingRecords } = catalogue;
    let sum = 0;
    for (const topics of [1_990, 1_999, 2_000, 2_500]) {
      for (let i = 0; i < topics; i++) {
        registry.counter(bytesSent, { topic: `t${i}` }).add(1);
        registry.upDown(pendingRecords, { topic: `t${i}` }).add(1);
      }
      sum += topics;
      for (let n = 0; n < 3; n++) {
        assert.deepEqual(
          [await total(bytesSent.name), await total(pendingRecords.name)],
          [sum, sum],
        );
      }
    }
  });

  it("observes as 0 once what a closed component had open or waiting", async () => {
    const { reader, provider } = bridged();
    const read = async () => Object.values((await reader.read())[pending.name]?.points ?? {});
    const pending = catalogue.pendingRecords;
    const [first, second] = [createMetricRegistry(), createMetricRegistry()];
    const detach = attachmentOf(provider).attach(first);
    attachmentOf(provider).attach(second);
    first.upDown(pending, { topic: "t" }).add(5);
    assert.deepEqual(await read(), [5]);
    detach();
    assert.deepEqual(await read(), [0]);
    second.upDown(pending, { topic: "t" }).add(2);
    assert.deepEqual(await read(), [2]);
  });

  it("works with a provider that cannot be marked, one bridge for each component", async () => {
    const reader = new MemoryReader();
    const provider = Object.freeze(new MeterProvider({ readers: [reader] }));
    const registry = createMetricRegistry();
    attachmentOf(provider).attach(registry);
    registry.counter(catalogue.bytesSent, { topic: "t" }).add(1);
    const read = await reader.read();
    assert.deepEqual(read[catalogue.bytesSent.name]?.points, { "topic=t": 1 });
  });

  it("survives an SDK whose histogram throws, and counts the loss", () => {
    const throwing = {
      record() {
        throw new Error("broken SDK");
      },
    };
    const observable = { addCallback() {}, removeCallback() {} };
    const meter = {
      createHistogram: () => throwing,
      createObservableCounter: () => observable,
      createObservableUpDownCounter: () => observable,
      createObservableGauge: () => observable,
      addBatchObservableCallback() {},
    };
    const provider = { getMeter: () => meter } as unknown as MeterProvider;
    const registry = createMetricRegistry();
    attachmentOf(provider).attach(registry);
    const cell = registry.histogram(catalogue.sendDuration, { topic: "t" });
    assert.doesNotThrow(() => cell.record(1));
    assert.ok(cell instanceof HistogramCell);
    assert.equal(registry.counter(catalogue.samplesLost).value, 1);
  });
});
