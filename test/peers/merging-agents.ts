/**
 * What the dashboards are tried on of many agents: two over one store that is slow and refuses now and then, and one metadata; they merge,
 * delete and sweep, and a consumer reads from whichever agent it likes. Ended by `close()`.
 */
import type { SpanProcessor } from "@opentelemetry/sdk-trace-base";
import { systemClock } from "../../src/core/clock.ts";
import { StreamHouseError } from "../../src/core/errors.ts";
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import { createSqliteMetadata } from "../../src/metadata/sqlite.ts";
import { serve } from "../../src/serve/serve.ts";
import { createMemoryStore } from "../../src/storage/memory.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { bootstrap } from "../../src/telemetry/bootstrap.ts";
import { type Observed, pause } from "./observed-shop.ts";

const PARTITIONS = 4;

export async function startMergingAgents(): Promise<Observed> {
  const clock = systemClock;
  const metadata = createSqliteMetadata({ path: ":memory:", clock });
  const inner = createMemoryStore({ clock });
  // Left behind by an agent that was killed before its commit.
  await inner.put("segments/2026-01-01/01AAAAAAAAAAAAAAAAAAAAAAAA-0000000000000001.seg", [
    new Uint8Array(10),
  ]);
  const store = remoteStore(inner);
  const start = async (agentId: string) => {
    const sdk = bootstrap({ register: false, env: {}, spanProcessors: [nowhere] });
    const served = await serve({
      ...{ store, metadata, grpc: "127.0.0.1:0", http: "127.0.0.1:0", telemetry: sdk },
      agent: {
        ...{ agentId, leaseTtlMs: 3_000, leaseRenewMs: 300, lagRefreshMs: 300 },
        ...{ merge: true, mergeAgeMs: 800, mergeCheckMs: 300, deleteGraceMs: 200 },
        ...{ retentionCheckMs: 300, orphanAgeMs: 0, sweepCheckMs: 500, followPollMs: 100 },
        // Small ones, that have to let go.
        ...{ flushAgeMs: 50, tailCacheBytesMax: 20_000, readCacheBytesMax: 4_000 },
      },
    });
    return { sdk, served };
  };
  const agents = [await start("merging-1"), await start("merging-2")];
  const house = await connect({ agents: agents.map(({ served }) => served.grpc) });
  await house.admin.createTopic("merged", { partitions: PARTITIONS });
  const stop = new AbortController();
  const work = [sending(house, stop.signal), reading(house, stop.signal)];
  return {
    targets: agents.map(({ served }) => ({ job: "streamhouse-agent", url: served.http })),
    async close() {
      stop.abort();
      await Promise.allSettled(work);
      await house.close();
      await Promise.all(agents.map(({ served }) => served.stop()));
      await Promise.all(agents.map(({ sdk }) => sdk.shutdown()));
      await metadata.close();
      await inner.close();
    },
  };
}

const nowhere: SpanProcessor = {
  onStart() {},
  onEnd() {},
  forceFlush: async () => {},
  shutdown: async () => {},
};

/** Every fortieth write is slow enough to be begun a second time; every ninth read is refused, and tried again. */
function remoteStore(inner: ObjectStore): ObjectStore {
  let puts = 0;
  let gets = 0;
  return {
    ...{ kind: "s3", remote: true },
    async put(key, parts, signal) {
      if (++puts % 40 === 0) await pause(1_300, signal ?? new AbortController().signal);
      return inner.put(key, parts, signal);
    },
    async get(...args) {
      if (++gets % 9 !== 0) return inner.get(...args);
      throw new StreamHouseError({
        ...{ code: "STORE_UNAVAILABLE", kind: "unavailable" },
        message: "injected: slow down",
      });
    },
    head: (...args) => inner.head(...args),
    list: (...args) => inner.list(...args),
    delete: (...args) => inner.delete(...args),
    close: async () => {},
  };
}

async function sending(house: House, signal: AbortSignal): Promise<void> {
  await using producer = house.producer({ lingerMs: 0 });
  for (let i = 0; !signal.aborted; i++) {
    const value = "x".repeat(500);
    await producer.send({ topic: "merged", partition: i % PARTITIONS, value }).catch(() => {});
  }
}

/** From one agent, which leads half of the partitions; from the beginning again and again. */
async function reading(house: House, signal: AbortSignal): Promise<void> {
  const assign = Array.from({ length: PARTITIONS }, (_, partition) => ({
    ...{ topic: "merged", partition },
  }));
  while (!signal.aborted) {
    await using consumer = house.consumer({ assign, readFrom: "any", fetchMaxWaitMs: 300 });
    for (let i = 0; i < 20 && !signal.aborted; i++) await consumer.poll(300).catch(() => {});
  }
}
