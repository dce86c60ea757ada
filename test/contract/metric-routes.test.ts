/**
 * The two routes by which cells are reported, on one recorded workload: the bridge to the public metrics API with a plain SDK, and
 * the metric producer of the bootstrap. Every family is compared, point by point, while the work goes on and at its end.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  AggregationTemporality,
  InstrumentType,
  MeterProvider,
  type MetricReader,
} from "@opentelemetry/sdk-metrics";
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import { serve } from "../../src/serve/serve.ts";
import { catalogue } from "../../src/telemetry/catalogue.ts";
import { MetricHub } from "../../src/telemetry/hub.ts";
import { attachmentOf } from "../../src/telemetry/meter-bridge.ts";
import { createMetricProducer } from "../../src/telemetry/metric-producer.ts";
import { createTelemetry } from "../../src/telemetry/telemetry.ts";
import { eventually } from "../integration/child.ts";
import { temporaryFolder } from "../integration/ways.ts";
import { MemoryReader, type ReadMetric } from "../unit/telemetry/memory-reader.ts";
import { Recorder, replay, useTheRest } from "./recorded-workload.ts";

const topic = "orders";

/** Real work over gRPC: producing, refusals, a group of one and then two, a closed producer. */
async function work(recorder: Recorder): Promise<void> {
  const folder = await temporaryFolder();
  const telemetry = { meterProvider: recorder.meterProvider, partitionLabels: true };
  const served = await serve({
    ...{ data: folder.path, grpc: "127.0.0.1:0", http: false, telemetry },
    agent: { leaseTtlMs: 1_000, leaseRenewMs: 100 },
  });
  const house = await connect({ agents: [served.grpc], telemetry });
  try {
    await produceAndConsume(house, recorder);
  } finally {
    await house.close();
    await served.stop();
    await folder.remove();
  }
  recorder.look("after everything was closed");
}

async function produceAndConsume(house: House, recorder: Recorder): Promise<void> {
  await house.admin.createTopic(topic, { partitions: 4 });
  const producer = house.producer();
  const sends = Array.from({ length: 500 }, (_, i) =>
    producer.send({ topic, key: `${i}`, value: "x".repeat(50) }),
  );
  await Promise.all(sends);
  await assert.rejects(producer.send({ topic, value: new Uint8Array(1_100_000) }));
  await assert.rejects(producer.send({ topic: "nowhere", value: "x" }));
  recorder.look("after producing");
  const settings = { lagIntervalMs: 50, maxPollRecords: 100, autoCommit: false };
  const options = { group: "billing", topics: [topic], ...settings };
  const first = house.consumer(options);
  for (let read = 0; read < 300; ) read += (await first.poll(5_000)).length;
  await first.commit();
  recorder.look("after consuming");
  // The group's partitions go to another member: their gauges are released here and made there.
  await first.close();
  const second = house.consumer(options);
  await eventually("the second consumer to get records", async () => {
    return (await second.poll(100)).length > 0;
  });
  await producer.close();
  recorder.look("after a rebalance");
}

/** What is not the same by nature: each route counts its own series, and only the bridge can lose samples. */
const ownToARoute: ReadonlySet<string> = new Set([
  catalogue.telemetrySeries.name,
  catalogue.samplesLost.name,
]);

type Points = Readonly<Record<string, unknown>>;

/** Points that only the SDK still has: of series that are released, which it keeps for ever. A lag must then be 0. */
function checkReleased(name: string, bridge: Points, producer: Points): void {
  const lag = Object.values(catalogue).find((it) => it.name === name)?.zeroWhenReleased;
  for (const [key, value] of Object.entries(bridge)) {
    if (!(key in producer) && lag) assert.equal(value, 0, `${name}{${key}} was released`);
  }
}

function compare(
  at: string,
  bridge: Readonly<Record<string, ReadMetric>>,
  producer: Readonly<Record<string, ReadMetric>>,
): void {
  for (const [name, expected] of Object.entries(producer)) {
    if (ownToARoute.has(name)) continue;
    const found = bridge[name];
    // A difference of nothing is no point to the SDK.
    const something = Object.entries(expected.points).filter(([key, value]) => {
      const { count } = (value ?? {}) as { readonly count?: number };
      return count !== 0 || key in (found?.points ?? {});
    });
    if (something.length === 0) continue;
    assert.ok(found !== undefined, `${at}: the bridge has no ${name}`);
    const points = Object.fromEntries(something);
    const same = Object.fromEntries(something.map(([key]) => [key, found.points[key]]));
    assert.deepEqual({ ...found, points: same }, { ...expected, points }, `${at}: ${name}`);
    checkReleased(name, found.points, expected.points);
  }
  for (const [name, { points }] of Object.entries(bridge)) {
    if (!ownToARoute.has(name) && !(name in producer)) checkReleased(name, points, {});
  }
}

/** The selector of an OTLP exporter that prefers deltas. */
function preferDelta(type: InstrumentType): AggregationTemporality {
  const upDown = [InstrumentType.UP_DOWN_COUNTER, InstrumentType.OBSERVABLE_UP_DOWN_COUNTER];
  return upDown.includes(type) ? AggregationTemporality.CUMULATIVE : AggregationTemporality.DELTA;
}

describe("the bridge and the metric producer, on one recorded workload", () => {
  const recorder = new Recorder();

  before(async () => {
    await work(recorder);
    const { meterProvider } = recorder;
    const telemetry = createTelemetry({ meterProvider }, { name: "the rest" });
    useTheRest(recorder, telemetry.metrics);
    recorder.look("with every instrument");
    telemetry.close();
  });

  it("was recorded from real work", () => {
    const touched = new Set([...recorder.touched()].map(({ name }) => name));
    for (const descriptor of Object.values(catalogue)) assert.ok(touched.has(descriptor.name));
    const numbers = recorder.operations.filter(({ on }) => on === "number");
    const released = recorder.operations.filter(({ on }) => on === "release");
    assert.ok(numbers.length > 1_000, `${numbers.length}`);
    assert.ok(released.length > 0);
  });

  const temporalities = {
    totals: () => AggregationTemporality.CUMULATIVE,
    differences: preferDelta,
  };
  for (const [what, temporality] of Object.entries(temporalities)) {
    describe(`read as ${what}`, () => {
      const readers: MetricReader[] = [];
      after(() => Promise.all(readers.map((it) => it.shutdown())));

      it("come out the same, in names, units, kinds, attributes, values and buckets", async () => {
        const bridge = new MemoryReader([], temporality);
        const bridged = attachmentOf(new MeterProvider({ readers: [bridge] }));
        const hub = new MetricHub();
        const producer = new MemoryReader([createMetricProducer(hub, { temporality })]);
        new MeterProvider({ readers: [producer] });
        readers.push(bridge, producer);
        const looked: string[] = [];
        // Two registries each, because a cell is reported once; they are told the same.
        await replay(recorder.operations, [bridged, hub], async (name) => {
          compare(name, await bridge.read(), await producer.read());
          looked.push(name);
        });
        assert.equal(looked.length, 5);
      });
    });
  }
});
