import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AgentOptions } from "../../../src/agent/options.ts";
import { parseMergedSegmentKey } from "../../../src/format/keys.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { withFaults } from "../../fault/faulty-metadata.ts";
import {
  type BenchAgent,
  type BenchOptions,
  createTopic,
  fetchRaw,
  memoryMetadata,
  readAll,
  seededRandom,
  sendAndWait,
  startAgent,
} from "./bench-agent.ts";
import { MemoryStore } from "./memory-store.ts";

/** Merges once a minute, keeps nothing in memory, deletes at once what is dead. */
const OPTIONS: AgentOptions = {
  merge: true,
  mergeAgeMs: 60_000,
  mergeCheckMs: 1_000,
  deleteGraceMs: 0,
  retentionCheckMs: 1_000,
  tailCacheBytesMax: 0,
  flushAgeMs: 0,
};

async function start(options: BenchOptions = {}): Promise<BenchAgent> {
  return startAgent({ ...options, agent: { ...OPTIONS, ...options.agent } });
}

/** Sends to each partition in turn, one flush for each record. */
async function fill(bench: BenchAgent, records: number, partitions = 1): Promise<string[][]> {
  const sent: string[][] = Array.from({ length: partitions }, () => []);
  for (let i = 0; i < records; i++) {
    const partition = i % partitions;
    const value = `${partition}:${i}`;
    await sendAndWait(bench, "t", [value], { partition });
    sent[partition]?.push(value);
  }
  return sent;
}

const mergedKeys = (bench: BenchAgent) =>
  [...bench.store.objects.keys()].filter((it) => parseMergedSegmentKey("", it) !== undefined);

