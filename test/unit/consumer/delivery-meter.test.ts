import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { propagation } from "@opentelemetry/api";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import fc from "fast-check";
import { type DecodedBatch, DeliveryMeter } from "../../../src/consumer/delivery-meter.ts";
import { ConsumerInstruments, type DeliveryCells } from "../../../src/consumer/instruments.ts";
import { ConsumerRecord, type RecordHeader } from "../../../src/core/record.ts";
import { createMetricRegistry } from "../../../src/telemetry/registry.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";

const START = new ManualClock().now();

/** Records of one batch, appended when the clock began; their own timestamps as given. */
function records(
  count: number,
  timestamps: (i: number) => number = () => START,
  headers: readonly RecordHeader[] = [],
): ConsumerRecord[] {
  return Array.from(
    { length: count },
    (_, i) => new ConsumerRecord("t", 0, i, timestamps(i), START, null, null, headers),
  );
}

/** With the places where a timestamp differs from the one before. */
function decoded(batch: readonly ConsumerRecord[]): DecodedBatch {
  const runs: number[] = [];
  batch.forEach((record, i) => {
    if (record.timestamp !== batch[i - 1]?.timestamp) runs.push(i);
  });
  return { records: batch, runs };
}

function setUp(
  enabled = true,
  sendDuration: "per-send" | "per-batch" = "per-send",
): {
  clock: ManualClock;
  meter: DeliveryMeter;
  cells: DeliveryCells;
  /** Hands out records one by one, as a delivery does; `each` is called after each. */
  handOut(batch: readonly ConsumerRecord[], each?: (i: number) => void): void;
} {
  const clock = new ManualClock();
  const meter = new DeliveryMeter(clock, { enabled, sendDuration });
  const metrics = createMetricRegistry();
  const cells = new ConsumerInstruments({ metrics, partitionLabels: false }, "g").partition("t", 0);
  const handOut = (batch: readonly ConsumerRecord[], each: (i: number) => void = () => {}) => {
    let counted = 0;
    const whole = decoded(batch);
    meter.begin();
    for (let i = 0; i < batch.length; i++) {
      if (--meter.left <= 0 || i + 1 === batch.length) {
        meter.delivered(cells, whole, { from: counted, to: i + 1 }, "spread");
        counted = i + 1;
      }
      each(i);
    }
  };
  return { clock, meter, cells, handOut };
}

