import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  AggregationTemporality,
  type DataPoint,
  type Histogram,
  type MetricData,
  type MetricProducer,
} from "@opentelemetry/sdk-metrics";
import fc from "fast-check";
import { type Clock, systemClock } from "../../../src/core/clock.ts";
import type { InstrumentDescriptor } from "../../../src/telemetry/catalogue.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { MetricHub } from "../../../src/telemetry/hub.ts";
import {
  createMetricProducer,
  type PointWithExemplars,
} from "../../../src/telemetry/metric-producer.ts";
import { createMetricRegistry } from "../../../src/telemetry/registry.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";

const { DELTA, CUMULATIVE } = AggregationTemporality;
const sampled = { traceId: "a".repeat(32), spanId: "b".repeat(16), traceFlags: 1 };

function setup() {
  const clock = new ManualClock();
  const registry = createMetricRegistry({ clock });
  const hub = new MetricHub();
  hub.attach(registry);
  const reader = (temporality: AggregationTemporality, exemplars = true) =>
    createMetricProducer(hub, { temporality: () => temporality, exemplars, clock });
  return { clock, registry, hub, reader };
}

/** The points of one instrument at a collection. */
async function pointsOf(
  producer: MetricProducer,
  { name }: InstrumentDescriptor,
): Promise<readonly DataPoint<unknown>[]> {
  const { resourceMetrics } = await producer.collect();
  const metrics: MetricData[] = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
  return metrics.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? [];
}

async function valuesOf(
  producer: MetricProducer,
  descriptor: InstrumentDescriptor,
): Promise<unknown[]> {
  return (await pointsOf(producer, descriptor)).map(({ value }) => value);
}

const ms = ([seconds, nanos]: readonly number[]): number =>
  (seconds ?? 0) * 1_000 + (nanos ?? 0) / 1e6;

