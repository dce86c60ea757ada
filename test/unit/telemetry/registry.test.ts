import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { createMetricRegistry, seriesKey } from "../../../src/telemetry/registry.ts";
import { createVoidRegistry } from "../../../src/telemetry/void-registry.ts";
import { readFamilies } from "./read-families.ts";

describe("a metric registry", () => {
  it("answers the same cell for the same attributes in any order", () => {
    const registry = createMetricRegistry();
    const a = registry.counter(catalogue.sendErrors, { topic: "t", "error.type": "X" });
    const b = registry.counter(catalogue.sendErrors, { "error.type": "X", topic: "t" });
    const other = registry.counter(catalogue.sendErrors, { topic: "u", "error.type": "X" });
    assert.equal(a, b);
    assert.notEqual(a, other);
  });

  it("drops attributes that the catalogue does not name", () => {
    const registry = createMetricRegistry();
    registry.counter(catalogue.bytesSent, { topic: "t", password: "p" }).add(1);
    assert.deepEqual(readFamilies(registry.collect()), { "streamhouse.bytes.sent{topic=t}": 1 });
  });

  it("keeps partition on counters only when asked, and on gauges always", () => {
    const attributes = { topic: "t", partition: 3 };
    for (const partitionLabels of [false, true]) {
      const registry = createMetricRegistry({ partitionLabels });
      registry.counter(catalogue.recordsSent, attributes).add(1);
      registry.gauge(catalogue.highWatermark, attributes).set(9);
      assert.deepEqual(readFamilies(registry.collect()), {
        [`streamhouse.records.sent{topic=t${partitionLabels ? ",partition=3" : ""}}`]: 1,
        "streamhouse.high_watermark{topic=t,partition=3}": 9,
      });
    }
  });

  it("forgets a released series, and begins anew if it comes back", () => {
    const registry = createMetricRegistry();
    const attributes = { topic: "t", partition: 0, group_id: "g" };
    registry.gauge(catalogue.consumerLagRecords, attributes).set(5);
    registry.release(catalogue.consumerLagRecords, attributes);
    assert.deepEqual(readFamilies(registry.collect()), {});
    assert.equal(registry.gauge(catalogue.consumerLagRecords, attributes).value, 0);
  });

  it("does not let one partition take away a series that all share", () => {
    for (const partitionLabels of [false, true]) {
      const registry = createMetricRegistry({ partitionLabels });
      registry.counter(catalogue.bytesSent, { topic: "t" }).add(1);
      registry.gauge(catalogue.activePartitions, { topic: "t" }).set(2);
      for (const descriptor of [catalogue.bytesSent, catalogue.activePartitions]) {
        registry.release(descriptor, { topic: "t", partition: 0 });
      }
      assert.deepEqual(readFamilies(registry.collect()), {
        "streamhouse.bytes.sent{topic=t}": 1,
        "streamhouse.active.partitions{topic=t}": 2,
      });
    }
  });

  it("folds counters and histograms past the limit into one overflow series, and says so", () => {
    const registry = createMetricRegistry({ seriesMax: 2 });
    for (const topic of ["a", "b", "c", "d", "a"]) {
      registry.counter(catalogue.bytesSent, { topic }).add(1);
      registry.histogram(catalogue.sendDuration, { topic }).record(2);
    }
    assert.deepEqual(readFamilies(registry.collect()), {
      "streamhouse.bytes.sent{topic=a}": 2,
      "streamhouse.bytes.sent{topic=b}": 1,
      "streamhouse.bytes.sent{otel.metric.overflow=true}": 2,
      "streamhouse.send.duration.seconds{topic=a}": [2, 4],
      "streamhouse.send.duration.seconds{topic=b}": [1, 2],
      "streamhouse.send.duration.seconds{otel.metric.overflow=true}": [2, 4],
      "streamhouse.telemetry.series.overflow{family=streamhouse.bytes.sent}": 2,
      "streamhouse.telemetry.series.overflow{family=streamhouse.send.duration.seconds}": 2,
    });
  });

  it("runs callbacks before a collection, and counts one that throws without losing the rest", () => {
    const registry = createMetricRegistry();
    const end = registry.onCollect(() => {
      throw new Error("the owner's mistake");
    });
    registry.onCollect(() => registry.gauge(catalogue.bufferBytes).set(3));
    const read = readFamilies(registry.collect());
    assert.equal(read["streamhouse.agent.buffer.bytes{}"], 3);
    assert.equal(read["streamhouse.telemetry.collect.errors{}"], 1);
    end();
    registry.collect();
    assert.equal(readFamilies(registry.collect())["streamhouse.telemetry.collect.errors{}"], 1);
  });

  it("tells a watcher of series there are and series to come", () => {
    const registry = createMetricRegistry();
    const seen: unknown[] = [];
    registry.histogram(catalogue.sendDuration, { topic: "a" });
    const end = registry.onSeries((_, series) => seen.push(series.attributes.topic));
    registry.histogram(catalogue.sendDuration, { topic: "b" });
    end();
    registry.histogram(catalogue.sendDuration, { topic: "c" });
    assert.deepEqual(seen, ["a", "b"]);
  });

  it("never throws, whatever is asked of it", () => {
    const registry = createMetricRegistry();
    registry.counter(catalogue.bytesSent, { topic: "t" });
    assert.doesNotThrow(() => registry.gauge(catalogue.bytesSent, { topic: "t" }).set(1));
    assert.doesNotThrow(() => registry.histogram(catalogue.bytesSent, { topic: "t" }).record(1));
    assert.doesNotThrow(() => registry.release(catalogue.flushBytes, { nonsense: 1 }));
  });

  it("tells any two series apart, whatever their values hold", () => {
    const value = fc.oneof(fc.string(), fc.constantFrom("1:a", "a;", "-;", "", "2:"));
    const set = fc.record({ topic: value, group_id: value }, { requiredKeys: [] });
    fc.assert(
      fc.property(set, set, (a, b) => {
        const same = a.topic === b.topic && a.group_id === b.group_id;
        const d = catalogue.bytesConsumed;
        assert.equal(seriesKey(d, a) === seriesKey(d, b), same);
      }),
    );
  });
});

describe("a void registry", () => {
  it("takes any number of series without remembering one", () => {
    const registry = createVoidRegistry();
    const first = registry.counter(catalogue.bytesSent, { topic: "0" });
    assert.equal(registry.counter(catalogue.bytesSent, { topic: "1" }), first);
    first.add(1);
    assert.deepEqual([...registry.collect()], []);
  });
});
