/** What becomes of a flush whose metadata commit fails, or whose outcome is not known. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import {
  type BenchAgent,
  createTopic,
  eventually,
  failureOf,
  memoryMetadata,
  readAll,
  send,
  sendAndWait,
  startAgent,
} from "../unit/agent/bench-agent.ts";
import { type Faults, withFaults } from "./faulty-metadata.ts";

interface Setup {
  readonly bench: BenchAgent;
  readonly faults: Faults;
  /** Without faults. */
  readonly inner: MetadataStore;
  readonly topicId: string;
}

async function start(): Promise<Setup> {
  const clock = new ManualClock();
  const inner = memoryMetadata(clock);
  const { metadata, faults } = withFaults(inner);
  const bench = await startAgent({ clock, metadata });
  return { bench, faults, inner, topicId: await createTopic(bench, "t") };
}

const stamp = (baseSequence: number) => ({ producerId: 1, producerEpoch: 0, baseSequence });
const count = (faults: Faults, name: string) => faults.calls.filter((it) => it === name).length;

describe("a commit that was certainly not applied", () => {
  it("is tried again until it is", async () => {
    const { bench, faults, topicId } = await start();
    faults.next.commitFlush = ["none", "none", "none"];
    assert.equal(await sendAndWait(bench, "t", ["a"]), 0);
    assert.equal(count(faults, "commitFlush"), 4);
    assert.equal(bench.sink.sequences.length, 1, "the chunk is not written again");
    assert.deepEqual(await readAll(bench, topicId), ["a"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("ends after the flush's time limit with outcome none, and later batches take its offsets", async () => {
    const { bench, faults, topicId } = await start();
    // Renewals go on: only commits fail.
    faults.next.commitFlush = Array.from({ length: 60 }, () => "none" as const);
    const error = await failureOf(bench.clock.until(send(bench, "t", ["a"])));
    assert.equal(error.code, "METADATA_UNAVAILABLE");
    assert.equal(error.outcome, "none");
    faults.next.commitFlush = [];
    assert.equal(await sendAndWait(bench, "t", ["b"]), 0);
    assert.deepEqual(await readAll(bench, topicId), ["b"]);
    await bench.clock.until(bench.agent.stop());
  });
});

describe("a commit of unknown outcome", () => {
  it("that was applied is found, and acknowledged as what it is", async () => {
    const { bench, faults, topicId } = await start();
    faults.next.commitFlush = ["applied"];
    faults.next.resolveFlush = ["none", "none"];
    const first = send(bench, "t", ["a"], { stamp: stamp(0) });
    const later = send(bench, "t", ["b"], { stamp: stamp(1) });
    assert.equal((await bench.clock.until(first)).baseOffset, 0);
    assert.equal((await bench.clock.until(later)).baseOffset, 1);
    assert.equal(count(faults, "resolveFlush"), 3);
    assert.deepEqual(await readAll(bench, topicId), ["a", "b"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("that was not applied is committed again as the same flush", async () => {
    const { bench, faults, topicId } = await start();
    faults.next.commitFlush = ["lost"];
    assert.equal(await sendAndWait(bench, "t", ["a"]), 0);
    assert.equal(count(faults, "commitFlush"), 2);
    assert.equal(bench.sink.sequences.length, 1);
    assert.deepEqual(await readAll(bench, topicId), ["a"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("keeps every later commit waiting until it is resolved", async () => {
    const { bench, faults, topicId } = await start();
    faults.next.commitFlush = ["applied"];
    faults.next.resolveFlush = ["hold"];
    const first = send(bench, "t", ["a"]);
    await eventually(() => faults.held === 1, "the outcome is being looked up");
    const later = send(bench, "t", ["b"]);
    await bench.clock.run(50);
    assert.equal(count(faults, "commitFlush"), 1, "nothing is committed past an open outcome");
    assert.deepEqual(await readAll(bench, topicId), [], "and nothing of it is served");
    faults.release();
    assert.equal((await bench.clock.until(first)).baseOffset, 0);
    assert.equal((await bench.clock.until(later)).baseOffset, 1);
    await bench.clock.until(bench.agent.stop());
  });

  it("that stays open beyond the time limit is told as unknown; what follows stays in order", async () => {
    const { bench, faults, topicId } = await start();
    faults.next.commitFlush = ["applied"];
    faults.next.resolveFlush = Array.from({ length: 20 }, () => "none" as const);
    const error = await failureOf(bench.clock.until(send(bench, "t", ["a"], { stamp: stamp(0) })));
    assert.equal(error.outcome, "unknown");
    assert.equal(error.retriable, true);
    // The caller sends it again: it waits for the truth, and gets the offset of the first time.
    const again = await bench.clock.until(send(bench, "t", ["a"], { stamp: stamp(0) }));
    assert.equal(again.baseOffset, 0);
    assert.equal(again.duplicate, true);
    assert.equal(await sendAndWait(bench, "t", ["b"], { stamp: stamp(1) }), 1);
    assert.deepEqual(await readAll(bench, topicId), ["a", "b"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("whose straggler arrives after all cannot hurt: a new run has closed the door", async () => {
    const { bench, faults, topicId } = await start();
    const before = bench.agent.runId;
    // Every attempt is on its way for longer than anybody waits.
    faults.next.commitFlush = Array.from({ length: 40 }, () => "late" as const);
    const error = await failureOf(bench.clock.until(send(bench, "t", ["a"])));
    assert.equal(error.outcome, "unknown");
    // The longest pause between two attempts, after which it gives up.
    await bench.clock.run(1_500);
    assert.notEqual(bench.agent.runId, before, "the agent began a new run");
    faults.next.commitFlush = [];
    faults.release();
    assert.equal(await sendAndWait(bench, "t", ["b"]), 0);
    assert.deepEqual(await readAll(bench, topicId), ["b"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("that is refused at the next attempt, because the run's time was over, stays unknown and cannot arrive later", async () => {
    const { bench, faults, inner, topicId } = await start();
    const before = bench.agent.runId;
    faults.next.commitFlush = ["late", "hold"];
    const first = failureOf(send(bench, "t", ["a"], { stamp: stamp(0), timeoutMs: 60_000 }));
    await bench.clock.run(500);
    assert.equal(faults.held, 2, "one is on its way for ever, the next one asked");
    // The second one arrives when the run's time is over by the store's clock; nobody took anything, so it can be renewed.
    const [late, second] = faults.take(2);
    await inner.renewRun(before, 1);
    await bench.clock.run(5);
    second?.();
    const error = await bench.clock.until(first);
    assert.equal(error.outcome, "unknown", "one attempt may still be applied");
    await bench.clock.run(4_000);
    assert.notEqual(bench.agent.runId, before, "a new run has closed the door");
    late?.();
    assert.equal(await sendAndWait(bench, "t", ["a"], { stamp: stamp(0) }), 0);
    assert.deepEqual(await readAll(bench, topicId), ["a"]);
    await bench.clock.until(bench.agent.stop());
  });
});