describe("a metric producer", () => {
  it("answers each reader its own differences, whatever another has read", async () => {
    const { registry, reader } = setup();
    const [often, seldom, totals] = [reader(DELTA), reader(DELTA), reader(CUMULATIVE)];
    const cell = registry.counter(catalogue.bytesSent, { topic: "t" });
    const read: unknown[][] = [];
    for (const added of [5, 7, 0]) {
      cell.add(added);
      read.push(await valuesOf(often, catalogue.bytesSent));
    }
    assert.deepEqual(read, [[5], [7], [0]]);
    assert.deepEqual(await valuesOf(seldom, catalogue.bytesSent), [12]);
    assert.deepEqual(await valuesOf(totals, catalogue.bytesSent), [12]);
    cell.add(1);
    assert.deepEqual(await valuesOf(seldom, catalogue.bytesSent), [1]);
  });

  it("tells of histograms what was added to each bucket, to the count and to the sum", async () => {
    const { registry, reader } = setup();
    const delta = reader(DELTA);
    const cell = registry.histogram(catalogue.batchSizeRecords, { topic: "t" });
    for (const sample of [1, 2, 20_000]) cell.record(sample);
    await valuesOf(delta, catalogue.batchSizeRecords);
    for (const sample of [2, 2]) cell.record(sample);
    const [value] = (await valuesOf(delta, catalogue.batchSizeRecords)) as [Histogram];
    assert.deepEqual([value.count, value.sum], [2, 4]);
    assert.deepEqual(
      value.buckets.counts.map((n, i) => [value.buckets.boundaries[i], n]).filter(([, n]) => n),
      [[2, 2]],
    );
  });

  it("begins a difference where the last collection ended, a total where its series began", async () => {
    const { clock, registry, reader } = setup();
    const [delta, totals] = [reader(DELTA), reader(CUMULATIVE)];
    const startedAt = clock.now();
    registry.counter(catalogue.bytesSent, { topic: "t" });
    clock.advance(1_000);
    const [first] = await pointsOf(delta, catalogue.bytesSent);
    clock.advance(2_000);
    const [second] = await pointsOf(delta, catalogue.bytesSent);
    const [total] = await pointsOf(totals, catalogue.bytesSent);
    const span = (point: DataPoint<unknown> | undefined) => [
      ms(point?.startTime ?? []) - startedAt,
      ms(point?.endTime ?? []) - startedAt,
    ];
    assert.deepEqual(
      [span(first), span(second), span(total)],
      [
        [0, 1_000],
        [1_000, 3_000],
        [0, 3_000],
      ],
    );
  });

  it("keeps gauges and up-down counters as they are", async () => {
    const { registry, reader } = setup();
    const delta = reader(DELTA);
    registry.gauge(catalogue.lagAge).set(4);
    for (let i = 0; i < 2; i++) assert.deepEqual(await valuesOf(delta, catalogue.lagAge), [4]);
  });

  it("tells up-down counters as they are, never as differences: a part that closes takes its own away", async () => {
    const { clock, registry, hub, reader } = setup();
    const delta = reader(DELTA);
    registry.upDown(catalogue.pendingRecords, { topic: "t" }).add(5);
    clock.advance(1);
    const other = createMetricRegistry({ clock });
    const detach = hub.attach(other);
    other.upDown(catalogue.pendingRecords, { topic: "t" }).add(10);
    assert.deepEqual(await valuesOf(delta, catalogue.pendingRecords), [15]);
    registry.upDown(catalogue.pendingRecords, { topic: "t" }).add(-1);
    detach();
    assert.deepEqual(await valuesOf(delta, catalogue.pendingRecords), [4]);
    const { resourceMetrics } = await delta.collect();
    const metrics = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
    const pending = metrics.find(({ descriptor }) => descriptor.name.endsWith("pending.records"));
    assert.equal(pending?.aggregationTemporality, CUMULATIVE);
  });

  it("forgets a released series, and counts one that came back from nothing", async () => {
    const { clock, hub, reader } = setup();
    const registry = createMetricRegistry({ partitionLabels: true, clock });
    hub.attach(registry);
    const delta = reader(DELTA);
    const attributes = { topic: "t", partition: 0 };
    registry.counter(catalogue.recordsSent, attributes).add(10);
    assert.deepEqual(await valuesOf(delta, catalogue.recordsSent), [10]);
    registry.release(catalogue.recordsSent, attributes);
    assert.deepEqual(await valuesOf(delta, catalogue.recordsSent), []);
    registry.counter(catalogue.recordsSent, attributes).add(30);
    assert.deepEqual(await valuesOf(delta, catalogue.recordsSent), [30]);
    // Gone and back between two collections: the total is larger than before, and still not a continuation.
    registry.release(catalogue.recordsSent, attributes);
    clock.advance(5);
    registry.counter(catalogue.recordsSent, attributes).add(40);
    assert.deepEqual(await valuesOf(delta, catalogue.recordsSent), [40]);
  });

  it("adds up to the totals, for any sequence of counting, closing and collecting", async () => {
    const step = fc.oneof(
      fc.record({ add: fc.integer({ min: 0, max: 9 }), to: fc.integer({ min: 0, max: 2 }) }),
      fc.constantFrom("collect" as const, "reopen" as const),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const { hub, reader } = setup();
        const delta = reader(DELTA);
        const expected = [0, 0, 0];
        const told = [0, 0, 0];
        const collect = async () => {
          for (const { attributes, value } of await pointsOf(delta, catalogue.bytesSent)) {
            const at = Number(attributes.topic);
            told[at] = (told[at] ?? 0) + Number(value);
          }
        };
        let registry = createMetricRegistry();
        let detach = hub.attach(registry);
        for (const one of steps) {
          if (one === "collect") await collect();
          else if (one === "reopen") {
            detach();
            registry = createMetricRegistry();
            detach = hub.attach(registry);
          } else {
            registry.counter(catalogue.bytesSent, { topic: one.to }).add(one.add);
            expected[one.to] = (expected[one.to] ?? 0) + one.add;
          }
        }
        await collect();
        assert.deepEqual(told, expected);
      }),
      { numRuns: 200 },
    );
  });
});

/** Time flies: whoever asks has to rest. */
function hastyClock(): Clock {
  let time = 0;
  return {
    ...systemClock,
    monotonic() {
      time += 10;
      return time;
    },
  };
}

