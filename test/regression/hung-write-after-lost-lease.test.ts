/**
 * Broke: while a write hung, batches of a flush that was undone because another partition's lease went did not fail at the flush's
 * time limit, and the agent woke every millisecond to look at them.
 * Why: overdue batches failed with the last write's or commit's error, and here there was none.
 * Cure: without one they fail as any flush does whose write takes too long.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Timer } from "../../src/core/clock.ts";
import type { SegmentSink } from "../../src/storage/segment-sink.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import {
  createTopic,
  eventually,
  failureOf,
  memoryMetadata,
  send,
  sendAndWait,
  startAgent,
} from "../unit/agent/bench-agent.ts";
import { MemoryStore, TestSink } from "../unit/agent/memory-store.ts";

/** A write that is under way cannot be taken back: as on a folder. */
class StubbornSink extends TestSink {
  override append(...args: Parameters<SegmentSink["append"]>): ReturnType<SegmentSink["append"]> {
    return super.append(args[0], args[1]);
  }
}

class CountingClock extends ManualClock {
  timers = 0;

  override schedule(delayMs: number, fn: () => void): Timer {
    this.timers++;
    return super.schedule(delayMs, fn);
  }
}

describe("batches of a flush that another partition's lost lease undid", () => {
  it("fail at the flush's time limit while the write hangs, and nothing spins", async () => {
    const clock = new CountingClock();
    const metadata = memoryMetadata(clock);
    const store = new MemoryStore();
    const sink = new StubbornSink(store);
    const bench = await startAgent({ clock, metadata, store, sink });
    const doomed = await createTopic(bench, "doomed");
    await createTopic(bench, "t");
    sink.fates.push("hold");
    const startedAt = clock.monotonic();
    const lost = send(bench, "doomed", ["a"], { timeoutMs: 60_000 });
    const other = send(bench, "t", ["b"], { timeoutMs: 60_000 });
    await eventually(() => sink.held === 1, "the flush is being written");
    await clock.until(bench.agent.api.deleteTopic({ name: "doomed" }, {}));
    assert.equal((await failureOf(clock.until(lost))).code, "TOPIC_NOT_FOUND", doomed);
    const failed = failureOf(other).then((error) => ({ error, at: clock.monotonic() }));
    const before = clock.timers;
    await clock.run(30_000);
    assert.ok(clock.timers - before < 1_000, `${clock.timers - before} timers in 30 s`);
    const { error, at } = await failed;
    assert.equal(error.code, "STORE_UNAVAILABLE");
    assert.equal(error.outcome, "none");
    assert.ok(at - startedAt <= 10_100, `after ${at - startedAt} ms`);
    sink.release();
    assert.equal(await sendAndWait(bench, "t", ["c"]), 0);
    await clock.until(bench.agent.stop());
  });
});
