/**
 * Merging, deleting and sweeping over a real S3 server and a real PostgreSQL: the log is read as before by the agent that merged it
 * and by one that joins later, flush objects and their rows are gone, and so is what an agent left that ended before its commit.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type PostgresServer, startPostgres } from "../../scripts/backends/postgres.ts";
import { type Radosgw, startRadosgw } from "../../scripts/backends/radosgw.ts";
import { OWNER_KEY } from "../../src/agent/store-probe.ts";
import { createUlid } from "../../src/core/ids.ts";
import { parseMergedSegmentKey, segmentKey } from "../../src/format/keys.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { createPostgresMetadata } from "../../src/metadata/postgres.ts";
import { type EmbeddedHouse, embed } from "../../src/serve/embed.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { createS3Store } from "../../src/storage/s3.ts";
import { discrepancies } from "../fault/telemetry/audit-reading.ts";

const PARTITIONS = 4;
const ROUNDS = 25;

let s3: Radosgw;
let postgres: PostgresServer;
before(async () => {
  [s3, postgres] = await Promise.all([startRadosgw(), startPostgres()]);
});
after(async () => {
  await s3.stop();
  await postgres.remove();
});

interface Running {
  readonly house: EmbeddedHouse;
  readonly store: ObjectStore;
  readonly metadata: MetadataStore;
  readonly stop: () => Promise<void>;
}

async function start(url: string): Promise<Running> {
  const { bucket, endpoint, region } = s3;
  const place = { bucket, endpoint, region, prefix: "house" };
  const store = createS3Store({}, { ...place, credentials: s3 });
  const metadata = await createPostgresMetadata({}, { url });
  const house = await embed({
    ...{ store, metadata, telemetry: {} },
    agent: {
      ...{ flushAgeMs: 20, flushIntervalMs: 20, tailCacheBytesMax: 1, retentionCheckMs: 500 },
      ...{ mergeAgeMs: 1_500, mergeCheckMs: 300, deleteGraceMs: 1_000 },
      ...{ orphanAgeMs: 0, sweepCheckMs: 2_000, leaseTtlMs: 6_000, leaseRenewMs: 1_000 },
    },
  });
  const stop = async () => {
    await house.close();
    await store.close();
    await metadata.close();
  };
  return { house, store, metadata, stop };
}

async function produce(house: EmbeddedHouse, from: number, rounds: number): Promise<void> {
  const producer = house.producer({ lingerMs: 0 });
  for (let i = from; i < from + rounds; i++) {
    const sends = Array.from({ length: PARTITIONS }, (_, partition) =>
      producer.send({ topic: "t", partition, value: `${i}` }),
    );
    await Promise.all(sends);
  }
  await producer.close();
}

/** Everything, by a consumer of its own group. */
async function readAll(house: EmbeddedHouse, group: string, count: number): Promise<number[][]> {
  const logs: number[][] = Array.from({ length: PARTITIONS }, () => []);
  const consumer = house.consumer({ group, topics: ["t"], offsetReset: "earliest" });
  let seen = 0;
  for await (const record of consumer) {
    logs[record.partition]?.push(Number(record.text()));
    if (++seen === count) break;
  }
  await consumer.close();
  return logs;
}

async function keysOf(store: ObjectStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list("")) keys.push(key);
  return keys;
}

/** The machine may be busy. */
async function eventually(what: string, check: () => Promise<boolean>): Promise<void> {
  const until = performance.now() + 120_000;
  while (!(await check())) {
    assert.ok(performance.now() < until, `never came true: ${what}`);
    await new Promise<void>((resolve) => setTimeout(resolve, 200));
  }
}

const allMerged = async ({ metadata }: Running) => (await metadata.listFlushes(0, 10)).length === 0;

/** No flush object is left but the newest of each agent, and all else is referred to, but for the one that says whose it is. */
const isTidy = (running: Running, agents: number) => async () => {
  const merges = await running.metadata.listMerges(0, 10_000);
  const referred = new Set(merges.map((it) => it.location.key));
  const others = (await keysOf(running.store)).filter(
    (key) => !referred.has(key) && key !== OWNER_KEY,
  );
  const isMerged = others.some((key) => parseMergedSegmentKey("", key) !== undefined);
  return !isMerged && others.length <= agents;
};

describe("merging over S3 and PostgreSQL", () => {
  it("keeps the log as it was, lets flush objects and orphans go, and is taken on by the next agent", async () => {
    const url = await postgres.createDatabase();
    const first = await start(url);
    await first.house.admin.createTopic("t", { partitions: PARTITIONS });
    const orphan = segmentKey("", Date.now(), createUlid(Date.now()), 1);
    await first.store.put(orphan, [Uint8Array.of(1)]);
    await produce(first.house, 0, ROUNDS);
    await eventually("all is merged", () => allMerged(first));
    await eventually("what is dead is gone", isTidy(first, 1));
    assert.ok(!(await keysOf(first.store)).includes(orphan));
    const expected = Array.from({ length: ROUNDS }, (_, i) => i);
    for (const log of await readAll(first.house, "one", PARTITIONS * ROUNDS)) {
      assert.deepEqual(log, expected);
    }
    const audit = discrepancies(first.house.agent.telemetry.metrics);
    for (const [law, off] of audit) assert.equal(off, 0, law);
    await first.stop();

    const second = await start(url);
    await produce(second.house, ROUNDS, ROUNDS);
    await eventually("all is merged by the second", () => allMerged(second));
    await eventually("what is dead is gone", isTidy(second, 1));
    const all = Array.from({ length: 2 * ROUNDS }, (_, i) => i);
    for (const log of await readAll(second.house, "two", 2 * PARTITIONS * ROUNDS)) {
      assert.deepEqual(log, all);
    }
    await second.stop();
  });
});