describe("a metric producer that rests while it collects", () => {
  it("reads all that is a state at one moment, and each family of totals", async () => {
    const hub = new MetricHub();
    const registry = createMetricRegistry();
    hub.attach(registry);
    const labels = { topic: "t", partition: 0, group_id: "g" };
    // Totals come first here, so that reading in this order would rest before the states.
    const totals = [catalogue.bytesSent, catalogue.recordsSent, catalogue.recordsWritten];
    const counters = totals.map((family) => registry.counter(family, { topic: "t" }));
    const states = [
      registry.gauge(catalogue.consumerLagRecords, labels),
      registry.gauge(catalogue.consumerLagSeconds, labels),
      registry.upDown(catalogue.pendingRecords, { topic: "t" }),
    ];
    let collecting = true;
    const work = () => {
      for (const cell of [...counters, ...states]) cell.value += 1;
      if (collecting) setImmediate(work);
    };
    work();
    const producer = createMetricProducer(hub, { clock: hastyClock() });
    const { resourceMetrics } = await producer.collect();
    collecting = false;
    const read = new Map(
      resourceMetrics.scopeMetrics.flatMap(({ metrics }) =>
        metrics.map(({ descriptor, dataPoints }) => [descriptor.name, dataPoints[0]?.value]),
      ),
    );
    const stateNames = ["streamhouse.consumer.lag.records", "streamhouse.consumer.lag.seconds"];
    const values = [...stateNames, "streamhouse.pending.records"].map((name) => read.get(name));
    assert.equal(new Set(values).size, 1, `${values}`);
    // Proof that it did rest: work went on between the families of totals.
    const counted = totals.map(({ name }) => read.get(name));
    assert.ok(new Set(counted).size > 1, `${counted}`);
  });

  it("tells each difference once, however many collections are asked for at a time", async () => {
    const hub = new MetricHub();
    const registry = createMetricRegistry();
    hub.attach(registry);
    for (const family of [catalogue.recordsSent, catalogue.bytesSent]) {
      registry.counter(family, { topic: "t" }).add(7);
    }
    const producer = createMetricProducer(hub, { temporality: () => DELTA, clock: hastyClock() });
    const told = await Promise.all(
      [1, 2, 3].map(async () => {
        const { resourceMetrics } = await producer.collect();
        const metrics = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
        const sent = metrics.filter(({ descriptor }) => descriptor.name.endsWith(".sent"));
        return sent.map(({ dataPoints }) => dataPoints[0]?.value);
      }),
    );
    assert.deepEqual(told, [
      [7, 7],
      [0, 0],
      [0, 0],
    ]);
  });
});

describe("exemplars", () => {
  const exemplars = async (producer: MetricProducer) => {
    const points = await pointsOf(producer, catalogue.sendDuration);
    return (points[0] as PointWithExemplars | undefined)?.exemplars;
  };

  it("come with the points of a histogram, the newest of each bucket, and only of sampled spans", async () => {
    const { registry, reader } = setup();
    const cell = registry.histogram(catalogue.sendDuration, { topic: "t" });
    cell.recordIn(0.3, { ...sampled, traceFlags: 0 });
    cell.recordIn(0.3, undefined);
    assert.equal(await exemplars(reader(CUMULATIVE)), undefined);
    cell.recordIn(0.3, sampled);
    cell.recordIn(0.31, { ...sampled, traceId: "c".repeat(32) });
    cell.recordIn(60, sampled);
    const found = await exemplars(reader(CUMULATIVE));
    assert.deepEqual(
      found?.map(({ value, traceId, spanId }) => [value, traceId, spanId]),
      [
        [0.31, "c".repeat(32), sampled.spanId],
        [60, sampled.traceId, sampled.spanId],
      ],
    );
    assert.ok(found?.every(({ timestampMs }) => timestampMs > 1.7e12));
  });

  it("are left out where the environment says always_off", async () => {
    const { registry, reader } = setup();
    registry.histogram(catalogue.sendDuration, { topic: "t" }).recordIn(0.3, sampled);
    assert.equal(await exemplars(reader(CUMULATIVE, false)), undefined);
  });
});
