/**
 * What the dashboards are tried on when nothing is well: an agent whose metadata, store and leases fail again and again, whose OTLP
 * endpoint is not there, and whose application has a callback that throws and a family with too many series. Ended by `close()`.
 */
import { createAgent } from "../../src/agent/agent.ts";
import { createCluster } from "../../src/client/cluster.ts";
import { createInProcessTransport } from "../../src/client/in-process-transport.ts";
import { systemClock } from "../../src/core/clock.ts";
import { StreamHouseError } from "../../src/core/errors.ts";
import { createUlid, systemRandom } from "../../src/core/ids.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { createHouse, type House } from "../../src/house/house.ts";
import { createHandler } from "../../src/http/handler.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { createSqliteMetadata } from "../../src/metadata/sqlite.ts";
import { listenHttp } from "../../src/serve/http-listener.ts";
import { createMemoryStore } from "../../src/storage/memory.ts";
import { createObjectSink } from "../../src/storage/object-sink.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { bootstrap, type TelemetrySdk } from "../../src/telemetry/bootstrap.ts";
import { catalogue } from "../../src/telemetry/catalogue.ts";
import type { MetricRegistry } from "../../src/telemetry/cells.ts";
import { createTelemetry } from "../../src/telemetry/telemetry.ts";
import { type Faults, withFaults } from "../fault/faulty-metadata.ts";
import { type Observed, pause } from "./observed-shop.ts";

/** `nowhere`: an address at which nothing listens. */
export async function startTroubledAgent(nowhere: string): Promise<Observed> {
  const sdk = bootstrap({
    ...{ register: false, logger: { warn() {} }, serviceName: "troubled", shutdownTimeoutMs: 500 },
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: nowhere,
      OTEL_EXPORTER_OTLP_TIMEOUT: "300",
      OTEL_METRICS_EXPORTER: "prometheus,otlp",
      OTEL_METRIC_EXPORT_INTERVAL: "400",
      OTEL_METRIC_EXPORT_TIMEOUT: "400",
      OTEL_BSP_SCHEDULE_DELAY: "100",
      OTEL_BSP_EXPORT_TIMEOUT: "400",
    },
  });
  const clock = systemClock;
  const runId = createUlid(clock.now(), systemRandom);
  const inner = createSqliteMetadata({ path: ":memory:", clock });
  const { metadata, faults } = withFaults(inner);
  const store = failingStore(createMemoryStore({ clock }));
  const shared = { clock, random: systemRandom, logger: silentLogger };
  const agent = createAgent(
    { ...shared, metadata, store, sink: createObjectSink({ store, clock }), telemetry: sdk },
    {
      ...{ runId, predecessorsDead: true, leaseTtlMs: 3_000, leaseRenewMs: 200 },
      // Next to no cache: consumers of history read from the store.
      ...{ lagRefreshMs: 200, retentionCheckMs: 200, tailCacheBytesMax: 1, readCacheBytesMax: 1 },
      ...{ merge: true, mergeAgeMs: 300, mergeCheckMs: 100, sweepCheckMs: 300 },
    },
  );
  await agent.start();
  const cluster = createCluster(createInProcessTransport(agent.api, shared), shared);
  const context = { ...shared, cluster, clientId: "troubled", telemetry: sdk };
  const house = createHouse({ context });
  await house.admin.createTopic("troubles", { partitions: 2, retentionMs: 1_500 });
  const http = await listenHttp(createHandler({ metrics: sdk.metrics }), "127.0.0.1:0");
  const application = createTelemetry(sdk, { name: "application" });
  sdk.meterProvider
    .getMeter("application")
    .createObservableGauge("broken")
    .addCallback(() => {
      throw new Error("injected: a callback of the application");
    });

  const stop = new AbortController();
  const work = [
    sending(house, stop.signal),
    reading(house, stop.signal),
    failing({ agent, inner, faults }, stop.signal),
    failingScrapes(sdk, stop.signal),
    overflowing(application.metrics, stop.signal),
  ];
  return {
    targets: [{ job: "streamhouse-agent", url: http.url }],
    async close() {
      stop.abort();
      await Promise.allSettled(work);
      faults.release();
      await house.close().catch(() => {});
      await agent.stop().catch(() => {});
      await http.stop();
      application.close();
      await sdk.shutdown();
      await inner.close();
    },
  };
}

