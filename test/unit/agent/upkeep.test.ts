/** What merging leaves as it was, and what it makes smaller: lag, look-ups by time, deleted topics, objects and requests. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AgentOptions } from "../../../src/agent/options.ts";
import { parseMergedSegmentKey } from "../../../src/format/keys.ts";
import {
  type BenchAgent,
  createTopic,
  fetchValues,
  readAll,
  sendAndWait,
  startAgent,
} from "./bench-agent.ts";

const HOUR = 3_600_000;

/** Seldom, so that hours pass quickly. */
const COARSE: AgentOptions = {
  ...{ leaseTtlMs: 300_000, leaseRenewMs: 100_000, retentionCheckMs: 300_000 },
  ...{ mergeCheckMs: 60_000, mergeAgeMs: HOUR, deleteGraceMs: 600_000 },
  ...{ tailCacheBytesMax: 0, readCacheBytesMax: 0, flushAgeMs: 0 },
};

const merged = (bench: BenchAgent) =>
  [...bench.store.objects.keys()].filter((it) => parseMergedSegmentKey("", it) !== undefined);

async function offsetAt(bench: BenchAgent, topicId: string, timestampMs: number): Promise<number> {
  const partitions = [{ topicId, partition: 0, timestampMs }];
  const { offsets } = await bench.clock.until(bench.agent.api.listOffsets({ partitions }, {}));
  assert.equal(offsets[0]?.error, undefined);
  return offsets[0]?.offset ?? -1;
}

async function lagSeconds(bench: BenchAgent, topicId: string, offset: number): Promise<number> {
  const positions = [{ topicId, partition: 0, offset }];
  const answer = await bench.clock.until(
    bench.agent.api.describeGroup({ group: "", positions }, {}),
  );
  return answer.lags[0]?.lagSeconds ?? -1;
}

describe("merging leaves as they were", () => {
  it("lag in seconds, to a second or a hundredth, and never too young; offsets by time, exactly", async () => {
    const agent = { ...COARSE, merge: true, mergeAgeMs: 60_000, mergeCheckMs: 5_000 };
    const bench = await startAgent({ agent });
    const { clock } = bench;
    const topicId = await createTopic(bench, "t");
    const sentAt: number[] = [];
    for (let i = 0; i < 120; i++) {
      // Some close together, some apart; the last one stays unmerged.
      await clock.run(i % 3 === 0 ? 1_700 : 150);
      sentAt.push(clock.now());
      await sendAndWait(bench, "t", [`${i}`]);
    }
    const look = async () => {
      const byTime: number[] = [];
      for (const at of sentAt) byTime.push(await offsetAt(bench, topicId, at));
      const lags: number[] = [];
      for (const [i, at] of sentAt.entries()) {
        lags.push((await lagSeconds(bench, topicId, i)) - (clock.now() - at) / 1_000);
      }
      return { byTime, lags };
    };
    assert.equal(merged(bench).length, 1, "a part is merged");
    for (const pass of ["in part", "wholly"]) {
      const { byTime, lags } = await look();
      assert.deepEqual(
        byTime,
        sentAt.map((_, i) => i),
        pass,
      );
      for (const [i, off] of lags.entries()) {
        const age = (clock.now() - (sentAt[i] ?? 0)) / 1_000;
        assert.ok(
          off > -0.01 && off <= Math.max(1.01, age / 100 + 0.01),
          `${pass}: ${off} s at ${i}`,
        );
      }
      await clock.run(120_000);
    }
    assert.equal((await bench.metadata.listFlushes(0, 1_000)).length, 0);
    assert.equal(await offsetAt(bench, topicId, clock.now()), 120);
    assert.equal(await lagSeconds(bench, topicId, 120), 0);
    await clock.until(bench.agent.stop());
  });

  it("retention: nothing goes before its time, and all goes", async () => {
    const agent = { ...COARSE, merge: true, mergeAgeMs: 60_000, mergeCheckMs: 5_000 };
    const bench = await startAgent({
      agent: { ...agent, retentionCheckMs: 1_000, deleteGraceMs: 0 },
    });
    const { clock } = bench;
    const topicId = await createTopic(bench, "t", { retentionMs: 300_000 });
    const sentAt: number[] = [];
    for (let i = 0; i < 60; i++) {
      await clock.run(i % 3 === 0 ? 9_000 : 150);
      sentAt.push(clock.now());
      await sendAndWait(bench, "t", [`${i}`]);
    }
    for (let i = 0; i < 60; i++) {
      await clock.run(10_000);
      const [bounds] = await bench.metadata.partitionBounds([{ topicId, partition: 0 }]);
      const start = bounds?.logStartOffset ?? 0;
      const young = sentAt.findIndex((at) => clock.now() - at < 300_000);
      assert.ok(young === -1 || start <= young, `log start ${start}, offset ${young} is young`);
      if (start < 60) {
        const page = await clock.until(fetchValues(bench, topicId, start));
        assert.equal(page[0]?.[1], `${start}`);
      }
    }
    const [bounds] = await bench.metadata.partitionBounds([{ topicId, partition: 0 }]);
    assert.equal(bounds?.logStartOffset, 60);
    assert.ok(bench.store.objects.size <= 1, "but for the newest, which may be a file");
    await clock.until(bench.agent.stop());
  });

  it("deleted topics: their segments go, and a flush object that they shared with others goes when it is merged", async () => {
    const agent = { ...COARSE, merge: true, mergeAgeMs: 60_000, mergeCheckMs: 5_000 };
    const bench = await startAgent({
      agent: { ...agent, retentionCheckMs: 1_000, deleteGraceMs: 0 },
    });
    const { clock } = bench;
    await createTopic(bench, "gone");
    const stays = await createTopic(bench, "stays");
    for (let i = 0; i < 10; i++) {
      await Promise.all(["gone", "stays"].map((topic) => sendAndWait(bench, topic, [`${i}`])));
    }
    await clock.run(65_000);
    assert.equal(merged(bench).length, 2);
    for (let i = 10; i < 20; i++) {
      await Promise.all(["gone", "stays"].map((topic) => sendAndWait(bench, topic, [`${i}`])));
    }
    await clock.until(bench.agent.api.deleteTopic({ name: "gone" }, {}));
    await clock.run(5_000);
    assert.equal(merged(bench).length, 1);
    const all = Array.from({ length: 20 }, (_, i) => `${i}`);
    assert.deepEqual(await readAll(bench, stays), all);
    await clock.run(65_000);
    assert.equal((await bench.metadata.listFlushes(0, 100)).length, 0);
    assert.equal((await bench.metadata.listMerges(0, 100)).length, 2);
    assert.deepEqual(await readAll(bench, stays), all);
    await clock.until(bench.agent.stop());
  });
});

