/** Records for every partition, as fast as they are acknowledged or at a steady rate. All are durable before they count. */
import { setTimeout as wait } from "node:timers/promises";
import type { ProducerRecord } from "../../src/core/record.ts";
import type { House } from "../../src/house/house.ts";
import { TOPIC } from "./fleet.ts";

export interface LoadOptions {
  readonly partitions: number;
  readonly values: readonly Uint8Array[];
}

/** Records of one `sendBatch`; calls that may be unanswered: enough that the producer's buffer is never empty. */
const CHUNK = 5_000;
const CALLS_IN_FLIGHT = 80;

/** Sends to the partitions in turn for that long; answers records acknowledged each second. */
export async function pour(house: House, options: LoadOptions, seconds: number): Promise<number> {
  await using producer = house.producer();
  const next = inTurn(options);
  const unanswered: Promise<number>[] = [];
  const start = performance.now();
  let acknowledged = 0;
  while (performance.now() - start < seconds * 1_000) {
    const records = Array.from({ length: CHUNK }, next);
    unanswered.push(producer.sendBatch({ topic: TOPIC, records }).then(() => CHUNK));
    if (unanswered.length === CALLS_IN_FLIGHT) acknowledged += (await unanswered.shift()) ?? 0;
  }
  for (const call of unanswered) acknowledged += await call;
  return acknowledged / ((performance.now() - start) / 1_000);
}

export interface Drizzle {
  /** Ends it. Answers the slowest send since `mark()`, and how many were acknowledged and how many failed since the beginning. */
  stop(): Promise<{
    readonly slowestMs: number;
    readonly acknowledged: number;
    readonly failed: number;
  }>;
  /** From here on sends are looked at. */
  mark(): void;
}

const TICK_MS = 20;

/** Sends that many records each second, to the partitions in turn. */
export function drizzle(house: House, options: LoadOptions, perSecond: number): Drizzle {
  const producer = house.producer();
  const next = inTurn(options);
  const start = performance.now();
  let [sent, acknowledged, failed, slowestMs] = [0, 0, 0, 0];
  let markedAt = start;
  let stopped = false;
  const send = async (): Promise<void> => {
    const sentAt = performance.now();
    try {
      await producer.send({ topic: TOPIC, ...next() });
      acknowledged++;
      if (sentAt >= markedAt) slowestMs = Math.max(slowestMs, performance.now() - sentAt);
    } catch {
      failed++;
    }
  };
  const running = (async () => {
    while (!stopped) {
      const due = ((performance.now() - start) / 1_000) * perSecond;
      for (; sent < due; sent++) void send();
      await wait(TICK_MS);
    }
  })();
  return {
    mark() {
      markedAt = performance.now();
      slowestMs = 0;
    },
    async stop() {
      stopped = true;
      await running;
      await producer.close();
      return { slowestMs, acknowledged, failed };
    },
  };
}

function inTurn({ partitions, values }: LoadOptions): () => ProducerRecord {
  let at = 0;
  return () => {
    const partition = at % partitions;
    const value = values[at++ % values.length] as Uint8Array;
    return { partition, value };
  };
}
