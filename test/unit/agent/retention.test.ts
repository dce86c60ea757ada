import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SegmentReferences } from "../../../src/agent/segment-references.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { withFaults } from "../../fault/faulty-metadata.ts";
import {
  createTopic,
  failureOf,
  fetchRaw,
  memoryMetadata,
  readAll,
  seededRandom,
  send,
  sendAndWait,
  startAgent,
} from "./bench-agent.ts";
import { MemoryStore, TestSink } from "./memory-store.ts";

describe("retention", () => {
  it("deletes by append time: log start, flushes and objects, and nothing younger", async () => {
    const bench = await startAgent({ agent: { retentionCheckMs: 1_000, deleteGraceMs: 0 } });
    const topicId = await createTopic(bench, "t", { retentionMs: 10_000 });
    await sendAndWait(bench, "t", ["old"]);
    await bench.clock.run(6_000);
    await sendAndWait(bench, "t", ["young"]);
    assert.equal(bench.store.objects.size, 2);
    await bench.clock.run(6_000);
    assert.equal(bench.store.objects.size, 1);
    assert.equal((await bench.metadata.listFlushes(0, 10)).length, 1);
    const data = await fetchRaw(bench, topicId, 1);
    assert.equal(data.logStartOffset, 1);
    assert.equal(data.batches.length, 1);
    await bench.clock.until(bench.agent.stop());
  });

  it("keeps a file that holds a chunk somebody can still read, and the file that is being written", async () => {
    const store = new MemoryStore();
    const sink = new TestSink(store, { file: "segments/shared.seg" });
    const bench = await startAgent({
      store,
      sink,
      agent: { retentionCheckMs: 1_000, deleteGraceMs: 0 },
    });
    const shortId = await createTopic(bench, "short", { retentionMs: 2_000 });
    const longId = await createTopic(bench, "long");
    await sendAndWait(bench, "short", ["a"]);
    await sendAndWait(bench, "long", ["b"]);
    await bench.clock.run(5_000);
    assert.equal((await fetchRaw(bench, shortId, 1)).logStartOffset, 1);
    assert.equal(store.objects.size, 1);
    assert.deepEqual(await readAll(bench, longId), ["b"]);
    // Nothing in it can be read any more, but the next chunk goes there too.
    await bench.clock.until(bench.agent.api.deleteTopic({ name: "long" }, {}));
    await bench.clock.run(2_000);
    assert.equal(store.objects.size, 1);
    assert.equal(await sendAndWait(bench, "short", ["c"]), 1);
    assert.equal((await fetchRaw(bench, shortId, 1)).batches.length, 1);
    await bench.clock.until(bench.agent.stop());
  });

  it("of 0 keeps everything", async () => {
    const bench = await startAgent({ agent: { retentionCheckMs: 1_000, deleteGraceMs: 0 } });
    const topicId = await createTopic(bench, "t");
    await sendAndWait(bench, "t", ["a"]);
    await bench.clock.run(100_000);
    assert.deepEqual(await readAll(bench, topicId), ["a"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("deletes the objects of a deleted topic", async () => {
    const bench = await startAgent({ agent: { retentionCheckMs: 1_000, deleteGraceMs: 0 } });
    await createTopic(bench, "t");
    await createTopic(bench, "u");
    await sendAndWait(bench, "t", ["a"]);
    await sendAndWait(bench, "u", ["b"]);
    await bench.clock.until(bench.agent.api.deleteTopic({ name: "t" }, {}));
    await bench.clock.run(1_100);
    assert.equal(bench.store.objects.size, 1);
    const gone = await failureOf(bench.agent.api.deleteTopic({ name: "t" }, {}));
    assert.equal(gone.code, "TOPIC_NOT_FOUND");
    await bench.clock.until(bench.agent.stop());
  });
});

describe("objects that nothing refers to", () => {
  it("wait for those who may be reading them, then go", async () => {
    const bench = await startAgent({ agent: { retentionCheckMs: 1_000, deleteGraceMs: 60_000 } });
    await createTopic(bench, "t", { retentionMs: 10_000 });
    await sendAndWait(bench, "t", ["a"]);
    await sendAndWait(bench, "t", ["b"]);
    await bench.clock.run(12_000);
    assert.deepEqual(await bench.metadata.listFlushes(0, 10), []);
    assert.equal(bench.store.objects.size, 2);
    await bench.clock.run(57_000);
    assert.equal(bench.store.objects.size, 2);
    await bench.clock.run(5_000);
    // The newest one may be a file that goes on growing.
    assert.equal(bench.store.objects.size, 1);
    await bench.clock.until(bench.agent.stop());
  });

  it("are deleted by the next agent when one ended between forgetting and deleting", async () => {
    const clock = new ManualClock();
    const metadata = memoryMetadata(clock);
    const store = new MemoryStore();
    const agent = { retentionCheckMs: 1_000, deleteGraceMs: 60_000 };
    const first = await startAgent({ clock, metadata, store, agent });
    await createTopic(first, "t", { retentionMs: 10_000 });
    for (const value of ["a", "b", "c"]) await sendAndWait(first, "t", [value]);
    await clock.run(12_000);
    await clock.until(first.agent.stop());
    assert.equal(store.objects.size, 3);
    const sink = new TestSink(store);
    const second = await startAgent({
      clock,
      metadata,
      store,
      sink,
      agent,
      random: seededRandom(2),
    });
    await clock.run(62_000);
    assert.equal(store.objects.size, 0);
    assert.deepEqual(await metadata.listDoomed(0, 10), []);
    await clock.until(second.agent.stop());
  });

  it("are deleted though they were written for nothing, unless a commit found its way", async () => {
    const clock = new ManualClock();
    const { metadata, faults } = withFaults(memoryMetadata(clock));
    const agent = { retentionCheckMs: 1_000, deleteGraceMs: 0, flushTimeLimitMs: 1_000 };
    const bench = await startAgent({ clock, metadata, agent });
    await createTopic(bench, "t");
    faults.down = true;
    const failing = send(bench, "t", ["a"]);
    await clock.run(3_000);
    await failureOf(failing);
    faults.down = false;
    assert.equal(bench.store.objects.size, 1);
    await clock.run(12_000);
    await sendAndWait(bench, "t", ["b"]);
    await clock.run(3_000);
    assert.equal(bench.store.objects.size, 1);
    await clock.until(bench.agent.stop());
  });
});

describe("references to segments", () => {
  it("are counted: an object is in use until its last chunk is settled, and while it is the newest", () => {
    const segments = new SegmentReferences();
    segments.written("a");
    segments.retain("a");
    segments.retain("a");
    segments.release("a");
    assert.equal(segments.isInUse("a"), true);
    segments.release("a");
    assert.equal(segments.isInUse("a"), true, "it is the newest: more may be written to it");
    segments.written("b");
    assert.equal(segments.isInUse("a"), false);
    assert.equal(segments.isInUse("b"), true);
  });

  it("know objects that were written for nothing, each once, but never one with a commit", () => {
    const segments = new SegmentReferences();
    for (const key of ["committed", "abandoned", "again"]) {
      segments.retain(key);
      if (key === "committed") segments.committed(key);
      segments.release(key);
    }
    segments.retain("again");
    assert.deepEqual(segments.takeAbandoned(), ["abandoned"]);
    assert.deepEqual(segments.takeAbandoned(), []);
    segments.giveBack(["abandoned", "again"]);
    assert.deepEqual(segments.takeAbandoned(), ["abandoned"]);
  });
});
