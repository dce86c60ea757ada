/**
 * The job itself: every record of a source goes through a producer over gRPC into the agent's store, and comes out of a consumer.
 * Both ends keep a tally of their own.
 */
import type { ConsumerRecord } from "../../src/core/record.ts";
import type { House } from "../../src/house/house.ts";
import type { Progress } from "./progress.ts";
import type { Source } from "./source.ts";
import { keyOf, LatencyCounts, OrderCheck, Tally } from "./tally.ts";

export interface Outcome {
  readonly sent: Tally;
  readonly read: Tally;
  readonly order: OrderCheck;
  readonly latency: LatencyCounts;
  /** From the first record sent until the last was acknowledged. */
  readonly sendMs: number;
  /** From the first record sent until the last was read. */
  readonly wholeMs: number;
  /** Records that the group has not committed, over all partitions. */
  readonly lag: number;
}

/**
 * Records that are sent and not read yet. Enough to keep every part busy; with more, latency would only say how long the
 * queue is.
 */
const underWayMax = 10_000;

const commitEveryMs = 1_000;

/** If nothing arrives for this long the missing records are given up, and the check fails. */
const patienceMs = 30_000;

export async function roundTrip(
  house: House,
  topic: string,
  source: Source,
  progress: Progress,
  interrupted: AbortSignal,
): Promise<Outcome> {
  const sent = new Tally();
  const read = new Reading();
  const start = performance.now();
  const failed = new AbortController();
  const stop = AbortSignal.any([failed.signal, interrupted]);
  const reading = readAll(house, topic, source.total, read, stop, () =>
    progress.update(sent.records, read.tally.records),
  );
  try {
    await sendAll(house, topic, source, sent, () => read.tally.records, stop);
  } catch (error) {
    failed.abort();
    await reading.catch(() => {});
    throw error;
  }
  const sendMs = performance.now() - start;
  await reading;
  interrupted.throwIfAborted();
  const wholeMs = performance.now() - start;
  const { lags } = await house.admin.describeGroup(groupOf(topic));
  const lag = lags.reduce((sum, it) => sum + it.lagRecords, 0);
  const { tally, order, latency } = read;
  return { sent, read: tally, order, latency, sendMs, wholeMs, lag };
}

function groupOf(topic: string): string {
  return `${topic}-check`;
}

async function sendAll(
  house: House,
  topic: string,
  source: Source,
  sent: Tally,
  readCount: () => number,
  stop: AbortSignal,
): Promise<void> {
  // Producer and consumer stay open until the house is closed, so that /metrics goes on showing them.
  const producer = house.producer();
  const waiting = new Set<Promise<unknown>>();
  let failure: unknown;
  let number = 0;
  for await (const values of source.values()) {
    const records = values.map((value) => ({ key: keyOf(number++), value }));
    const batch = producer.sendBatch({ topic, records }).then(
      () => {
        for (const { key, value } of records) sent.add(key, value);
      },
      (error: unknown) => {
        failure ??= error;
      },
    );
    waiting.add(batch);
    void batch.then(() => waiting.delete(batch));
    const mayGoOn = () => failure === undefined && !stop.aborted;
    while (number - readCount() > underWayMax && mayGoOn()) await nextTurn();
    if (!mayGoOn()) break;
  }
  await Promise.all(waiting);
  if (failure !== undefined) throw failure;
}

class Reading {
  readonly tally = new Tally();
  readonly order = new OrderCheck();
  readonly latency = new LatencyCounts();

  take(record: ConsumerRecord): void {
    const key = record.key ?? new Uint8Array(0);
    this.tally.add(key, record.bytes());
    this.order.see(record.partition, record.offset, Number(record.keyText()));
    this.latency.add(Date.now() - record.timestamp);
  }
}

async function readAll(
  house: House,
  topic: string,
  total: number,
  into: Reading,
  stop: AbortSignal,
  onProgress: () => void,
): Promise<void> {
  const consumer = house.consumer({
    group: groupOf(topic),
    topics: [topic],
    offsetReset: "earliest",
    autoCommit: false,
  });
  let idleSince = performance.now();
  let committedAt = performance.now();
  while (into.tally.records < total && !stop.aborted) {
    const records = await consumer.poll(500);
    for (const record of records) into.take(record);
    onProgress();
    const now = performance.now();
    if (records.length > 0) idleSince = now;
    else if (now - idleSince > patienceMs) break;
    if (now - committedAt > commitEveryMs) {
      await consumer.commit();
      committedAt = performance.now();
    }
  }
  await consumer.commit();
}

/** Lets the other half of this process go on. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}
