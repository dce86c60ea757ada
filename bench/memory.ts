/**
 * How much a consumer's process grows while it reads millions of records: what is still held after a
 * collection. One reading gives two figures: the heap, and the array buffers that batches lie in.
 */
import { fillTopic, readBatches } from "./consume.ts";
import type { Contender } from "./contender.ts";
import { collector } from "./garbage.ts";
import type { SharedHouse } from "./houses.ts";
import type { BenchSettings } from "./settings.ts";
import type { Workload } from "./workload.ts";

/** How often memory is looked at while the records are read. */
const LOOKS = 50;

interface Memory {
  readonly heap: number;
  readonly buffers: number;
}

export function memoryContenders(
  settings: BenchSettings,
  workload: Workload,
  shared: SharedHouse,
): Contender[] {
  const records = settings.memoryRecords.toLocaleString("en-US");
  let growth: Promise<Memory> | undefined;
  const contender = (name: string, part: keyof Memory, what: string): Contender => ({
    name,
    unit: "MiB",
    limits: [],
    note: `largest growth of ${what} after a collection while a consumer reads ${records} records`,
    async round() {
      growth ??= measure(settings, workload, shared);
      return { value: (await growth)[part] / 2 ** 20 };
    },
  });
  return [
    contender("memory-10m", "heap", "the heap"),
    contender("memory-10m-buffers", "buffers", "array buffers (prefetch of 16 MiB and answers)"),
  ];
}

/** Fills a topic, reads all of it, and answers the largest growth. */
async function measure(
  settings: BenchSettings,
  workload: Workload,
  shared: SharedHouse,
): Promise<Memory> {
  const topic = "memory";
  const count = settings.memoryRecords;
  const house = await shared.enter();
  try {
    await fillTopic(house, topic, settings, workload, count);
    const collect = collector();
    const before = held(collect);
    let [heap, buffers, look] = [0, 0, 0];
    const consumer = house.consumer({ group: topic, topics: [topic] });
    try {
      await readBatches(consumer, count, (read) => {
        if (read < look) return;
        look += count / LOOKS;
        const now = held(collect);
        heap = Math.max(heap, now.heap - before.heap);
        buffers = Math.max(buffers, now.buffers - before.buffers);
      });
    } finally {
      await consumer.close();
    }
    return { heap, buffers };
  } finally {
    await shared.leave();
  }
}

/** Bytes that are still referenced. */
function held(collect: () => void): Memory {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return { heap: heapUsed, buffers: arrayBuffers };
}
