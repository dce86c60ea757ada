import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { BenchAgent } from "./bench-agent.ts";
import {
  createTopic,
  eventually,
  failureOf,
  fetchRaw,
  fetchValues,
  readAll,
  send,
  sendAndWait,
  startAgent,
} from "./bench-agent.ts";
import { MemoryStore, TestSink } from "./memory-store.ts";

async function stop(bench: BenchAgent): Promise<void> {
  await bench.clock.until(bench.agent.stop());
  assert.equal(bench.clock.pending, 0);
}

/** An agent without caches: everything is read from the store. */
const uncached = { tailCacheBytesMax: 0, readCacheBytesMax: 0 };

describe("a fetch", () => {
  it("answers the same from the tail cache and from the store", async () => {
    for (const agent of [{}, uncached, { tailCacheBytesMax: 0 }]) {
      const bench = await startAgent({ agent });
      const topicId = await createTopic(bench, "t");
      await sendAndWait(bench, "t", ["a", "b", "c"]);
      await sendAndWait(bench, "t", ["d"]);
      assert.deepEqual(await readAll(bench, topicId), ["a", "b", "c", "d"]);
      // Batches are whole: one that begins below the offset is sent if it holds it.
      const data = await fetchRaw(bench, topicId, 1);
      assert.ok(data.batches.length >= 1);
      assert.deepEqual(await fetchValues(bench, topicId, 3), [[3, "d"]]);
      assert.equal(data.highWatermark, 4);
      assert.equal(data.logStartOffset, 0);
      assert.ok((data.batches[0]?.appendTimeMs ?? 0) > 0);
      assert.equal(bench.store.gets > 0, agent !== undefined && "tailCacheBytesMax" in agent);
      await stop(bench);
    }
  });

  it("at the tail waits for the next commit, and is woken by it", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    const waiting = fetchValues(bench, topicId, 0, { maxWaitMs: 10_000 });
    await bench.clock.run(500);
    await sendAndWait(bench, "t", ["a"]);
    assert.deepEqual(await waiting, [[0, "a"]]);
    assert.ok(bench.clock.monotonic() < 5_000);
    await stop(bench);
  });

  it("waits for min_bytes, and answers with less when its time is up", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    const waiting = fetchValues(bench, topicId, 0, { maxWaitMs: 2_000, minBytes: 5_000 });
    let answered = false;
    void waiting.then(() => {
      answered = true;
    });
    await sendAndWait(bench, "t", ["a"]);
    await bench.clock.run(1_000);
    assert.equal(answered, false);
    await bench.clock.run(1_100);
    assert.deepEqual(await waiting, [[0, "a"]]);
    await stop(bench);
  });

  it("beyond the high watermark waits and is never out of range", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    await sendAndWait(bench, "t", ["a"]);
    const waiting = fetchRaw(bench, topicId, 7, { maxWaitMs: 300 });
    await bench.clock.run(400);
    const data = await waiting;
    assert.equal(data.error, undefined);
    assert.equal(data.highWatermark, 1);
    assert.deepEqual(data.batches, []);
    await stop(bench);
  });

  it("never sees what is sealed and not committed", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    bench.sink.fates.push("hold");
    const answer = send(bench, "t", ["a"]);
    await eventually(() => bench.sink.held === 1, "the flush is being written");
    const data = await fetchRaw(bench, topicId, 0);
    assert.equal(data.highWatermark, 0);
    assert.deepEqual(data.batches, []);
    bench.sink.release();
    await bench.clock.until(answer);
    await stop(bench);
  });

  it("keeps to max_bytes, but sends the first batch whatever its size", async () => {
    for (const agent of [{}, uncached]) {
      const bench = await startAgent({ agent });
      const topicId = await createTopic(bench, "t");
      for (let i = 0; i < 4; i++) await sendAndWait(bench, "t", ["x".repeat(1_000)]);
      const sizes = async (maxBytes: number) =>
        (await fetchRaw(bench, topicId, 0, { maxBytes })).batches.length;
      assert.equal(await sizes(1), 1);
      assert.equal(await sizes(2_500), 2);
      assert.equal(await sizes(1_000_000), 4);
      await stop(bench);
    }
  });

  it("given up by its caller leaves nothing behind", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    const timers = bench.clock.pending;
    const gone = new AbortController();
    const waiting = fetchRaw(bench, topicId, 0, { maxWaitMs: 30_000, signal: gone.signal });
    await bench.clock.run(1);
    assert.equal(bench.clock.pending, timers + 1);
    gone.abort();
    assert.equal((await failureOf(waiting)).code, "ABORTED");
    assert.equal(bench.clock.pending, timers);
    await stop(bench);
  });

  it("of several partitions gives each its turn to come first", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t", { partitions: 2 });
    await sendAndWait(bench, "t", ["a".repeat(500)], { partition: 0 });
    await sendAndWait(bench, "t", ["b".repeat(500)], { partition: 1 });
    const filled = new Set<number>();
    for (let i = 0; i < 2; i++) {
      const { partitions } = await bench.agent.api.fetch(
        {
          partitions: [0, 1].map((partition) => ({ topicId, partition, offset: 0, maxBytes: 0 })),
          ...{ maxWaitMs: 0, minBytes: 1, maxBytes: 100, group: "", memberId: "", memberEpoch: 0 },
        },
        {},
      );
      for (const it of partitions) if (it.batches.length > 0) filled.add(it.partition);
    }
    assert.deepEqual([...filled].sort(), [0, 1]);
    await stop(bench);
  });
});

