/** Apache Kafka, one broker, through `@platformatic/kafka` or `kafkajs`. Batches of the bench's chunks, acks from all replicas. */
import { Admin, Consumer, Producer } from "@platformatic/kafka";
import { Kafka, logLevel, Partitioners } from "kafkajs";
import { type KafkaServer, type KafkaSync, startKafka, whyNoKafka } from "./kafka-server.ts";
import { type Peer, type PeerSetup, windowed } from "./peer.ts";

/** Requests with a chunk of records each that may be unanswered. */
const REQUESTS = 5;

/** Records that `@platformatic/kafka` keeps ready. */
const READ_AHEAD = 16_384;

export type KafkaClientName = "platformatic" | "kafkajs";

export function kafkaSetup(client: KafkaClientName, sync: KafkaSync): PeerSetup {
  const durable =
    sync === "always"
      ? "flush.messages 1: fsynced before its answer"
      : "default flush: in the page cache at its answer, written when the system pleases";
  const pack = client === "kafkajs" ? "kafkajs" : "@platformatic/kafka";
  return {
    name: `kafka-${client}${sync === "always" ? "-sync" : ""}`,
    note: `Apache Kafka, one broker, acks all, a record is ${durable}; package ${pack}`,
    missing: whyNoKafka,
    open: async (folder) => {
      const server = await startKafka(folder, sync);
      return client === "kafkajs" ? openKafkaJs(server) : openPlatformatic(server);
    },
  };
}

async function openPlatformatic(server: KafkaServer): Promise<Peer> {
  const common = { clientId: "bench", bootstrapBrokers: [server.address] };
  const admin = new Admin(common);
  const producer = new Producer({ ...common, acks: -1 });
  const partitionsOf = new Map<string, number>();
  let turn = 0;
  let groups = 0;
  const send = (topic: string, values: readonly Uint8Array[]) => {
    const partition = turn++ % (partitionsOf.get(topic) ?? 1);
    const messages = values.map((value) => ({ topic, value: bufferOf(value), partition }));
    return producer.send({ messages });
  };
  const read = async (
    topic: string,
    mode: "earliest" | "latest",
    onValue: (value: Uint8Array) => void,
  ) => {
    const consumer = new Consumer({ ...common, groupId: `bench-${topic}-${groups++}` });
    const stream = await consumer.consume({
      topics: [topic],
      mode,
      autocommit: false,
      ...{ minBytes: 1, maxWaitTime: 100, maxBytes: 33_554_432, maxBytesPerPartition: 8_388_608 },
      highWaterMark: READ_AHEAD,
    });
    stream.on("data", ({ value }) => onValue(value));
    return () => consumer.close(true);
  };
  return {
    async createTopic(topic, partitions) {
      partitionsOf.set(topic, partitions);
      await admin.createTopics({ topics: [topic], partitions, replicas: 1 });
    },
    sendMany: (topic, chunks) => windowed(chunks, REQUESTS, (chunk) => send(topic, chunk)),
    sendOne: (topic, value) => send(topic, [value]),
    readAll: (topic, count) => readToEnd(count, (onValue) => read(topic, "earliest", onValue)),
    follow: (topic, onValue) => read(topic, "latest", onValue),
    async close() {
      await producer.close(true);
      await admin.close();
      await server.stop();
    },
  };
}

async function openKafkaJs(server: KafkaServer): Promise<Peer> {
  const kafka = new Kafka({ brokers: [server.address], logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  const producer = kafka.producer({
    createPartitioner: Partitioners.DefaultPartitioner,
    maxInFlightRequests: REQUESTS,
  });
  await Promise.all([admin.connect(), producer.connect()]);
  const partitionsOf = new Map<string, number>();
  let turn = 0;
  let groups = 0;
  const send = (topic: string, values: readonly Uint8Array[]) => {
    const partition = turn++ % (partitionsOf.get(topic) ?? 1);
    const messages = values.map((value) => ({ value: bufferOf(value), partition }));
    return producer.send({ topic, acks: -1, messages });
  };
  const read = async (
    topic: string,
    fromBeginning: boolean,
    onValue: (value: Uint8Array) => void,
  ) => {
    const consumer = kafka.consumer({
      groupId: `bench-${topic}-${groups++}`,
      maxBytesPerPartition: 8_388_608,
      maxWaitTimeInMs: 100,
    });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning });
    const joined = Promise.withResolvers<void>();
    consumer.on(consumer.events.GROUP_JOIN, () => joined.resolve());
    await consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        for (const { value } of batch.messages) onValue(value ?? new Uint8Array());
      },
    });
    await joined.promise;
    return async () => {
      await consumer.disconnect();
    };
  };
  return {
    async createTopic(topic, partitions) {
      partitionsOf.set(topic, partitions);
      await admin.createTopics({ topics: [{ topic, numPartitions: partitions }] });
    },
    sendMany: (topic, chunks) => windowed(chunks, REQUESTS, (chunk) => send(topic, chunk)),
    sendOne: (topic, value) => send(topic, [value]),
    readAll: (topic, count) => readToEnd(count, (onValue) => read(topic, true, onValue)),
    follow: (topic, onValue) => read(topic, false, onValue),
    async close() {
      await Promise.all([admin.disconnect(), producer.disconnect()]);
      await server.stop();
    },
  };
}

async function readToEnd(
  count: number,
  read: (onValue: (value: Uint8Array) => void) => Promise<() => Promise<void>>,
): Promise<number> {
  const done = Promise.withResolvers<void>();
  let seen = 0;
  let bytes = 0;
  const end = await read((value) => {
    bytes += value.length;
    if (++seen === count) done.resolve();
  });
  await done.promise;
  await end();
  return bytes;
}

function bufferOf(value: Uint8Array): Buffer {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
