/** No partition is left out of merging because of another one: not by one that is busier, nor by one that cannot be merged. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sharesMaxOf } from "../../../src/agent/merge-plan.ts";
import type { AgentOptions } from "../../../src/agent/options.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { parseMergedSegmentKey } from "../../../src/format/keys.ts";
import { Fleet } from "../../fault/fleet.ts";
import { createTopic, readAll, send, sendAndWait, startAgent } from "./bench-agent.ts";
import { MemoryStore } from "./memory-store.ts";

const OPTIONS: AgentOptions = {
  merge: true,
  mergeCheckMs: 1_000,
  retentionCheckMs: 3_600_000,
  tailCacheBytesMax: 0,
  readCacheBytesMax: 0,
  flushAgeMs: 0,
};

/** Up to where each partition is merged, by the store's keys. */
function mergedUntil(store: MemoryStore, partitions: number): number[] {
  const until = new Array<number>(partitions).fill(0);
  for (const key of store.objects.keys()) {
    const name = parseMergedSegmentKey("", key);
    if (name === undefined) continue;
    until[name.partition] = Math.max(until[name.partition] ?? 0, name.endOffset);
  }
  return until;
}

describe("merging many partitions", () => {
  it("comes to all of them, though one is always the ripest and memory holds few", async () => {
    const partitions = 12;
    const bench = await startAgent({
      agent: {
        ...OPTIONS,
        ...{ mergeAgeMs: 60_000, mergeSharesMax: 20, mergeMemoryBytesMax: 600, mergeBytes: 400 },
      },
    });
    await createTopic(bench, "t", { partitions });
    // One is written to all the time, the others had their turn once.
    for (let partition = 1; partition < partitions; partition++) {
      await sendAndWait(bench, "t", ["quiet"], { partition });
    }
    for (let second = 0; second < 80; second++) {
      for (let i = 0; i < 4; i++) await sendAndWait(bench, "t", ["busy"]);
      await bench.clock.run(1_000);
    }
    const until = mergedUntil(bench.store, partitions);
    assert.ok((until[0] ?? 0) > 200, `the busy one up to ${until[0]}`);
    assert.deepEqual(until.slice(1), new Array(partitions - 1).fill(1));
    await bench.clock.until(bench.agent.stop());
  });

  it("goes on with the others where an object cannot be read, and comes back to those in it", async () => {
    const store = new MemoryStore();
    const bench = await startAgent({ store, agent: { ...OPTIONS, mergeAgeMs: 5_000 } });
    const topicId = await createTopic(bench, "t", { partitions: 3 });
    await sendAndWait(bench, "t", ["0"], { partition: 0 });
    const [unreadable] = [...store.objects.keys()];
    await sendAndWait(bench, "t", ["1"], { partition: 1 });
    // One object for two of them.
    const both = [0, 2].map((partition) => send(bench, "t", ["2"], { partition }));
    await bench.clock.until(Promise.all(both));
    const get = store.get.bind(store);
    let isDown = true;
    store.get = async (key, range) => {
      if (!isDown || key !== unreadable) return get(key, range);
      const message = "injected: this object is not answered for";
      throw new StreamHouseError({ code: "STORE_UNAVAILABLE", kind: "unavailable", message });
    };
    await bench.clock.run(20_000);
    assert.deepEqual(mergedUntil(store, 3), [0, 1, 1]);
    isDown = false;
    await bench.clock.run(120_000);
    assert.deepEqual(mergedUntil(store, 3), [2, 1, 1]);
    for (const [partition, log] of [["0", "2"], ["1"], ["2"]].entries()) {
      assert.deepEqual(await readAll(bench, topicId, partition), log);
    }
    await bench.clock.until(bench.agent.stop());
  });

  it("asks a store that is away for little, and goes on when it is back", async () => {
    const store = new MemoryStore();
    const bench = await startAgent({ store, agent: { ...OPTIONS, mergeAgeMs: 5_000 } });
    await createTopic(bench, "t", { partitions: 40 });
    for (let partition = 0; partition < 40; partition++) {
      await sendAndWait(bench, "t", ["x"], { partition });
    }
    const get = store.get.bind(store);
    let asked = 0;
    store.get = async () => {
      asked++;
      const message = "injected: the store is away";
      throw new StreamHouseError({ code: "STORE_UNAVAILABLE", kind: "unavailable", message });
    };
    await bench.clock.run(10_000);
    assert.ok(asked > 0 && asked <= 10 * 8, `${asked} requests in 10 s`);
    store.get = get;
    await bench.clock.run(120_000);
    assert.deepEqual(mergedUntil(store, 40), new Array(40).fill(1));
    await bench.clock.until(bench.agent.stop());
  });
});

describe("the shares of all partitions in memory", () => {
  it("make a partition due by its equal part, only where they are too many together", () => {
    const limits = { mergeSharesMax: 2_000, mergeSharesTotalMax: 10_000 };
    const due = (unmerged: number, partitions: number) =>
      sharesMaxOf({ shares: unmerged, unmerged, partitions }, limits);
    assert.equal(due(10_000, 1_000), 2_000);
    assert.equal(due(10_001, 1_000), 10);
    assert.equal(due(10_001, 3), 2_000);
    assert.equal(due(1_000_000, 100_000), 2, "a segment of one share would be no gain");
  });

  it("stay bounded, whoever holds the partitions: merging begins sooner, and goes back to large segments", async () => {
    const agent = { ...OPTIONS, mergeAgeMs: 3_600_000, mergeSharesTotalMax: 100 };
    const fleet = new Fleet();
    const [a, b] = [await fleet.start("a", { agent }), await fleet.start("b", { agent })];
    const topicId = await createTopic(a, "t", { partitions: 10 });
    await fleet.clock.run(4_000);
    let most = 0;
    for (let i = 0; i < 30; i++) {
      for (let partition = 0; partition < 10; partition++) {
        const holder = (await fleet.holder(topicId, partition)) ?? a;
        await sendAndWait(holder, "t", [`${i}`], { partition });
      }
      await fleet.clock.run(4_000);
      const merged = mergedUntil(fleet.store, 10).reduce((sum, it) => sum + it, 0);
      most = Math.max(most, 10 * (i + 1) - merged);
    }
    // A round later than the first look beyond the bound.
    assert.ok(most > 50 && most <= 130, `${most} shares that were not merged`);
    const merges = await fleet.metadata.listMerges(0, 10_000);
    assert.ok(merges.length >= 10 && merges.length < 60, `${merges.length} segments`);
    const expected = Array.from({ length: 30 }, (_, i) => `${i}`);
    for (let partition = 0; partition < 10; partition++) {
      assert.deepEqual(await fleet.clock.until(readAll(b, topicId, partition)), expected);
    }
    await fleet.stop();
  });
});
