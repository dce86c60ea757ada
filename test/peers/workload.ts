/**
 * One workload that feeds as many instruments as one agent and its clients have, with the same counts on every run: sends that
 * succeed and fail, a group that is done and one that lags, polls, commits. Where it is measured is not its business.
 */
import { randomUUID } from "node:crypto";
import { type Served, serve } from "../../src/agent.ts";
import { connect, type House, StreamHouseError } from "../../src/index.ts";
import type { TelemetryOptions } from "../../src/telemetry.ts";
import { eventually } from "../integration/child.ts";
import { parseMetrics, samplesOf } from "../integration/metrics-text.ts";
import { scratch } from "../package/packed.ts";

export const SENT = 120;
export const LAGGING = 100;

export interface Workload {
  readonly served: Served;
  readonly house: House;
  /** Ends clients and agent: from then on no counter and no histogram moves. */
  close(): Promise<void>;
}

/** Does the work over gRPC, and answers while clients and agent are still open. */
export async function work(telemetry: TelemetryOptions): Promise<Workload> {
  const folder = scratch(`workload-${randomUUID().slice(0, 8)}`);
  const served = await serve({
    data: folder.path,
    grpc: "127.0.0.1:0",
    http: "127.0.0.1:0",
    telemetry,
  });
  const house = await connect({ agents: [served.grpc], telemetry });
  const close = async () => {
    await house.close();
    await served.stop();
    folder.remove();
  };
  try {
    await house.admin.createTopic("orders", { partitions: 2, retentionMs: 3_600_000 });
    await house.admin.createTopic("quiet", { partitions: 1 });
    await send(house);
    await consume(house, "done", SENT);
    await consume(house, "lagging", SENT - LAGGING);
    return { served, house, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** One record after the other, so that each is a batch and a flush of its own. */
async function send(house: House): Promise<void> {
  const producer = house.producer();
  for (let i = 0; i < SENT; i++) {
    await producer.send({ topic: "orders", partition: i % 2, value: `order ${i}` });
  }
  const unknown = producer.send({ topic: "nowhere", value: "lost" });
  await unknown.then(
    () => Promise.reject(new Error("sent to a topic that is not there")),
    (error: unknown) => {
      if (!StreamHouseError.is(error)) throw error;
    },
  );
}

async function consume(house: House, group: string, count: number): Promise<void> {
  const consumer = house.consumer({
    group,
    topics: ["orders"],
    offsetReset: "earliest",
    autoCommit: false,
    maxPollRecords: 1,
  });
  let seen = 0;
  await eventually(`${count} records for ${group}`, async () => {
    for (const record of await consumer.poll(1_000)) {
      await consumer.process(record, () => {});
      seen += 1;
    }
    return seen === count;
  });
  await consumer.commit();
}

/** Scrapes until the lag of both groups is there: it is refreshed every few seconds, in the consumers and at the agent. */
export function scrapeSettled(scrape: () => Promise<string>): Promise<string> {
  return eventually("the lag of both groups", async () => {
    const text = await scrape();
    const samples = parseMetrics(text);
    const settled = ["consumer", "group"].every((whose) => {
      const lag = samplesOf(samples, `streamhouse_${whose}_lag_records`, { topic: "orders" });
      return lag.length === 4 && lag.reduce((sum, { value }) => sum + value, 0) === LAGGING;
    });
    return settled && text;
  });
}
