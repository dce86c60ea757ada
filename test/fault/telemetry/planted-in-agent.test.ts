/** Counting bugs planted into a running agent: each is caught by the named law within one collection. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BATCH_HEADER_BYTES } from "../../../src/format/batch-header.ts";
import type { MetadataStore } from "../../../src/metadata/metadata-store.ts";
import { CallMetrics } from "../../../src/rpc/call-metrics.ts";
import { Acks } from "../../../src/rpc/gen/streamhouse/v1/producer.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import type { MetricRegistry } from "../../../src/telemetry/cells.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import {
  type BenchAgent,
  batchOf,
  createTopic,
  eventually,
  failureOf,
  memoryMetadata,
  send,
  sendAndWait,
  startAgent,
} from "../../unit/agent/bench-agent.ts";
import { type Faults, withFaults } from "../faulty-metadata.ts";
import { assertCaught, assertSound, distort, distortGauge, distortSamples } from "./sabotage.ts";

interface Room extends BenchAgent {
  readonly metrics: MetricRegistry;
  readonly faults: Faults;
}

interface Planted {
  readonly bug: string;
  readonly law: string;
  plant(room: Room): void;
  work(room: Room): Promise<void>;
}

const orders = { topic: "orders" };
const written = ({ metrics }: Room) => metrics.counter(catalogue.recordsWritten, orders);

async function openRoom(): Promise<Room> {
  const clock = new ManualClock();
  const { metadata, faults } = withFaults(memoryMetadata(clock) as MetadataStore);
  const bench = await startAgent({ clock, metadata, telemetry: {} });
  const room = { ...bench, faults, metrics: bench.agent.telemetry.metrics };
  await createTopic(room, "orders", { partitions: 2 });
  await createTopic(room, "invoices");
  await sendAndWait(room, "orders", ["before"]);
  assertSound(room.metrics, "before the bug");
  return room;
}

async function sendSome(room: Room): Promise<void> {
  await sendAndWait(room, "orders", ["a", "b", "c"]);
  await sendAndWait(room, "invoices", ["d"]);
}

/** One request with a batch for each partition. */
async function sendTwoBatches(room: Room): Promise<void> {
  const batches = [0, 1].map((partition) => ({
    ...{ topic: "orders", topicId: "", partition, records: batchOf(["x", "y"]) },
  }));
  const request = { acks: Acks.ACKS_DURABLE, timeoutMs: 10_000, batches };
  await room.clock.until(room.agent.api.produce(request, {}));
}

/** The first attempt to write fails; the batch is sealed again. */
async function sendThroughFailedWrite(room: Room): Promise<void> {
  room.sink.fates.push("fail");
  await sendAndWait(room, "orders", ["a", "b"]);
}

/** Accepted and not committed when the caller looks. */
async function sendAndHold(room: Room): Promise<void> {
  room.sink.fates.push("hold");
  void send(room, "orders", ["held"]);
  await eventually(() => room.sink.held > 0, "the write is held");
}

