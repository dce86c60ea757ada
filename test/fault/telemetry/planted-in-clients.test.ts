/** Counting bugs planted into running producers and consumers: each is caught by the named law within one collection. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Consumer } from "../../../src/consumer/consumer.ts";
import { BATCH_HEADER_BYTES } from "../../../src/format/batch-header.ts";
import type { Producer } from "../../../src/producer/producer.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import type { MetricRegistry } from "../../../src/telemetry/cells.ts";
import { createTopic, eventually } from "../../unit/agent/bench-agent.ts";
import { type MeasuredHouse, openMeasuredHouse } from "./measured-house.ts";
import { assertCaught, assertSound, distort, distortGauge, distortSamples } from "./sabotage.ts";

const topic = "orders";
const group = "billing";

interface ProducerRoom extends MeasuredHouse {
  readonly producer: Producer;
  readonly metrics: MetricRegistry;
}

interface ConsumerRoom extends MeasuredHouse {
  readonly consumer: Consumer;
  readonly metrics: MetricRegistry;
}

interface Planted<Room> {
  readonly bug: string;
  readonly law: string;
  plant(room: Room): void;
  work(room: Room): Promise<void>;
}

async function openProducerRoom(): Promise<ProducerRoom> {
  const house = await openMeasuredHouse();
  await createTopic(house, topic);
  const producer = house.house.producer({ deliveryTimeoutMs: 2_000, requestTimeoutMs: 1_000 });
  const metrics = house.registries.at(-1) as MetricRegistry;
  await house.clock.until(producer.send({ topic, value: "before" }));
  assertSound(metrics, "before the bug");
  return { ...house, producer, metrics };
}

async function openConsumerRoom(): Promise<ConsumerRoom> {
  const house = await openMeasuredHouse();
  await createTopic(house, topic);
  const records = Array.from({ length: 10 }, (_, i) => ({ value: `${i}` }));
  await house.clock.until(house.house.producer().sendBatch({ topic, records }));
  const consumer = house.house.consumer({ group, topics: [topic], autoCommit: false });
  const metrics = house.registries.at(-1) as MetricRegistry;
  assertSound(metrics, "before the bug");
  return { ...house, consumer, metrics };
}

async function sendOne({ producer, clock }: ProducerRoom): Promise<void> {
  await clock.until(producer.send({ topic, value: "x" }));
}

/** The agent does not answer its first write before the request's time is over: the batch is sent again. */
async function sendWithRetry({ producer, clock, sink }: ProducerRoom): Promise<void> {
  sink.fates.push("hold");
  const sent = producer.send({ topic, value: "x" });
  await eventually(() => sink.held > 0, "the write is held").catch(() => {});
  await clock.run(1_200);
  sink.release();
  await clock.until(sent);
}

/** The record fails for good: its delivery deadline ends. */
async function sendInVain({ producer, clock, sink }: ProducerRoom): Promise<void> {
  sink.fates.push("hold");
  await clock.until(assert.rejects(producer.send({ topic, value: "x" })));
}

/** Taken, and not answered when the caller looks. */
async function sendAndHold({ producer, clock, sink }: ProducerRoom): Promise<void> {
  sink.fates.push("hold");
  producer.send({ topic, value: "x" }).catch(() => {});
  await clock.run(50);
  assert.equal(sink.held, 1);
}

const inProducer: readonly Planted<ProducerRoom>[] = [
  {
    bug: "records are counted when send() is called, not when they are acknowledged",
    law: "records_sent",
    plant({ metrics, producer }) {
      const cell = metrics.counter(catalogue.recordsSent, { topic });
      const add = cell.add.bind(cell);
      distort(cell, () => {});
      const send = producer.send.bind(producer);
      producer.send = (...args) => {
        add(1);
        return send(...args);
      };
    },
    work: sendAndHold,
  },
  {
    bug: "an acknowledged record is counted for each attempt",
    law: "records_sent",
    plant({ metrics }) {
      const retries = metrics.counter(catalogue.retries, { "error.type": "DEADLINE_EXCEEDED" });
      const sent = metrics.counter(catalogue.recordsSent, { topic });
      distort(retries, (n, add) => {
        add(n);
        sent.add(n);
      });
    },
    work: sendWithRetry,
  },
  {
    bug: "a retry counts as an error",
    law: "records_sent",
    plant({ metrics }) {
      const labels = { "error.type": "DEADLINE_EXCEEDED" };
      const errors = metrics.counter(catalogue.sendErrors, { ...labels, topic });
      distort(metrics.counter(catalogue.retries, labels), (n, add) => {
        add(n);
        errors.add(n);
      });
    },
    work: sendWithRetry,
  },
  {
    bug: "records that fail are not counted",
    law: "records_sent",
    plant({ metrics }) {
      const labels = { topic, "error.type": "DEADLINE_EXCEEDED" };
      distort(metrics.counter(catalogue.sendErrors, labels), () => {});
    },
    work: sendInVain,
  },
  {
    bug: "records that fail stay pending",
    law: "pending_records",
    plant({ metrics }) {
      const labels = { topic, "error.type": "DEADLINE_EXCEEDED" };
      const pending = metrics.upDown(catalogue.pendingRecords, { topic });
      distort(metrics.counter(catalogue.sendErrors, labels), (n, add) => {
        add(n);
        pending.add(n);
      });
    },
    work: sendInVain,
  },
  {
    bug: "what is pending is counted in batches",
    law: "pending_records",
    plant: ({ metrics }) =>
      distort(metrics.upDown(catalogue.pendingRecords, { topic }), (n, add) => add(Math.sign(n))),
    async work({ producer, clock, sink }) {
      sink.fates.push("hold");
      const records = Array.from({ length: 5 }, (_, i) => ({ value: `${i}` }));
      producer.sendBatch({ topic, records }).catch(() => {});
      await clock.run(50);
    },
  },
  {
    bug: "bytes are counted without the batches' headers",
    law: "bytes_sent",
    plant: ({ metrics }) =>
      distort(metrics.counter(catalogue.bytesSent, { topic }), (n, add) =>
        add(n - BATCH_HEADER_BYTES),
      ),
    work: sendOne,
  },
  {
    bug: "the size of a batch is taken for each attempt",
    law: "batches_sent",
    plant({ metrics }) {
      const size = metrics.histogram(catalogue.batchSizeRecords, { topic });
      const labels = { "error.type": "DEADLINE_EXCEEDED" };
      distort(metrics.counter(catalogue.retries, labels), (n, add) => {
        add(n);
        size.record(1);
      });
    },
    work: sendWithRetry,
  },
  {
    bug: "a batch that fails has no duration",
    law: "batches_sent",
    plant: ({ metrics }) =>
      distortSamples(metrics.histogram(catalogue.batchFlushDuration, { topic }), () => {}),
    work: sendInVain,
  },
];

