/** What becomes of accepted batches when the object store fails. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  createTopic,
  eventually,
  failureOf,
  readAll,
  send,
  sendAndWait,
  startAgent,
} from "../unit/agent/bench-agent.ts";
import { MemoryStore, TestSink } from "../unit/agent/memory-store.ts";

const stamp = (baseSequence: number) => ({ producerId: 1, producerEpoch: 0, baseSequence });

describe("a write or sync error", () => {
  it("is survived: the batches are written again under a new flush sequence, and acknowledged once", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    bench.sink.fates.push("fail", "fail");
    const first = send(bench, "t", ["a"]);
    const second = send(bench, "t", ["b"]);
    assert.equal((await bench.clock.until(first)).baseOffset, 0);
    assert.equal((await bench.clock.until(second)).baseOffset, 1);
    assert.deepEqual(bench.sink.sequences, [1, 2, 3], "no sequence is used twice");
    assert.deepEqual(await readAll(bench, topicId), ["a", "b"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("with later flushes sealed leaves no hole: they are sealed again, in order, with new offsets", async () => {
    const store = new MemoryStore();
    const sink = new TestSink(store, { concurrency: 4 });
    const bench = await startAgent({ store, sink, agent: { flushBytes: 1 } });
    const topicId = await createTopic(bench, "t");
    sink.fates.push("hold", "ok", "ok");
    const answers = [];
    for (const value of ["a", "b", "c"]) {
      answers.push(send(bench, "t", [value, `${value}2`]));
      await eventually(() => sink.sequences.length === answers.length, "the flush was sealed");
    }
    // The first one's write fails while the later two lie written behind it.
    const held = Promise.all(answers);
    sink.failHeld();
    const results = await bench.clock.until(held, 60_000);
    assert.deepEqual(
      results.map((it) => it.baseOffset),
      [0, 2, 4],
    );
    assert.deepEqual(await readAll(bench, topicId), ["a", "a2", "b", "b2", "c", "c2"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("because of a key that is taken, by whatever, is survived too: the batches are written under another one", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    bench.sink.fates.push("taken", "taken");
    assert.equal(await sendAndWait(bench, "t", ["a"]), 0);
    assert.deepEqual(bench.sink.sequences, [1, 2, 3]);
    assert.deepEqual(await readAll(bench, topicId), ["a"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("that lasts ends after the flush's time limit: outcome none, and nothing of it is ever served", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    for (let i = 0; i < 100; i++) bench.sink.fates.push("fail");
    const error = await failureOf(bench.clock.until(send(bench, "t", ["a"])));
    assert.equal(error.code, "STORE_UNAVAILABLE");
    assert.equal(error.outcome, "none");
    assert.equal(error.retriable, true);
    assert.ok(bench.clock.monotonic() >= 10_000 && bench.clock.monotonic() < 12_000);
    assert.ok(bench.agent.status().storeDownForMs > 0, "readiness knows");
    bench.sink.fates.length = 0;
    assert.equal(await sendAndWait(bench, "t", ["b"]), 0);
    assert.equal(bench.agent.status().storeDownForMs, 0);
    assert.deepEqual(await readAll(bench, topicId), ["b"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("fails a producer's later batches with the lost one, so that no sequence is skipped", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    bench.sink.fates.push("hold");
    const lost = send(bench, "t", ["a"], { stamp: stamp(0) });
    await eventually(() => bench.sink.held === 1, "the first flush is being written");
    const follower = send(bench, "t", ["b"], { stamp: stamp(1) });
    bench.sink.failHeld("STORE_FULL");
    assert.equal((await failureOf(lost)).code, "STORE_FULL");
    const gap = await failureOf(follower);
    assert.equal(gap.code, "SEQUENCE_GAP");
    assert.equal(gap.retriable, true);
    assert.equal(gap.outcome, "none");
    // Rolled back: the same two are accepted again.
    assert.equal(await sendAndWait(bench, "t", ["a"], { stamp: stamp(0) }), 0);
    assert.equal(await sendAndWait(bench, "t", ["b"], { stamp: stamp(1) }), 1);
    assert.deepEqual(await readAll(bench, topicId), ["a", "b"]);
    await bench.clock.until(bench.agent.stop());
  });
});

describe("a full disk", () => {
  it("fails the batches at once, as STORE_FULL and not applied", async () => {
    const bench = await startAgent();
    await createTopic(bench, "t");
    bench.sink.fates.push("full");
    const error = await failureOf(send(bench, "t", ["a"]));
    assert.equal(error.code, "STORE_FULL");
    assert.equal(error.outcome, "none");
    assert.equal(await sendAndWait(bench, "t", ["b"]), 0);
    await bench.clock.until(bench.agent.stop());
  });
});

describe("a store that never answers", () => {
  it("costs a batch its time limit and not more, and is asked to give up", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    bench.sink.fates.push("hold");
    const error = await failureOf(bench.clock.until(send(bench, "t", ["a"])));
    assert.equal(error.code, "STORE_UNAVAILABLE");
    assert.equal(error.outcome, "none");
    assert.equal(await sendAndWait(bench, "t", ["b"]), 0);
    assert.deepEqual(await readAll(bench, topicId), ["b"]);
    await bench.clock.until(bench.agent.stop());
  });
});
