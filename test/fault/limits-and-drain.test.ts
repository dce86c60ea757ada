/** Deadlines, back-pressure, draining: what a caller is told when the agent does not have time, room or a future. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Acks } from "../../src/rpc/gen/streamhouse/v1/producer.ts";
import {
  createTopic,
  eventually,
  failureOf,
  fetchRaw,
  readAll,
  send,
  sendAndWait,
  startAgent,
} from "../unit/agent/bench-agent.ts";

const stamp = (baseSequence: number) => ({ producerId: 1, producerEpoch: 0, baseSequence });

describe("a caller whose deadline ends", () => {
  it("before the seal is told that nothing was applied, and that is so", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    bench.sink.fates.push("hold");
    const first = send(bench, "t", ["a"]);
    await eventually(() => bench.sink.held === 1, "the first flush is being written");
    const late = send(bench, "t", ["b"], { timeoutMs: 100 });
    await bench.clock.run(150);
    const error = await failureOf(late);
    assert.equal(error.code, "DEADLINE_EXCEEDED");
    assert.equal(error.outcome, "none");
    bench.sink.release();
    assert.equal((await bench.clock.until(first)).baseOffset, 0);
    assert.equal(await sendAndWait(bench, "t", ["c"]), 1);
    assert.deepEqual(await readAll(bench, topicId), ["a", "c"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("after the seal is told that the outcome is unknown, and the batch goes its way", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    bench.sink.fates.push("hold");
    const late = send(bench, "t", ["a"], { timeoutMs: 100, stamp: stamp(0) });
    await bench.clock.run(150);
    const error = await failureOf(late);
    assert.equal(error.code, "DEADLINE_EXCEEDED");
    assert.equal(error.outcome, "unknown");
    bench.sink.release();
    const again = await bench.clock.until(send(bench, "t", ["a"], { stamp: stamp(0) }));
    assert.equal(again.baseOffset, 0);
    assert.equal(again.duplicate, true);
    assert.deepEqual(await readAll(bench, topicId), ["a"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("takes its producer's later batches with it, which could not follow any more", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    bench.sink.fates.push("hold");
    const first = send(bench, "t", ["a"]);
    await eventually(() => bench.sink.held === 1, "the first flush is being written");
    const late = send(bench, "t", ["b"], { timeoutMs: 100, stamp: stamp(0) });
    const follower = send(bench, "t", ["c"], { stamp: stamp(1) });
    await bench.clock.run(150);
    assert.equal((await failureOf(late)).code, "DEADLINE_EXCEEDED");
    const error = await failureOf(follower);
    assert.equal(error.code, "SEQUENCE_GAP");
    assert.equal(error.outcome, "none");
    bench.sink.release();
    await bench.clock.until(first);
    assert.deepEqual(await readAll(bench, topicId), ["a"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("or who goes away takes back what was not sealed", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    bench.sink.fates.push("hold");
    const first = send(bench, "t", ["a"]);
    await eventually(() => bench.sink.held === 1, "the first flush is being written");
    const gone = new AbortController();
    const second = send(bench, "t", ["b"], { signal: gone.signal });
    await bench.clock.run(1);
    gone.abort();
    assert.equal((await failureOf(second)).outcome, "none");
    bench.sink.release();
    await bench.clock.until(first);
    assert.deepEqual(await readAll(bench, topicId), ["a"]);
    await bench.clock.until(bench.agent.stop());
  });
});

describe("an agent whose buffer is full", () => {
  it("refuses a request whole, says when to come back, and takes it when there is room", async () => {
    const bench = await startAgent({ agent: { bufferBytesMax: 100_000 } });
    const topicId = await createTopic(bench, "t");
    bench.sink.fates.push("hold");
    const big = "x".repeat(40_000);
    const first = send(bench, "t", [big]);
    await eventually(() => bench.sink.held === 1, "the first flush is being written");
    const refused = await failureOf(send(bench, "t", [big]));
    assert.equal(refused.code, "OVERLOADED");
    assert.equal(refused.retriable, true);
    assert.ok((refused.retryAfterMs ?? 0) > 0);
    bench.sink.release();
    await bench.clock.until(first);
    assert.equal(await sendAndWait(bench, "t", [big]), 1);
    assert.equal((await readAll(bench, topicId)).length, 2);
    await bench.clock.until(bench.agent.stop());
  });
});

describe("an agent that drains in the middle of a flush", () => {
  it("commits everything it accepted, refuses the rest as not applied, and lets go of its leases last", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    bench.sink.fates.push("hold");
    const first = send(bench, "t", ["a"]);
    await eventually(() => bench.sink.held === 1, "the first flush is being written");
    const buffered = send(bench, "t", ["b"]);
    const unanswered = await send(bench, "t", ["c"], { acks: Acks.ACKS_BUFFERED });
    assert.equal(unanswered.baseOffset, -1);
    const drained = bench.agent.drain();
    await bench.clock.run(1);
    const refused = await failureOf(send(bench, "t", ["d"]));
    assert.equal(refused.code, "AGENT_DRAINING");
    assert.equal(refused.outcome, "none");
    assert.equal(bench.agent.status().phase, "draining");
    assert.equal(bench.agent.hasActiveLeases(), true, "nobody else may write before this is done");
    bench.sink.release();
    await bench.clock.until(drained);
    assert.equal((await first).baseOffset, 0);
    assert.equal((await buffered).baseOffset, 1);
    assert.equal(bench.agent.hasActiveLeases(), false);
    assert.deepEqual(await bench.metadata.listLeases(), []);
    assert.deepEqual(await readAll(bench, topicId), ["a", "b", "c"], "reads go on");
    await bench.clock.until(bench.agent.stop());
    assert.deepEqual(await bench.metadata.listRuns(), []);
    assert.equal(bench.clock.pending, 0, "nothing runs after stop");
  });

  it("ends in bounded time when the store does not answer, and says that nothing was applied", async () => {
    const bench = await startAgent({ agent: { drainTimeoutMs: 2_000 } });
    await createTopic(bench, "t");
    bench.sink.fates.push("hold");
    const stuck = send(bench, "t", ["a"]);
    await eventually(() => bench.sink.held === 1, "the flush is being written");
    const stopped = bench.agent.stop();
    const error = await failureOf(bench.clock.until(stuck));
    assert.equal(error.code, "AGENT_DRAINING");
    assert.equal(error.outcome, "none");
    await bench.clock.until(stopped);
    assert.ok(bench.clock.monotonic() < 10_000);
    assert.equal(bench.clock.pending, 0);
  });

  it("ends waiting fetches", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    const waiting = fetchRaw(bench, topicId, 0, { maxWaitMs: 30_000 });
    await bench.clock.run(10);
    const stopped = bench.agent.stop();
    assert.equal((await failureOf(waiting)).code, "AGENT_DRAINING");
    await bench.clock.until(stopped);
    assert.equal(bench.clock.pending, 0);
  });
});