describe("the time of delivery", () => {
  before(() => {
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  });
  after(() => propagation.disable());

  it("has one sample for each record, however records are handed out", () => {
    const { cells, handOut, meter } = setUp();
    handOut(records(1_000));
    handOut(records(1));
    meter.begin();
    meter.delivered(cells, decoded(records(500)), { from: 0, to: 500 }, "together");
    meter.delivered(cells, decoded(records(7)), { from: 2, to: 5 }, "stalled");
    assert.equal(cells.endToEndLatency.count, 1_504);
    assert.equal(cells.recordAge.count, 1_504);
  });

  it("has one sample for what is handed over together, where that was asked for", () => {
    const { cells, clock, meter } = setUp(true, "per-batch");
    clock.advance(3_000);
    meter.begin();
    const batch = records(500, (i) => START - 1_000 + i);
    meter.delivered(cells, decoded(batch), { from: 0, to: 500 }, "together");
    const early = decoded(records(1, () => START + 9_000));
    meter.delivered(cells, early, { from: 0, to: 1 }, "together");
    assert.deepEqual([cells.endToEndLatency.count, cells.endToEndLatency.sum], [2, 6]);
    assert.deepEqual([cells.recordAge.count, cells.recordAge.sum], [2, 4]);
    assert.equal(cells.recordAgeNegative.value, 1);
  });

  it("has the age of every record, wherever a part of a batch begins and ends", () => {
    const timestamps = fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(timestamps, fc.nat(), fc.nat(), (at, a, b) => {
        const { cells, meter } = setUp();
        const batch = records(at.length, (i) => START + (at[i] ?? 0) * 1_000);
        const [from = 0, last = 0] = [a % at.length, b % at.length].sort((x, y) => x - y);
        meter.begin();
        meter.delivered(cells, decoded(batch), { from, to: last + 1 }, "together");
        const part = at.slice(from, last + 1);
        const ages = part.map((offset) => Math.max(0, -offset));
        assert.equal(cells.recordAge.count, part.length);
        assert.equal(
          cells.recordAge.sum,
          ages.reduce((sum, age) => sum + age, 0),
        );
        assert.equal(cells.recordAgeNegative.value, part.filter((offset) => offset > 0).length);
      }),
    );
  });

  it("is read seldom while records are taken fast", () => {
    const { clock, handOut } = setUp();
    let readings = 0;
    const now = clock.now.bind(clock);
    clock.now = () => {
      readings++;
      return now();
    };
    handOut(records(100_000));
    assert.ok(readings < 1_000, `${readings} readings of the clock for 100,000 records`);
  });

  it("is that of each single record when the handler is slow", () => {
    const { clock, cells, handOut } = setUp();
    const seen: number[] = [];
    const record = cells.endToEndLatency.recordIn.bind(cells.endToEndLatency);
    cells.endToEndLatency.recordIn = (v, span) => {
      seen.push(Math.round(v * 1_000));
      record(v, span);
    };
    handOut(records(5), () => clock.advance(100));
    assert.deepEqual(seen, [0, 100, 200, 300, 400]);
  });

  it("is spread over a chunk in which a fast handler became slow, and exact after it", () => {
    const { clock, cells, handOut } = setUp();
    handOut(records(2_000));
    const before = cells.endToEndLatency.sum;
    const count = 600;
    handOut(records(count), () => clock.advance(10));
    const exact = Array.from({ length: count }, (_, i) => i * 10).reduce((a, b) => a + b) / 1_000;
    const measured = cells.endToEndLatency.sum - before;
    assert.ok(
      Math.abs(measured - exact) < exact * 0.02,
      `the sum is ${measured} s, by the record it would be ${exact} s`,
    );
  });

  it("is read at each record once the handler has become slow, and seldom again when it is fast", () => {
    const { clock, handOut, meter } = setUp();
    handOut(records(2_000));
    assert.ok(meter.left > 100, `${meter.left} records to the next reading`);
    handOut(records(600), () => clock.advance(10));
    assert.equal(meter.left, 1);
    handOut(records(2_000));
    assert.ok(meter.left > 100, `${meter.left} records to the next reading`);
  });

  it("does not grow while an application is stuck on a record and somebody collects", () => {
    const { clock, cells, meter } = setUp();
    const batch = records(300);
    meter.begin();
    clock.advance(60_000);
    meter.delivered(cells, decoded(batch), { from: 0, to: 200 }, "stalled");
    assert.ok(cells.endToEndLatency.sum / 200 <= 0.001, "they were handed out a minute ago");
  });

  it("is no less than 0 when the agent's clock is ahead, and negative ages are counted", () => {
    const { cells, meter, clock } = setUp();
    const early = Array.from(
      { length: 3 },
      (_, i) =>
        new ConsumerRecord("t", 0, i, clock.now() + 5_000, clock.now() + 9_000, null, null, []),
    );
    meter.begin();
    meter.delivered(cells, decoded(early), { from: 0, to: 3 }, "together");
    assert.deepEqual([cells.endToEndLatency.count, cells.endToEndLatency.sum], [3, 0]);
    assert.deepEqual([cells.recordAge.count, cells.recordAge.sum], [3, 0]);
    assert.equal(cells.recordAgeNegative.value, 3);
  });

  it("takes each record's age from its own timestamp", () => {
    const { cells, clock, meter } = setUp();
    clock.advance(1_000);
    meter.begin();
    const ages = [0, 0, 500, 2_000];
    const batch = records(4, (i) => START - (ages[i] ?? 0));
    meter.delivered(cells, decoded(batch), { from: 0, to: 4 }, "together");
    assert.equal(cells.recordAge.sum, 1 + 1 + 1.5 + 3);
  });

  it("has an exemplar of the trace that created the record", () => {
    const { cells, meter } = setUp();
    const traceparent = new TextEncoder().encode(`00-${"a".repeat(32)}-${"b".repeat(16)}-01`);
    const batch = records(3, undefined, [["traceparent", traceparent]]);
    meter.begin();
    meter.delivered(cells, decoded(batch), { from: 0, to: 3 }, "together");
    const [exemplar] = (cells.endToEndLatency.exemplars ?? []).filter((it) => it !== undefined);
    assert.deepEqual([exemplar?.traceId, exemplar?.spanId], ["a".repeat(32), "b".repeat(16)]);
  });

  it("is not looked at with telemetry off", () => {
    const { cells, clock, handOut } = setUp(false);
    clock.now = () => assert.fail("the clock was read");
    handOut(records(1_000));
    assert.equal(cells.endToEndLatency.count, 0);
  });
});