/** A family has room for 2,000 series: beyond them each new one is folded. */
async function overflowing(metrics: MetricRegistry, signal: AbortSignal): Promise<void> {
  const crowd = (from: number, to: number) => {
    for (let i = from; i < to; i++) {
      metrics.counter(catalogue.recordsConsumed, { topic: `t${i}`, group_id: "many" }).add(1);
    }
  };
  crowd(0, 2_000);
  for (let i = 2_000; !signal.aborted && i < 100_000; i += 10) {
    crowd(i, i + 10);
    await pause(500, signal);
  }
}

/** Every seventh write and every fifth read fails, and every other listing. */
function failingStore(store: ObjectStore): ObjectStore {
  let puts = 0;
  let gets = 0;
  let lists = 0;
  const fail = (what: string): never => {
    throw new StreamHouseError({
      ...{ code: "STORE_UNAVAILABLE", kind: "unavailable", outcome: "none" },
      message: `injected: ${what} fails`,
    });
  };
  return {
    kind: store.kind,
    put: async (...args) => (++puts % 7 === 0 ? fail("put") : store.put(...args)),
    get: async (...args) => (++gets % 5 === 0 ? fail("get") : store.get(...args)),
    head: (...args) => store.head(...args),
    list: (...args) => (++lists % 2 === 0 ? fail("list") : store.list(...args)),
    delete: (...args) => store.delete(...args),
    close: () => store.close(),
  };
}

async function sending(house: House, signal: AbortSignal): Promise<void> {
  const producer = house.producer({ deliveryTimeoutMs: 2_000, requestTimeoutMs: 1_000 });
  while (!signal.aborted) {
    producer.send({ topic: "troubles", value: "x".repeat(200) }).catch(() => {});
    await pause(20, signal);
  }
}

async function reading(house: House, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const consumer = house.consumer({ group: "rereaders", topics: ["troubles"] });
    try {
      await consumer.poll(300);
      await consumer.seekToBeginning();
      await consumer.poll(300);
    } catch {
      // It is the agent's metrics that are wanted.
    }
    await consumer.close().catch(() => {});
  }
}

/** Somebody scrapes while the metrics cannot be collected. */
async function failingScrapes({ metrics }: TelemetrySdk, signal: AbortSignal): Promise<void> {
  const broken = () => Promise.reject(new Error("injected: nothing can be collected"));
  const handler = createHandler({ metrics: { ...metrics, collect: broken, gather: broken } });
  while (!signal.aborted) {
    await handler(new Request("http://localhost/metrics"));
    await pause(500, signal);
  }
}

interface Broken {
  readonly agent: { readonly runId: string };
  readonly inner: MetadataStore;
  readonly faults: Faults;
}

/** Round after round: metadata that fails, a run that is ended, and a lease that is taken while a flush is under way. */
async function failing({ agent, inner, faults }: Broken, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    faults.next.renewRun = ["none"];
    faults.next.lagSnapshot = ["none", "none"];
    faults.next.advanceLogStart = ["none"];
    faults.next.commitFlush = ["none", "lost"];
    await pause(700, signal);
    faults.next.commitFlush = ["hold"];
    await pause(200, signal);
    await takeOver(agent.runId, inner).catch(() => {});
    faults.release();
    await pause(700, signal);
    await inner.endRun(agent.runId).catch(() => {});
    await pause(700, signal);
  }
}

/** Another run takes the leases and ends at once. */
async function takeOver(old: string, inner: MetadataStore): Promise<void> {
  const topics = await inner.listTopics();
  const held = topics.flatMap(({ id, partitions }) =>
    Array.from({ length: partitions }, (_, partition) => ({ topicId: id, partition })),
  );
  await inner.releaseLeases(old, held);
  const rival = { runId: `rival-${old}`, agentId: "rival", address: "", ttlMs: 60_000 };
  await inner.startRun({ ...rival, predecessorsDead: false });
  await inner.acquireLeases(rival.runId, held);
  await inner.endRun(rival.runId);
}
