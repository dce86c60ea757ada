/**
 * What the dashboards are tried on when all is well: an agent with gRPC, and a shop that sends and reads all the time. One of its groups
 * keeps up, one is late, one catches up, one is dead, and one lost records to retention. Ended by `close()`.
 */
import { SpanKind } from "@opentelemetry/api";
import type { SpanProcessor } from "@opentelemetry/sdk-trace-base";
import { RetryLater } from "../../src/consumer/run-retry-later.ts";
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import { createHandler } from "../../src/http/handler.ts";
import { listenHttp } from "../../src/serve/http-listener.ts";
import { serve } from "../../src/serve/serve.ts";
import { bootstrap } from "../../src/telemetry/bootstrap.ts";
import type { ScrapeTarget } from "./real-prometheus.ts";

export interface Observed {
  readonly targets: readonly ScrapeTarget[];
  close(): Promise<void>;
}

export async function startShop(data: string): Promise<Observed> {
  const agentSdk = bootstrap({ register: false, env: {}, spanProcessors: [nowhere] });
  const served = await serve({
    ...{ data, grpc: "127.0.0.1:0", http: "127.0.0.1:0", telemetry: agentSdk },
    agent: { leaseTtlMs: 3_000, leaseRenewMs: 300, lagRefreshMs: 300, retentionCheckMs: 200 },
  });
  // Registered, so that the shop's own spans are its sends' parents.
  const shopSdk = bootstrap({ env: {}, serviceName: "shop", spanProcessors: [nowhere] });
  const http = await listenHttp(createHandler({ metrics: shopSdk.metrics }), "127.0.0.1:0");
  const house = await connect({ agents: [served.grpc], telemetry: shopSdk });
  await house.admin.createTopic("orders", { partitions: 3, retentionMs: 3_600_000 });
  await house.admin.createTopic("clicks", { partitions: 1 });
  await house.admin.createTopic("backlog", { partitions: 1 });
  await house.admin.createTopic("orders-dead", { partitions: 1 });
  await house.admin.createTopic("short", { partitions: 1, retentionMs: 1_500 });

  const stop = new AbortController();
  const { signal } = stop;
  const tracer = shopSdk.tracerProvider.getTracer("shop");
  const work = [
    selling(house, signal, (send) =>
      tracer.startActiveSpan("POST /orders", { kind: SpanKind.SERVER }, async (span) => {
        await send();
        span.end();
      }),
    ),
    keepingUp(house, signal),
    late(house, signal),
    catchingUp(house, signal),
    comingAndGoing(house, signal),
    forgetful(house, signal),
    handling(house, signal),
    burying(house, signal),
    readOnce(house, "dead", "orders"),
    readOnce(house, "lost", "short"),
  ];
  return {
    targets: [
      { job: "streamhouse-agent", url: served.http },
      { job: "shop", url: http.url },
    ],
    async close() {
      stop.abort();
      await Promise.all(work);
      await house.close();
      await http.stop();
      await served.stop();
      await Promise.all([agentSdk.shutdown(), shopSdk.shutdown()]);
    },
  };
}

/** Spans are made, so that samples have traces, and go nowhere. */
const nowhere: SpanProcessor = {
  onStart() {},
  onEnd() {},
  forceFlush: async () => {},
  shutdown: async () => {},
};