describe("a day of traffic", () => {
  const PARTITIONS = 3;
  const EVERY_MS = 30_000;
  const HOURS = 24;

  /** A flush of all partitions every half minute. Answers the most objects that there were, and the requests to read it all. */
  async function day(merge: boolean) {
    const bench = await startAgent({ agent: { ...COARSE, merge } });
    const topicId = await createTopic(bench, "t", { partitions: PARTITIONS });
    let most = 0;
    const flushes = (HOURS * HOUR) / EVERY_MS;
    for (let i = 0; i < flushes; i++) {
      await bench.clock.run(EVERY_MS);
      const sends = Array.from({ length: PARTITIONS }, (_, partition) =>
        sendAndWait(bench, "t", [`${i}`], { partition }),
      );
      await Promise.all(sends);
      most = Math.max(most, bench.store.objects.size);
    }
    const mergingGets = bench.store.gets;
    bench.store.gets = 0;
    for (let partition = 0; partition < PARTITIONS; partition++) {
      assert.equal((await readAll(bench, topicId, partition)).length, flushes);
    }
    const gets = bench.store.gets;
    const objects = { most, puts: (await bench.metadata.listMerges(0, 10_000)).length };
    await bench.clock.until(bench.agent.stop());
    return { ...objects, gets, mergingGets, flushes };
  }

  it("is read with a request for each hour and partition instead of one for each flush and partition", async () => {
    const before = await day(false);
    const after = await day(true);
    assert.ok(before.gets >= before.flushes * PARTITIONS, `${before.gets} without merging`);
    // The last hour is not merged yet.
    const tail = (HOUR + 120_000) / EVERY_MS;
    const allowed = PARTITIONS * (HOURS + tail);
    assert.ok(after.gets <= allowed, `${after.gets} of ${allowed} with merging`);
    // Each flush object was read once or twice for all the partitions in it together.
    assert.ok(after.mergingGets <= 2 * after.flushes, `${after.mergingGets} to merge`);
    // Objects: merged hours, the unmerged one, and what waits for its deletion.
    const waiting = (600_000 + 2 * 300_000) / EVERY_MS;
    const bound = PARTITIONS * HOURS + tail + waiting + HOUR / EVERY_MS;
    assert.ok(after.most <= bound, `at most ${after.most} objects, ${bound} are allowed`);
    assert.ok(before.most >= before.flushes);
  });
});
