/**
 * An object that the sweeper gave up before its flush was committed, because its clock is wrong or the commit took very long: the chunk is
 * written again under another key, and whoever waits notices nothing.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../../src/testing/manual-clock.ts";
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
import { withFaults } from "./faulty-metadata.ts";

const stamp = (baseSequence: number) => ({ producerId: 1, producerEpoch: 0, baseSequence });

async function start(concurrency = 1) {
  const clock = new ManualClock();
  const inner = memoryMetadata(clock);
  const { metadata, faults } = withFaults(inner);
  const store = new MemoryStore();
  const sink = new TestSink(store, { concurrency });
  const bench = await startAgent({ clock, metadata, store, sink, agent: { flushBytes: 1 } });
  const topicId = await createTopic(bench, "t", { partitions: 2 });
  /** As a sweeper does it: gives the keys up, and deletes what nobody refers to. */
  const sweep = async (): Promise<string[]> => {
    const swept = await inner.sweepKeys([...store.objects.keys()]);
    await store.delete(swept);
    return [...swept];
  };
  return { bench, faults, inner, store, sink, topicId, sweep };
}

describe("an object that was swept before its flush was committed", () => {
  it("is written again under another key: the batch is acknowledged once, and is there", async () => {
    const { bench, faults, inner, store, sink, topicId, sweep } = await start();
    faults.next.commitFlush = ["hold"];
    const sent = send(bench, "t", ["a"], { stamp: stamp(0) });
    await eventually(() => faults.held === 1, "the commit is on its way");
    const swept = await sweep();
    assert.equal(swept.length, 1);
    faults.release();
    assert.equal((await bench.clock.until(sent)).baseOffset, 0);
    assert.deepEqual(sink.sequences, [1, 2], "no sequence is used twice");
    const flushes = await inner.listFlushes(0, 10);
    assert.equal(flushes.length, 1);
    assert.ok(flushes[0] && !swept.includes(flushes[0].location.key), "another key");
    assert.ok(store.objects.has(flushes[0].location.key));
    assert.deepEqual(await readAll(bench, topicId), ["a"]);
    const again = await bench.clock.until(send(bench, "t", ["a"], { stamp: stamp(0) }));
    assert.deepEqual([again.baseOffset, again.duplicate], [0, true]);
    await bench.clock.until(bench.agent.stop());
  });

  it("takes those sealed behind it along, in order, without a hole", async () => {
    const { bench, faults, sink, topicId, sweep } = await start(4);
    faults.next.commitFlush = ["hold"];
    const sent = [];
    for (const [i, value] of ["a", "b", "c"].entries()) {
      sent.push(send(bench, "t", [value, `${value}2`], { stamp: stamp(2 * i) }));
      await eventually(() => sink.sequences.length === sent.length, "the flush was sealed");
    }
    await eventually(() => faults.held === 1, "the commit is on its way");
    // All three are given up: the later ones are written and wait for their turn.
    assert.equal((await sweep()).length, 3);
    faults.release();
    const results = await bench.clock.until(Promise.all(sent), 60_000);
    assert.deepEqual(
      results.map((it) => it.baseOffset),
      [0, 2, 4],
    );
    assert.deepEqual(await readAll(bench, topicId), ["a", "a2", "b", "b2", "c", "c2"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("again and again ends with the flush's time limit: outcome none, and the agent goes on under the same run", async () => {
    const { bench, faults, topicId, sweep } = await start();
    const before = bench.agent.runId;
    const lost = failureOf(send(bench, "t", ["a"], { stamp: stamp(0), timeoutMs: 60_000 }));
    let isOver = false;
    void lost.then(() => {
      isOver = true;
    });
    for (let i = 0; i < 2_000 && !isOver; i++) {
      faults.next.commitFlush = ["hold"];
      await bench.clock.run(10);
      await sweep();
      faults.release();
    }
    const error = await lost;
    assert.deepEqual([error.code, error.outcome], ["STORE_UNAVAILABLE", "none"]);
    faults.next.commitFlush = [];
    assert.equal(await sendAndWait(bench, "t", ["b"], { stamp: stamp(0) }), 0);
    assert.equal(bench.agent.runId, before);
    assert.deepEqual(await readAll(bench, topicId), ["b"]);
    await bench.clock.until(bench.agent.stop());
  });
});
