import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SegmentReferences } from "../../../src/agent/segment-references.ts";
import {
  createTopic,
  failureOf,
  fetchRaw,
  readAll,
  sendAndWait,
  startAgent,
} from "./bench-agent.ts";
import { MemoryStore, TestSink } from "./memory-store.ts";

describe("retention", () => {
  it("deletes by append time: log start, flushes and objects, and nothing younger", async () => {
    const bench = await startAgent({ agent: { retentionCheckMs: 1_000 } });
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
    const bench = await startAgent({ store, sink, agent: { retentionCheckMs: 1_000 } });
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
    const bench = await startAgent({ agent: { retentionCheckMs: 1_000 } });
    const topicId = await createTopic(bench, "t");
    await sendAndWait(bench, "t", ["a"]);
    await bench.clock.run(100_000);
    assert.deepEqual(await readAll(bench, topicId), ["a"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("deletes the objects of a deleted topic", async () => {
    const bench = await startAgent({ agent: { retentionCheckMs: 1_000 } });
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

describe("references to segments", () => {
  it("are counted: an object is unneeded once, when the last chunk in it is dead", () => {
    const segments = new SegmentReferences();
    segments.written("a");
    segments.retain("a");
    segments.retain("a");
    segments.release("a");
    assert.deepEqual(segments.takeUnneeded(), []);
    segments.release("a");
    assert.deepEqual(segments.takeUnneeded(), [], "it is the newest: more may be written to it");
    segments.written("b");
    assert.deepEqual(segments.takeUnneeded(), ["a"]);
    assert.deepEqual(segments.takeUnneeded(), []);
    segments.giveBack(["a"]);
    assert.deepEqual(segments.takeUnneeded(), ["a"]);
  });

  it("that come back keep the object", () => {
    const segments = new SegmentReferences();
    segments.retain("a");
    segments.release("a");
    segments.retain("a");
    assert.deepEqual(segments.takeUnneeded(), []);
  });
});
