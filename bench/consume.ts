/**
 * Consuming over gRPC: a new group reads a topic from its start to its end, batch by batch or
 * record by record.
 */
import type { Consumer } from "../src/consumer/consumer.ts";
import type { House } from "../src/house/house.ts";
import type { Contender } from "./contender.ts";
import type { SharedHouse } from "./houses.ts";
import { SEND_BATCH_RECORDS, sendChunks } from "./produce.ts";
import type { BenchSettings } from "./settings.ts";
import { secondsOf } from "./stopwatch.ts";
import { recordChunks, type Workload } from "./workload.ts";

export interface ConsumeOptions {
  readonly name: string;
  readonly house: SharedHouse;
  readonly limits: readonly string[];
  readonly via: "batches" | "records";
  readonly note: string;
}

export function consumeContender(
  settings: BenchSettings,
  workload: Workload,
  options: ConsumeOptions,
): Contender {
  const { name, via } = options;
  const count = settings.recordsPerRound;
  let house: House | undefined;
  let round = 0;
  return {
    name,
    unit: "records/s",
    limits: options.limits,
    note: options.note,
    async prepare() {
      house = await options.house.enter();
      await fillTopic(house, name, settings, workload, count);
    },
    async round() {
      if (house === undefined) throw new Error("round() before prepare()");
      const consumer = house.consumer({ group: `${name}-${round++}`, topics: [name] });
      const read = via === "batches" ? readBatches : readRecords;
      try {
        const seconds = await secondsOf(() => read(consumer, count));
        const bytes = count * workload.encodedBytes;
        return { value: count / seconds, bytesPerSecond: bytes / seconds };
      } finally {
        await consumer.close();
      }
    },
    close: () => options.house.leave(),
  };
}

/** Makes a topic with `count` records in it. */
export async function fillTopic(
  house: House,
  topic: string,
  settings: BenchSettings,
  workload: Workload,
  count: number,
): Promise<void> {
  await house.admin.createTopic(topic, { partitions: settings.partitions });
  const producer = house.producer();
  try {
    for (let left = count; left > 0; ) {
      const part = Math.min(left, settings.recordsPerRound);
      await sendChunks(producer, topic, recordChunks(workload, part, SEND_BATCH_RECORDS));
      left -= part;
    }
  } finally {
    await producer.close();
  }
}

/** Looks at every record's value; calls `each` now and then with how many were read. */
export async function readBatches(
  consumer: Consumer,
  count: number,
  each?: (read: number) => void,
): Promise<void> {
  let read = 0;
  let bytes = 0;
  for await (const batch of consumer.batches()) {
    for (const record of batch) {
      read++;
      bytes += record.value?.length ?? 0;
    }
    each?.(read);
    if (read >= count) break;
  }
  checkRead(read, bytes, count);
}

async function readRecords(consumer: Consumer, count: number): Promise<void> {
  let read = 0;
  let bytes = 0;
  for await (const record of consumer) {
    bytes += record.value?.length ?? 0;
    if (++read === count) break;
  }
  checkRead(read, bytes, count);
}

function checkRead(read: number, bytes: number, count: number): void {
  if (read !== count) throw new Error(`read ${read} of ${count} records`);
  if (bytes === 0) throw new Error("the records were empty");
}