describe("merging", () => {
  it("makes one segment of each partition, which is read as before, and lets the flush objects go", async () => {
    const bench = await start();
    const topicId = await createTopic(bench, "t", { partitions: 2 });
    const sent = await fill(bench, 40, 2);
    assert.equal(bench.store.objects.size, 40);
    await bench.clock.run(62_000);
    // The newest flush object may be a file that goes on growing.
    assert.equal(mergedKeys(bench).length, 2);
    assert.ok(bench.store.objects.size <= 3);
    for (const partition of [0, 1]) {
      assert.deepEqual(await readAll(bench, topicId, partition), sent[partition]);
    }
    const more = await fill(bench, 4, 2);
    for (const partition of [0, 1]) {
      const all = [...(sent[partition] ?? []), ...(more[partition] ?? [])];
      assert.deepEqual(await readAll(bench, topicId, partition), all);
    }
    await bench.clock.until(bench.agent.stop());
  });

  it("begins by bytes, by age or by shares, whichever comes first", async () => {
    const cases: readonly [AgentOptions, boolean][] = [
      [{ mergeAgeMs: 3_600_000 }, false],
      [{ mergeAgeMs: 3_600_000, mergeBytes: 500 }, true],
      [{ mergeAgeMs: 3_600_000, mergeSharesMax: 10 }, true],
      [{ mergeAgeMs: 5_000 }, true],
      [{ mergeAgeMs: 5_000, merge: false }, false],
    ];
    for (const [agent, merges] of cases) {
      const bench = await start({ agent });
      await createTopic(bench, "t");
      await fill(bench, 20);
      await bench.clock.run(20_000);
      assert.equal(mergedKeys(bench).length > 0, merges, JSON.stringify(agent));
      await bench.clock.until(bench.agent.stop());
    }
  });

  it("reads each flush object once for all the partitions in it", async () => {
    const agent = { flushAgeMs: 50, flushIntervalMs: 50, readCacheBytesMax: 0 };
    const bench = await start({ agent });
    await createTopic(bench, "t", { partitions: 8 });
    for (let i = 0; i < 10; i++) {
      const all = Array.from({ length: 8 }, (_, partition) =>
        sendAndWait(bench, "t", [`${i}`], { partition }),
      );
      await Promise.all(all);
    }
    const flushes = (await bench.metadata.listFlushes(0, 100)).length;
    assert.ok(flushes <= 20, `${flushes} flushes for 80 shares`);
    bench.store.gets = 0;
    await bench.clock.run(61_000);
    assert.equal(mergedKeys(bench).length, 8);
    assert.equal(bench.store.gets, flushes);
    await bench.clock.until(bench.agent.stop());
  });

  it("keeps to its memory: with many partitions the segments are smaller, and none is left behind", async () => {
    const agent = { mergeMemoryBytesMax: 1_000, mergeBytes: 100_000 };
    const bench = await start({ agent });
    const topicId = await createTopic(bench, "t", { partitions: 3 });
    const sent = await fill(bench, 60, 3);
    await bench.clock.run(70_000);
    const sizes = mergedKeys(bench).map((key) => bench.store.objects.get(key)?.length ?? 0);
    assert.ok(sizes.length > 3, `${sizes.length} segments`);
    assert.ok(Math.max(...sizes) <= 1_000, `largest ${Math.max(...sizes)}`);
    for (const partition of [0, 1, 2]) {
      assert.deepEqual(await readAll(bench, topicId, partition), sent[partition]);
    }
    assert.equal((await bench.metadata.listFlushes(0, 100)).length, 0);
    await bench.clock.until(bench.agent.stop());
  });

  it("keeps to its rate", async () => {
    const bench = await start({
      agent: { mergeBytesPerSecondMax: 100, mergeMemoryBytesMax: 1_000 },
    });
    await createTopic(bench, "t");
    await fill(bench, 60);
    const bytes = (await bench.metadata.listFlushes(0, 100)).reduce(
      (sum, it) => sum + (it.entries[0]?.length ?? 0),
      0,
    );
    await bench.clock.run(60_000);
    const before = bench.clock.monotonic();
    const isLeft = async () => (await bench.metadata.listFlushes(0, 100)).length > 0;
    for (let i = 0; i < 500 && (await isLeft()); i++) await bench.clock.run(500);
    assert.equal(await isLeft(), false);
    const seconds = (bench.clock.monotonic() - before) / 1_000;
    // The first 1,000 bytes are on credit.
    assert.ok(seconds >= (bytes - 2_000) / 100, `${bytes} bytes in ${seconds} s`);
    await bench.clock.until(bench.agent.stop());
  });

  it("copies no damage: it stops before it, says so, and goes on with the other partitions", async () => {
    const slow = { readCacheBytesMax: 0, mergeCheckMs: 10_000, retentionCheckMs: 10_000 };
    const measured = await start({ telemetry: {}, agent: slow });
    const topicId = await createTopic(measured, "t", { partitions: 2 });
    const sent = await fill(measured, 20, 2);
    const flushes = await measured.metadata.listFlushes(0, 100);
    const bad = flushes[10];
    const entry = bad?.entries[0];
    assert.ok(bad !== undefined && entry?.partition === 0);
    const bytes = measured.store.objects.get(bad.location.key);
    const at = bad.location.position + entry.position + entry.length - 1;
    assert.ok(bytes !== undefined);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await measured.clock.run(70_000);
    const merges = await measured.metadata.listMerges(0, 10);
    const ends = new Map(merges.map((it) => [it.partition, it.endOffset]));
    assert.equal(ends.get(0), entry.baseOffset);
    assert.equal(ends.get(1), 10);
    const { metrics } = measured.agent.telemetry;
    const count = (outcome: string) =>
      metrics.counter(catalogue.compactionMerges, { outcome }).value;
    assert.equal(count("CORRUPT_SEGMENT"), 1, "and it is left alone for a while");
    assert.equal(count("committed"), 2);
    assert.deepEqual(await readAll(measured, topicId, 1), sent[1]);
    // Repaired, it goes on.
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await measured.clock.run(700_000);
    assert.deepEqual(await readAll(measured, topicId, 0), sent[0]);
    assert.equal((await measured.metadata.listFlushes(0, 100)).length, 0);
    await measured.clock.until(measured.agent.stop());
  });

  it("knows what it wrote: instruments, and the audit of what is stored", async () => {
    const bench = await start({ telemetry: {} });
    const topicId = await createTopic(bench, "t", { retentionMs: 120_000 });
    await fill(bench, 10);
    await bench.clock.run(30_000);
    const { metrics } = bench.agent.telemetry;
    metrics.collect();
    assert.ok(metrics.gauge(catalogue.compactionBacklogBytes).value > 0);
    assert.ok(metrics.gauge(catalogue.compactionBacklogSeconds).value >= 29);
    await bench.clock.run(32_000);
    metrics.collect();
    const [merge] = await bench.metadata.listMerges(0, 10);
    const topic = { topic: "t" };
    assert.equal(metrics.counter(catalogue.compactionRecords, topic).value, 10);
    assert.equal(metrics.counter(catalogue.compactionBytes, topic).value, merge?.location.length);
    assert.equal(metrics.gauge(catalogue.compactionBacklogBytes).value, 0);
    assert.equal(metrics.gauge(catalogue.compactionBacklogSeconds).value, 0);
    const deleted = () => metrics.counter(catalogue.objectsDeleted, { reason: "dead" }).value;
    assert.equal(deleted(), 9);
    assert.equal(metrics.gauge(catalogue.objectsDoomed).value, 1, "the newest one");
    await bench.clock.run(130_000);
    assert.equal(deleted(), 10, "the merged segment expired, too");
    assert.equal((await fetchRaw(bench, topicId, 10)).logStartOffset, 10);
    for (const law of ["bytes_stored", "records_written", "bytes_written"]) {
      assert.equal(metrics.gauge(catalogue.auditDiscrepancy, { law }).value, 0, law);
    }
    await bench.clock.until(bench.agent.stop());
  });

  it("leaves an orphan and nothing else, wherever it is broken off, and the next agent goes on", async () => {
    const breaks = ["commitMerge none", "commitMerge applied", "commitMerge stuck", "put"] as const;
    for (const where of breaks) {
      const clock = new ManualClock();
      const inner = memoryMetadata(clock);
      const { metadata, faults } = withFaults(inner);
      const store = new MemoryStore();
      const bench = await start({ clock, metadata, store });
      const topicId = await createTopic(bench, "t");
      const [sent] = await fill(bench, 10);
      const put = store.put.bind(store);
      if (where === "put") {
        store.put = async (key, parts) => {
          await put(key, parts);
          return new Promise(() => {});
        };
      } else {
        const fate = where.slice("commitMerge ".length) as "none" | "applied" | "stuck";
        faults.next.commitMerge = [fate, fate, fate];
      }
      await clock.run(62_000);
      assert.equal(mergedKeys(bench).length >= 1, true, where);
      // As if it were killed: nothing of it is answered any more.
      faults.down = true;
      store.put = put;
      const agent = { sweepCheckMs: 30_000 };
      const second = await start({ clock, metadata: inner, store, agent, random: seededRandom(7) });
      assert.deepEqual(await readAll(second, topicId), sent, where);
      await clock.run(70_000);
      assert.deepEqual(await readAll(second, topicId), sent, where);
      assert.equal((await inner.listFlushes(0, 100)).length, 0, where);
      // The sweeper takes what is left of the first one.
      await clock.run(31_000);
      assert.equal(mergedKeys(second).length, 1, where);
      assert.deepEqual(await readAll(second, topicId), sent, where);
      await clock.until(second.agent.stop());
      await clock.until(bench.agent.stop());
    }
  });
});
