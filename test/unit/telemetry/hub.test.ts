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

/** A hub with a limit, and one component. */
function small(seriesMax: number) {
  const hub = new MetricHub({ seriesMax });
  const registry = createMetricRegistry({ seriesMax });
  hub.attach(registry);
  return { hub, registry };
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

  it("drops partition from gauges past the limit: lag summed or greatest, offsets gone", () => {
    const { hub, registry } = small(2);
    for (let partition = 0; partition < 3; partition++) {
      const attributes = { topic: "t", partition, group_id: "g" };
      registry.gauge(catalogue.groupLagRecords, attributes).set(10 + partition);
      registry.gauge(catalogue.groupLagSeconds, attributes).set(5 - partition);
      registry.gauge(catalogue.currentOffset, attributes).set(100);
    }
    const all = read(hub);
    assert.equal(all["streamhouse.group.lag.records{topic=t,group_id=g}"], 33);
    assert.equal(all["streamhouse.group.lag.seconds{topic=t,group_id=g}"], 5);
    assert.deepEqual(
      Object.keys(all).filter((name) => /current_offset\{|partition=|overflow=true/.test(name)),
      [],
    );
  });

  it("shows partitions again once they are few enough", () => {
    const { hub, registry } = small(2);
    const attributes = (partition: number) => ({ topic: "t", partition, group_id: "g" });
    for (const p of [0, 1, 2]) registry.gauge(catalogue.groupLagRecords, attributes(p)).set(p);
    registry.release(catalogue.groupLagRecords, attributes(0));
    const lag = Object.keys(read(hub)).filter((n) => /lag\.records\{/.test(n));
    assert.deepEqual(lag.length, 2);
    assert.match(lag[0] ?? "", /partition=1/);
  });

  it("folds a crowded gauge over all components: none of them hides the lag of another", () => {
    const { hub, registry } = small(2);
    const second = createMetricRegistry({ seriesMax: 2 });
    hub.attach(second);
    for (const [one, partition] of [registry, registry, second, second].entries()) {
      const attributes = { topic: "t", partition: one, group_id: "g" };
      partition.gauge(catalogue.consumerLagRecords, attributes).set(10);
    }
    assert.equal(read(hub)["streamhouse.consumer.lag.records{topic=t,group_id=g}"], 40);
  });

  it("limits a family over all components; a series never changes places with the overflow", () => {
    const { hub, registry } = small(2);
    const name = "streamhouse.bytes.sent";
    registry.counter(catalogue.bytesSent, { topic: "a" }).add(1);
    const closing = [2, 3].map((n) => {
      const other = createMetricRegistry({ seriesMax: 2 });
      const detach = hub.attach(other);
      for (const topic of [`b${n}`, `c${n}`]) {
        other.counter(catalogue.bytesSent, { topic }).add(1);
      }
      return detach;
    });
    const expected = {
      [`${name}{topic=a}`]: 1,
      [`${name}{topic=b2}`]: 1,
      [`${name}{otel.metric.overflow=true}`]: 3,
      [`streamhouse.telemetry.series.overflow{family=${name}}`]: 3,
    };
    read(hub);
    assert.deepEqual(read(hub), expected);
    // The second closes first, then the first: whose series have places of their own stays as it was.
    for (const close of closing.reverse()) {
      close();
      assert.deepEqual(read(hub), expected);
    }
  });

  it("keeps the place of a series that was shown, whoever came and closed meanwhile", () => {
    const { hub, registry } = small(2);
    const name = "streamhouse.bytes.sent";
    for (const topic of ["a", "b"]) registry.counter(catalogue.bytesSent, { topic }).add(1);
    assert.deepEqual(read(hub), { [`${name}{topic=a}`]: 1, [`${name}{topic=b}`]: 1 });
    const other = createMetricRegistry();
    const detach = hub.attach(other);
    other.counter(catalogue.bytesSent, { topic: "c" }).add(5);
    detach();
    const { [`${name}{topic=a}`]: a, [`${name}{topic=b}`]: b, ...rest } = read(hub);
    assert.deepEqual([a, b, rest[`${name}{otel.metric.overflow=true}`]], [1, 1, 5]);
  });

  it("counts a component once that closes while its families are read, by however many readers", () => {
    const hub = new MetricHub();
    const registries = [1, 2, 3].map(() => createMetricRegistry());
    const [detachFirst, detach] = registries.map((registry) => hub.attach(registry));
    for (const registry of registries) {
      registry.counter(catalogue.bytesSent, { topic: "t" }).add(1);
      registry.histogram(catalogue.sendDuration, { topic: "t" }).record(1);
      registry.upDown(catalogue.pendingRecords, { topic: "t" }).add(1);
    }
    const totals = {
      "streamhouse.bytes.sent{topic=t}": 3,
      "streamhouse.send.duration.seconds{topic=t}": [3, 3],
    };
    // What the first counted is where the second's will be put.
    detachFirst?.();
    const reading = hub.collect();
    const begun = reading.next().value;
    assert.ok(begun);
    detach?.();
    const pending = "streamhouse.pending.records{topic=t}";
    // One that begins meanwhile sees no state of what is closed, and all that it counted.
    assert.deepEqual(read(hub), { [pending]: 1, ...totals });
    const { "streamhouse.telemetry.series{}": series, ...rest } = readFamilies([begun, ...reading]);
    assert.deepEqual([rest, series], [{ [pending]: 2, ...totals }, 4]);
    assert.deepEqual(read(hub), { [pending]: 1, ...totals });
  });

  it("keeps the newest exemplar of each bucket when components are put together", () => {
    const hub = new MetricHub();
    const span = (n: number) => ({ traceId: `${n}`.repeat(32), spanId: `${n}`.repeat(16) });
    for (const n of [1, 2]) {
      const registry = createMetricRegistry();
      hub.attach(registry);
      const cell = registry.histogram(catalogue.sendDuration, { topic: "t" });
      cell.recordIn(0.0001, { ...span(n), traceFlags: 1 });
      if (n === 1) cell.recordIn(100, { ...span(n), traceFlags: 1 });
      cell.recordIn(3, { ...span(n), traceFlags: 0 });
    }
    const family = [...hub.collect()].find((it) => it.descriptor === catalogue.sendDuration);
    const cell = family?.series.values().next().value?.cell;
    assert.ok(cell !== undefined && "exemplars" in cell);
    const kept = (cell.exemplars ?? []).filter((one) => one !== undefined);
    assert.deepEqual(
      kept.map(({ value, traceId }) => [value, traceId]),
      [
        [0.0001, span(2).traceId],
        [100, span(1).traceId],
      ],
    );
    assert.equal(cell.count, 5);
  });

  it("shows only the families that it was made for", () => {
    const hub = new MetricHub({ families: ["semconv"] });
    const registry = createMetricRegistry();
    hub.attach(registry);
    registry.counter(catalogue.bytesSent, { topic: "t" }).add(1);
    registry.counter(catalogue.sentMessages).add(1);
    assert.deepEqual(readFamilies(hub.collect()), { "messaging.client.sent.messages{}": 1 });
  });
});