const planted: readonly Planted[] = [
  {
    bug: "every committed record is counted twice",
    law: "records_written",
    plant: (room) => distort(written(room), (n, add) => add(2 * n)),
    work: sendSome,
  },
  {
    bug: "batches are counted for records",
    law: "records_written",
    plant: (room) => distort(written(room), (_, add) => add(1)),
    work: sendSome,
  },
  {
    bug: "records are counted under another topic",
    law: "records_written",
    plant(room) {
      const other = room.metrics.counter(catalogue.recordsWritten, { topic: "invoices" });
      const addOther = other.add.bind(other);
      distort(written(room), (n) => addOther(n));
    },
    work: sendSome,
  },
  {
    bug: "one topic is forgotten",
    law: "records_written",
    plant: (room) => distort(written(room), () => {}),
    work: sendSome,
  },
  {
    bug: "records are counted when they are accepted, not when they are committed",
    law: "records_written",
    plant(room) {
      const cell = written(room);
      const add = cell.add.bind(cell);
      distort(cell, () => {});
      const { api } = room.agent;
      const produce = api.produce.bind(api);
      api.produce = (request, call) => {
        add(request.batches.length);
        return produce(request, call);
      };
    },
    work: sendAndHold,
  },
  {
    bug: "records are counted when their flush is sealed, so an undone flush counts again",
    law: "records_written",
    plant(room) {
      const cell = written(room);
      const add = cell.add.bind(cell);
      distort(cell, () => {});
      const append = room.sink.append.bind(room.sink);
      room.sink.append = (...args) => {
        add(2);
        return append(...args);
      };
    },
    work: sendThroughFailedWrite,
  },
  {
    bug: "each attempt to commit is counted",
    law: "records_written",
    plant(room) {
      const add = written(room).add.bind(written(room));
      distort(written(room), () => {});
      const original = room.faults.calls.push.bind(room.faults.calls);
      room.faults.calls.push = (...names) => {
        if (names.includes("commitFlush")) add(2);
        return original(...names);
      };
    },
    async work(room) {
      room.faults.next.commitFlush = ["none"];
      await sendAndWait(room, "orders", ["a", "b"]);
    },
  },
  {
    bug: "a batch that a producer repeats is counted again",
    law: "records_written",
    plant(room) {
      const { api } = room.agent;
      const produce = api.produce.bind(api);
      api.produce = async (request, call) => {
        const answer = await produce(request, call);
        if (answer.results[0]?.duplicate) written(room).add(1);
        return answer;
      };
    },
    async work(room) {
      const stamp = { producerId: 1, producerEpoch: 0, baseSequence: 0 };
      const first = await sendAndWait(room, "orders", ["once"], { stamp });
      assert.equal(await sendAndWait(room, "orders", ["once"], { stamp }), first);
    },
  },
  {
    bug: "bytes are counted without the batches' headers",
    law: "bytes_written",
    plant: ({ metrics }) =>
      distort(metrics.counter(catalogue.bytesWritten, orders), (n, add) =>
        add(n - BATCH_HEADER_BYTES),
      ),
    work: sendSome,
  },
  {
    bug: "bytes of batches that failed are counted",
    law: "bytes_written",
    plant(room) {
      const { api } = room.agent;
      const produce = api.produce.bind(api);
      api.produce = (request, call) =>
        produce(request, call).catch((error: unknown) => {
          const bytes = request.batches[0]?.records.length ?? 0;
          room.metrics.counter(catalogue.bytesWritten, orders).add(bytes);
          throw error;
        });
    },
    async work(room) {
      room.sink.fates.push("full");
      const failed = failureOf(send(room, "orders", ["lost"]));
      assert.equal((await room.clock.until(failed)).code, "STORE_FULL");
    },
  },
  {
    bug: "a write that failed counts as stored",
    law: "bytes_stored",
    plant({ metrics }) {
      const put = { operation: "put", outcome: "STORE_UNAVAILABLE" };
      const ok = metrics.counter(catalogue.storeBytes, { operation: "put", outcome: "ok" });
      distort(metrics.counter(catalogue.storeBytes, put), (n) => ok.add(n));
    },
    work: sendThroughFailedWrite,
  },
  {
    bug: "stored bytes leave a chunk's own framing out",
    law: "bytes_stored",
    plant: ({ metrics }) =>
      distort(
        metrics.counter(catalogue.storeBytes, { operation: "put", outcome: "ok" }),
        (n, add) => add(n - 40),
      ),
    work: sendSome,
  },
  {
    bug: "one latency sample is taken for a whole request",
    law: "batches_written",
    plant({ clock, metrics }) {
      let at = -1;
      distortSamples(metrics.histogram(catalogue.writeLatency, orders), (v, record) => {
        if (at !== clock.monotonic()) record(v);
        at = clock.monotonic();
      });
    },
    work: sendTwoBatches,
  },
  {
    bug: "a latency sample is taken of a batch that failed",
    law: "batches_written",
    plant(room) {
      const { api } = room.agent;
      const produce = api.produce.bind(api);
      api.produce = (request, call) =>
        produce(request, call).catch((error: unknown) => {
          room.metrics.histogram(catalogue.writeLatency, orders).record(1);
          throw error;
        });
    },
    async work(room) {
      room.sink.fates.push("full");
      await room.clock.until(failureOf(send(room, "orders", ["lost"])));
    },
  },
  {
    bug: "a flush is timed twice",
    law: "flushes_committed",
    plant: ({ metrics }) =>
      distortSamples(
        metrics.histogram(catalogue.flushDuration, { outcome: "committed" }),
        (v, record) => {
          record(v);
          record(v);
        },
      ),
    work: sendSome,
  },
  {
    bug: "a flush that failed is booked as committed",
    law: "flushes_committed",
    plant({ metrics }) {
      const committed = metrics.histogram(catalogue.flushDuration, { outcome: "committed" });
      const failed = metrics.histogram(catalogue.flushDuration, { outcome: "failed" });
      distortSamples(failed, (v) => committed.record(v));
    },
    work: sendThroughFailedWrite,
  },
  {
    bug: "a flush's bytes are those of its batches, not of its chunk",
    law: "flushes_committed",
    plant: ({ metrics }) =>
      distortSamples(
        metrics.histogram(catalogue.flushBytes, { outcome: "committed" }),
        (v, record) => record(v - 40),
      ),
    work: sendSome,
  },
  {
    bug: "buffered bytes are never taken off",
    law: "buffer_bytes",
    plant({ metrics }) {
      let most = 0;
      distortGauge(metrics.gauge(catalogue.bufferBytes), (v) => {
        most = Math.max(most, v);
        return most;
      });
    },
    async work(room) {
      await sendAndHold(room);
      assertSound(room.metrics, "while the write is held");
      room.sink.release();
      await room.clock.run(1_000);
    },
  },
  {
    bug: "a partition is counted for each of its leases, renewed ones too",
    law: "active_partitions",
    plant({ metrics }) {
      let leases = 0;
      distortGauge(metrics.gauge(catalogue.activePartitions, orders), (v) => {
        leases += v;
        return leases;
      });
      metrics.gauge(catalogue.activePartitions, orders).set(2);
    },
    work: sendSome,
  },
  {
    bug: "the high watermark is only set when a lease is taken",
    law: "high_watermark",
    plant: ({ metrics }) =>
      distortGauge(
        metrics.gauge(catalogue.highWatermark, { topic: "orders", partition: 0 }),
        () => 0,
      ),
    work: sendSome,
  },
  {
    bug: "a group's lag is counted from the log start",
    law: "group_lag",
    plant: ({ metrics }) =>
      distortGauge(
        metrics.gauge(catalogue.groupLagRecords, { ...orders, partition: 0, group_id: "g" }),
        (v) => v + 1,
      ),
    async work(room) {
      const { agent, clock } = room;
      const { topic } = await clock.until(
        agent.api.describeTopic({ name: "orders", topicId: "" }, {}),
      );
      const place = { topicId: topic?.topicId ?? "", partition: 0, metadata: "" };
      const nobody = { group: "g", memberId: "", memberEpoch: 0 };
      const offsets = [{ ...place, offset: 1 }];
      await clock.until(agent.api.commitOffsets({ ...nobody, offsets, forwardOnly: false }, {}));
      await sendSome(room);
      await clock.run(10_000);
    },
  },
  {
    bug: "calls that fail have no duration",
    law: "grpc_requests",
    plant({ metrics }) {
      const labels = { method: "streamhouse.v1.AdminService/CreateTopic" };
      let calls = 0;
      distortSamples(metrics.histogram(catalogue.grpcRequestDuration, labels), (v, record) => {
        if (++calls % 2 === 1) record(v);
      });
    },
    async work({ agent, clock }) {
      const path = "/streamhouse.v1.AdminService/CreateTopic";
      const calls = new CallMetrics(agent.telemetry, clock, [path]);
      calls.called(path)(0);
      calls.called(path)(5);
    },
  },
];

describe("a counting bug planted into an agent is caught within one collection", () => {
  for (const { bug, law, plant, work } of planted) {
    it(`${law}: ${bug}`, async () => {
      const sound = await openRoom();
      await work(sound);
      assertSound(sound.metrics, "without the bug");
      const room = await openRoom();
      plant(room);
      await work(room);
      assertCaught(room.metrics, law);
    });
  }
});