const consumed = ({ metrics }: ConsumerRoom) =>
  metrics.counter(catalogue.recordsConsumed, { topic, group_id: group, partition: 0 });

/** One record in a loop that is left: the record is in hand, and will be given out again. */
async function readOne({ consumer, clock }: ConsumerRoom): Promise<void> {
  const read = async () => {
    for await (const record of consumer) {
      assert.equal(record.text(), "0");
      break;
    }
  };
  await clock.until(read());
}

async function poll({ consumer, clock }: ConsumerRoom): Promise<void> {
  assert.equal((await clock.until(consumer.poll(1_000))).length, 10);
}

async function pollAndCommit(room: ConsumerRoom): Promise<void> {
  await poll(room);
  await room.clock.until(room.consumer.commit());
}

const committedOffset = { topic, partition: 0, group_id: group };

const inConsumer: readonly Planted<ConsumerRoom>[] = [
  {
    bug: "a batch is counted whole when its first record is handed out",
    law: "records_consumed",
    plant: (room) => distort(consumed(room), (_, add) => add(10)),
    work: readOne,
  },
  {
    bug: "a record that is given out again is counted again",
    law: "records_consumed",
    plant(room) {
      const iterate = room.consumer[Symbol.asyncIterator].bind(room.consumer);
      let loops = 0;
      room.consumer[Symbol.asyncIterator] = () => {
        if (++loops > 1) consumed(room).add(1);
        return iterate();
      };
    },
    async work(room) {
      await readOne(room);
      await readOne(room);
    },
  },
  {
    bug: "polls are counted for records",
    law: "records_consumed",
    plant: (room) => distort(consumed(room), (_, add) => add(1)),
    work: poll,
  },
  {
    bug: "an offset is exported as committed before the agent has stored it",
    law: "committed",
    plant({ metrics, consumer }) {
      const commit = consumer.commit.bind(consumer);
      consumer.commit = (...args) => {
        metrics.gauge(catalogue.lastCommittedOffset, committedOffset).set(10);
        return commit(...args);
      };
    },
    async work(room) {
      await poll(room);
      await room.clock.until(room.consumer.commit([{ topic, partition: 0, offset: 1 }]));
      room.faults.next.commitOffsets = ["hold"];
      room.consumer.commit([{ topic, partition: 0, offset: 5 }]).catch(() => {});
      await room.clock.run(10);
    },
  },
  {
    bug: "the committed offset is that of the last record, not of the next",
    law: "committed",
    plant: ({ metrics }) =>
      distortGauge(
        metrics.gauge(catalogue.lastCommittedOffset, committedOffset),
        (offset) => offset - 1,
      ),
    work: pollAndCommit,
  },
];

function describeAll<Room extends ConsumerRoom | ProducerRoom>(
  what: string,
  planted: readonly Planted<Room>[],
  open: () => Promise<Room>,
): void {
  describe(`a counting bug planted into a ${what} is caught within one collection`, () => {
    for (const { bug, law, plant, work } of planted) {
      it(`${law}: ${bug}`, async () => {
        const sound = await open();
        await work(sound);
        assertSound(sound.metrics, "without the bug");
        const room = await open();
        plant(room);
        await work(room);
        assertCaught(room.metrics, law);
      });
    }
  });
}

describeAll("producer", inProducer, openProducerRoom);
describeAll("consumer", inConsumer, openConsumerRoom);
