/**
 * How much a consumer's process grows while it reads millions of records: what is still held after
 * a collection.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { House } from "../src/house/house.ts";
import { fillTopic, readBatches } from "./consume.ts";
import type { Contender } from "./contender.ts";
import type { SharedHouse } from "./houses.ts";
import type { BenchSettings } from "./settings.ts";
import type { Workload } from "./workload.ts";

/** How often memory is looked at while the records are read. */
const LOOKS = 20;

export function memoryContender(
  settings: BenchSettings,
  workload: Workload,
  shared: SharedHouse,
): Contender {
  const name = "memory-10m";
  const count = settings.memoryRecords;
  let house: House | undefined;
  return {
    name,
    unit: "MiB",
    limits: [],
    note:
      `largest growth of heap and array buffers, each time after a collection, while a consumer with the ` +
      `default prefetch of 16 MiB reads ${count.toLocaleString("en-US")} records`,
    async prepare() {
      house = await shared.enter();
      await fillTopic(house, name, settings, workload, count);
    },
    async round() {
      if (house === undefined) throw new Error("round() before prepare()");
      const collect = await collector();
      const before = held(collect);
      let largest = 0;
      let look = count / LOOKS;
      const consumer = house.consumer({ group: name, topics: [name] });
      try {
        await readBatches(consumer, count, (read) => {
          if (read < look) return;
          look += count / LOOKS;
          largest = Math.max(largest, held(collect) - before);
        });
      } finally {
        await consumer.close();
      }
      return { value: largest / 2 ** 20 };
    },
    close: () => shared.leave(),
  };
}

/** Bytes that are still referenced. */
function held(collect: () => void): number {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** The runtime's own way to collect garbage now: V8 shows it after a flag, Bun has a function. */
async function collector(): Promise<() => void> {
  const bun = (globalThis as { Bun?: { gc(sync: boolean): void } }).Bun;
  if (bun !== undefined) return () => bun.gc(true);
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as unknown;
  if (typeof collect !== "function") throw new Error("this runtime cannot collect when asked");
  return () => collect();
}
