/**
 * Durable producing, embedded and over gRPC: arrays with `sendBatch`, and a promise for each record
 * with `send`.
 */
import type { ProducerRecord } from "../src/core/record.ts";
import type { Producer } from "../src/producer/producer.ts";
import type { Contender } from "./contender.ts";
import type { SharedHouse } from "./houses.ts";
import type { BenchSettings } from "./settings.ts";
import { secondsOf } from "./stopwatch.ts";
import { recordChunks, type Workload } from "./workload.ts";

/** Records of one `sendBatch`: about half a batch. */
export const SEND_BATCH_RECORDS = 5_000;
/**
 * Calls of `sendBatch` that may be unanswered: more bytes than the producer's buffer, so that it is
 * never idle.
 */
const CALLS_IN_FLIGHT = 80;
/** Calls of `send` that may be unanswered. */
const SENDS_IN_FLIGHT = 20_000;

export interface ProduceOptions {
  readonly name: string;
  readonly house: SharedHouse;
  readonly limits: readonly string[];
  readonly via: "sendBatch" | "send";
  readonly note: string;
}

export function produceContender(
  settings: BenchSettings,
  workload: Workload,
  options: ProduceOptions,
): Contender {
  const { name, house, via } = options;
  const count = via === "send" ? settings.sendsPerRound : settings.recordsPerRound;
  const chunks = recordChunks(workload, count, SEND_BATCH_RECORDS);
  let producer: Producer | undefined;
  return {
    name,
    unit: "records/s",
    limits: options.limits,
    note: options.note,
    async prepare() {
      const open = await house.enter();
      await open.admin.createTopic(name, { partitions: settings.partitions });
      producer = open.producer();
    },
    async round() {
      if (producer === undefined) throw new Error("round() before prepare()");
      const send = via === "send" ? sendEach : sendChunks;
      const open = producer;
      const seconds = await secondsOf(() => send(open, name, chunks));
      return { value: count / seconds, bytesPerSecond: (count * workload.encodedBytes) / seconds };
    },
    async close() {
      await producer?.close();
      await house.leave();
    },
  };
}

type Chunks = readonly (readonly ProducerRecord[])[];

/** Resolves when every record is acknowledged as durable. */
export async function sendChunks(producer: Producer, topic: string, chunks: Chunks): Promise<void> {
  const unanswered: Promise<unknown>[] = [];
  for (const records of chunks) {
    unanswered.push(producer.sendBatch({ topic, records }));
    if (unanswered.length === CALLS_IN_FLIGHT) await unanswered.shift();
  }
  await Promise.all(unanswered);
}

/** The same with a call and a promise for each record. */
export async function sendEach(producer: Producer, topic: string, chunks: Chunks): Promise<void> {
  await inFlight(chunks.flat(), ({ value }) => producer.send({ topic, value }));
}

/** Sends one by one; so many are unanswered at most that the producer is never idle. */
export async function inFlight(
  records: readonly ProducerRecord[],
  send: (record: ProducerRecord) => Promise<unknown>,
): Promise<void> {
  let previous: Promise<unknown> = Promise.resolve();
  let current: Promise<unknown>[] = [];
  for (const record of records) {
    current.push(send(record));
    if (current.length < SENDS_IN_FLIGHT / 2) continue;
    await previous;
    previous = Promise.all(current);
    current = [];
  }
  await previous;
  await Promise.all(current);
}
