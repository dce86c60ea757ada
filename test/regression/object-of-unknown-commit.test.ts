/**
 * Broke: an acknowledged record was lost. Its flush was committed and the answer did not come back; the agent began a new run, and
 * retention deleted the object before the new run saw the flush in metadata. The producer, which sent the batch again, was told
 * that it is there already.
 * Why: a flush whose outcome is unknown gave its object up as if it were certain that nothing refers to it.
 * Cure: the object of such a flush is kept. At worst a few bytes stay that nobody needs.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { withFaults } from "../fault/faulty-metadata.ts";
import {
  createTopic,
  eventually,
  failureOf,
  memoryMetadata,
  readAll,
  send,
  sendAndWait,
  startAgent,
} from "../unit/agent/bench-agent.ts";
import { MemoryStore, TestSink } from "../unit/agent/memory-store.ts";

describe("the object of a flush whose commit has an unknown outcome", () => {
  it("is not deleted, since the flush may be committed", async () => {
    const clock = new ManualClock();
    const { metadata, faults } = withFaults(memoryMetadata(clock));
    const store = new MemoryStore();
    const bench = await startAgent({
      ...{ clock, metadata, store, sink: new TestSink(store, { concurrency: 2 }) },
      agent: { retentionCheckMs: 100, tailCacheBytesMax: 0, flushAgeMs: 0 },
    });
    const topicId = await createTopic(bench, "t");
    const stamp = { producerId: 7, producerEpoch: 0, baseSequence: 0 };
    faults.next.commitFlush = ["applied"];
    faults.next.resolveFlush = ["none", "none"];
    const first = send(bench, "t", ["a"], { stamp, timeoutMs: 60_000 });
    await eventually(() => faults.calls.includes("resolveFlush"), "its commit is in doubt");
    faults.down = true;
    // Another object is written after it.
    const other = send(bench, "t", ["b"], { timeoutMs: 60_000 });
    await eventually(() => store.objects.size === 2, "the second flush is written");
    await clock.run(30_000);
    assert.equal((await failureOf(first)).outcome, "unknown");
    await failureOf(other);
    faults.down = false;
    await clock.run(10_000);
    assert.equal(bench.agent.hasActiveLeases(), true);
    assert.equal(await sendAndWait(bench, "t", ["a"], { stamp }), 0, "it is there already");
    assert.deepEqual(await readAll(bench, topicId), ["a"]);
    await clock.until(bench.agent.stop());
  });
});