describe("a fetch of something that is not there", () => {
  it("is answered for the partition: unknown topic, partition out of range", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    const unknown = await bench.clock.until(fetchRaw(bench, "no-such-id", 0));
    assert.equal(unknown.error?.code, "TOPIC_NOT_FOUND");
    const beyond = await fetchRaw(bench, topicId, 0, { partition: 3 });
    assert.equal(beyond.error?.code, "PARTITION_OUT_OF_RANGE");
    await stop(bench);
  });

  it("below the log start is out of range, with the offsets that can be read", async () => {
    const bench = await startAgent({ agent: { retentionCheckMs: 1_000 } });
    const topicId = await createTopic(bench, "t", { retentionMs: 5_000 });
    await sendAndWait(bench, "t", ["a"]);
    await bench.clock.run(7_000);
    const data = await bench.clock.until(fetchRaw(bench, topicId, 0));
    assert.equal(data.error?.code, "OFFSET_OUT_OF_RANGE");
    assert.match(data.error?.message ?? "", /offsets 1 to 1/);
    await stop(bench);
  });

  it("says out of range only after metadata did: another agent's retention is seen at once", async () => {
    const bench = await startAgent({ agent: uncached });
    const topicId = await createTopic(bench, "t");
    await sendAndWait(bench, "t", ["a"]);
    await sendAndWait(bench, "t", ["b"]);
    // Behind this agent's back: the log start rises, the object is deleted.
    await bench.metadata.advanceLogStart([{ topicId, partition: 0, logStartOffset: 1 }]);
    const [first] = bench.store.objects.keys();
    await bench.store.delete([first ?? ""]);
    const data = await fetchRaw(bench, topicId, 0);
    assert.equal(data.error?.code, "OFFSET_OUT_OF_RANGE");
    assert.deepEqual(await fetchValues(bench, topicId, 1), [[1, "b"]]);
    await stop(bench);
  });

  it("whose object is missing or damaged is corrupt, not empty", async () => {
    const bench = await startAgent({ agent: uncached });
    const topicId = await createTopic(bench, "t");
    await sendAndWait(bench, "t", ["a"]);
    const [key = ""] = bench.store.objects.keys();
    const bytes = bench.store.objects.get(key) ?? new Uint8Array(0);
    bench.store.objects.set(key, new Uint8Array(bytes.length));
    assert.equal((await fetchRaw(bench, topicId, 0)).error?.code, "CORRUPT_SEGMENT");
    bench.store.objects.delete(key);
    const missing = await fetchRaw(bench, topicId, 0);
    assert.equal(missing.error?.code, "CORRUPT_SEGMENT");
    assert.equal(missing.error?.kind, "corrupt");
    await stop(bench);
  });
});

describe("reading a backlog", () => {
  it("takes one read for neighbours in one file, not one for each flush", async () => {
    const store = new MemoryStore();
    const sink = new TestSink(store, { file: "segments/one.seg" });
    const bench = await startAgent({ store, sink, agent: { tailCacheBytesMax: 0 } });
    const topicId = await createTopic(bench, "t");
    for (let i = 0; i < 50; i++) await sendAndWait(bench, "t", [`v${i}`]);
    assert.equal((await readAll(bench, topicId)).length, 50);
    assert.ok(store.gets <= 2, `${store.gets} reads`);
    await stop(bench);
  });

  it("shares one read between consumers that ask at the same time", async () => {
    const bench = await startAgent({ agent: { tailCacheBytesMax: 0 } });
    const topicId = await createTopic(bench, "t");
    await sendAndWait(bench, "t", ["a"]);
    await Promise.all(Array.from({ length: 10 }, () => fetchValues(bench, topicId, 0)));
    assert.equal(bench.store.gets, 1);
    await stop(bench);
  });
});

describe("list offsets", () => {
  it("knows the earliest, the latest, and the first batch at or after a time", async () => {
    const bench = await startAgent({ agent: uncached });
    const topicId = await createTopic(bench, "t");
    const t0 = bench.clock.now();
    await sendAndWait(bench, "t", ["a", "b"], { timestamp: t0 });
    await sendAndWait(bench, "t", ["c"], { timestamp: t0 + 100 });
    await sendAndWait(bench, "t", ["d"], { timestamp: t0 + 50 });
    const offset = async (timestampMs: number) => {
      const request = { partitions: [{ topicId, partition: 0, timestampMs }] };
      const { offsets } = await bench.agent.api.listOffsets(request, {});
      assert.equal(offsets[0]?.error, undefined);
      return offsets[0]?.offset;
    };
    assert.equal(await offset(-1), 4);
    assert.equal(await offset(-2), 0);
    assert.equal(await offset(t0), 0);
    assert.equal(await offset(t0 + 1), 2);
    assert.equal(await offset(t0 + 100), 2);
    assert.equal(await offset(t0 + 101), 4);
    const unknown = await bench.clock.until(
      bench.agent.api.listOffsets(
        { partitions: [{ topicId: "x", partition: 0, timestampMs: -1 }] },
        {},
      ),
    );
    assert.equal(unknown.offsets[0]?.error?.code, "TOPIC_NOT_FOUND");
    await stop(bench);
  });
});
