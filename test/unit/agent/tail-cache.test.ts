import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TailCache } from "../../../src/agent/tail-cache.ts";

const p = (partition: number) => ({ topicId: "t", partition });

function add(cache: TailCache, partition: number, baseOffset: number, size = 100): void {
  cache.add("t", partition, {
    baseOffset,
    endOffset: baseOffset + 10,
    bytes: new Uint8Array(size),
    appendTimeMs: 1,
    charge: size,
  });
}

const offsets = (cache: TailCache, partition: number, offset: number, bytesMax = 1_000_000) =>
  cache.read(p(partition), offset, bytesMax).map((it) => it.baseOffset);

describe("the tail cache", () => {
  it("answers whole batches from the one that holds the offset, up to a size but at least one", () => {
    const cache = new TailCache(10_000);
    for (let i = 0; i < 5; i++) add(cache, 0, i * 10);
    assert.deepEqual(offsets(cache, 0, 0), [0, 10, 20, 30, 40]);
    assert.deepEqual(offsets(cache, 0, 19), [10, 20, 30, 40]);
    assert.deepEqual(offsets(cache, 0, 10, 250), [10, 20]);
    assert.deepEqual(offsets(cache, 0, 10, 1), [10]);
    assert.deepEqual(offsets(cache, 0, 50), []);
    assert.deepEqual(offsets(cache, 1, 0), []);
  });

  it("holds no more than its limit: the oldest batches of all partitions go first", () => {
    const cache = new TailCache(400);
    add(cache, 0, 0);
    add(cache, 1, 0);
    add(cache, 0, 10);
    add(cache, 1, 10);
    add(cache, 1, 20);
    assert.equal(cache.bytes, 400);
    assert.deepEqual(
      offsets(cache, 0, 0),
      [],
      "an offset that is gone is not answered by a later one",
    );
    assert.deepEqual(offsets(cache, 0, 10), [10]);
    assert.deepEqual(offsets(cache, 1, 0), [0, 10, 20]);
    add(cache, 1, 30, 350);
    assert.ok(cache.bytes <= 400);
    assert.deepEqual(offsets(cache, 1, 30), [30]);
  });

  it("begins anew after a hole, and when the partition was dropped", () => {
    const cache = new TailCache(1_000);
    add(cache, 0, 0);
    add(cache, 0, 50);
    assert.deepEqual(offsets(cache, 0, 0), []);
    assert.deepEqual(offsets(cache, 0, 50), [50]);
    cache.drop("t", 0);
    assert.equal(cache.bytes, 0);
    add(cache, 0, 90);
    assert.deepEqual(offsets(cache, 0, 90), [90]);
  });

  it("keeps its count right over many evictions and drops", () => {
    const cache = new TailCache(5_000);
    for (let i = 0; i < 2_000; i++) {
      add(cache, i % 7, Math.floor(i / 7) * 10, 50 + (i % 90));
      if (i % 331 === 0) cache.drop("t", i % 5);
      assert.ok(cache.bytes <= 5_000 && cache.bytes >= 0);
    }
    for (let i = 0; i < 7; i++) cache.drop("t", i);
    assert.equal(cache.bytes, 0);
  });

  it("lets thousands of partitions go at once, as when a run is lost, and keeps its limit for those that come back", () => {
    const cache = new TailCache(4_000_000);
    const fill = (from: number) => {
      for (let i = 0; i < 12; i++) {
        for (let partition = 0; partition < 5_000; partition++)
          add(cache, partition, from + i * 10);
      }
    };
    fill(0);
    // Looking through all that is kept for each of them took minutes, in which the agent's next run was lost, too.
    for (let partition = 0; partition < 5_000; partition += 2) cache.drop("t", partition);
    assert.deepEqual(offsets(cache, 2, 0), []);
    assert.deepEqual(offsets(cache, 1, 110), [110]);
    fill(120);
    assert.ok(cache.bytes <= 4_000_000);
    assert.deepEqual(offsets(cache, 2, 230), [230]);
    for (let partition = 0; partition < 5_000; partition++) cache.drop("t", partition);
    assert.equal(cache.bytes, 0);
  });

  it("of size 0 holds nothing", () => {
    const cache = new TailCache(0);
    add(cache, 0, 0);
    assert.deepEqual(offsets(cache, 0, 0), []);
  });
});