/** Resolves after the time, or at once when it is over. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

async function selling(
  house: House,
  signal: AbortSignal,
  traced: (send: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const producer = house.producer({ lingerMs: 5 });
  const huge = new Uint8Array(1_100_000);
  for (let i = 0; !signal.aborted; i++) {
    await traced(async () => {
      const value = "x".repeat(100 + (i % 50));
      const orders = Array.from({ length: 5 }, (_, n) =>
        producer.send({ topic: "orders", key: `${i}-${n}`, value }),
      );
      // From the future, which is counted and no reason to refuse it.
      const click = producer.send({ topic: "clicks", value, timestamp: Date.now() + 60_000 });
      await Promise.all([...orders, click, producer.send({ topic: "short", value })]);
    });
    await producer.send({ topic: "orders", value: huge }).catch(() => {});
    await house.admin.describeTopic("nowhere").catch(() => {});
    await pause(30, signal);
  }
}

async function keepingUp(house: House, signal: AbortSignal): Promise<void> {
  const consumer = house.consumer({
    ...{ group: "billing", topics: ["orders"], autoCommitIntervalMs: 300, lagIntervalMs: 300 },
  });
  signal.addEventListener("abort", () => void consumer.close());
  for await (const record of consumer) {
    await consumer.process(record, () => {});
  }
}

/** Ten records a second of a topic that gets more. */
async function late(house: House, signal: AbortSignal): Promise<void> {
  const consumer = house.consumer({
    ...{ group: "late", topics: ["clicks"], offsetReset: "earliest", autoCommit: false },
    ...{ maxPollRecords: 1, lagIntervalMs: 300 },
  });
  while (!signal.aborted) {
    await consumer.poll(1_000);
    await consumer.commit();
    await pause(100, signal);
  }
}

/** Works off what was there before it came: its lag falls all the time. */
async function catchingUp(house: House, signal: AbortSignal): Promise<void> {
  const producer = house.producer();
  const records = Array.from({ length: 10_000 }, (_, i) => ({ value: `${i}` }));
  await producer.sendBatch({ topic: "backlog", records });
  const consumer = house.consumer({
    ...{ group: "bulk", topics: ["backlog"], offsetReset: "earliest", autoCommit: false },
    ...{ maxPollRecords: 20, lagIntervalMs: 300 },
  });
  while (!signal.aborted) {
    await consumer.poll(1_000);
    await consumer.commit();
    await pause(100, signal);
  }
}

/** A second member of a group, now and then: rebalances. */
async function comingAndGoing(house: House, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const consumer = house.consumer({ group: "billing", topics: ["orders"], lagIntervalMs: 300 });
    await consumer.poll(500);
    await pause(500, signal);
    await consumer.close();
  }
}

/** Does not come back to read in time: its membership ends, again and again. */
async function forgetful(house: House, signal: AbortSignal): Promise<void> {
  const consumer = house.consumer({
    ...{ group: "forgetful", topics: ["orders"], maxPollIntervalMs: 200, lagIntervalMs: 300 },
  });
  while (!signal.aborted) {
    await consumer.poll(1_000).catch(() => {});
    await pause(600, signal);
  }
  await consumer.close();
}

/** Handlers that fail now and then, that put records off, and that give some up. */
async function handling(house: House, signal: AbortSignal): Promise<void> {
  const consumer = house.consumer({ group: "handlers", topics: ["orders"], lagIntervalMs: 300 });
  let calls = 0;
  const handler = async (_: unknown, { attempt }: { readonly attempt: number }) => {
    calls++;
    if (calls % 50 === 0) throw new RetryLater(100);
    if (calls % 20 === 0 || attempt > 1) throw new TypeError("injected: a handler that fails");
    await pause(1, signal);
  };
  const retry = { attempts: 2, baseMs: 50 };
  await consumer.run(handler, { signal, retry, deadLetterTopic: "orders-dead" });
  await consumer.close();
}

/** The topic of its dead letters is deleted under it, again and again. */
async function burying(house: House, signal: AbortSignal): Promise<void> {
  const consumer = house.consumer({ group: "buriers", topics: ["clicks"], lagIntervalMs: 300 });
  const failing = async () => {
    await house.admin.deleteTopic("graves").catch(() => {});
    throw new TypeError("injected: a handler that fails");
  };
  const options = { concurrency: 1, retry: { attempts: 1 }, deadLetterTopic: "graves", signal };
  while (!signal.aborted) {
    await house.admin.createTopic("graves").catch(() => {});
    await consumer.run(failing, options).catch(() => pause(1_000, signal));
  }
  await consumer.close();
}

/** A group that read a little, and that nobody runs any more. */
async function readOnce(house: House, group: string, topic: string): Promise<void> {
  const consumer = house.consumer({ group, topics: [topic], maxPollRecords: 1 });
  for (let read = 0; read < 1; ) read += (await consumer.poll(1_000)).length;
  await consumer.commit();
  await consumer.close();
}
