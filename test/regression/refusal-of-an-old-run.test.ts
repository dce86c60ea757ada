/**
 * Broke: batches failed with `LEASE_LOST` although their lease was held: the agent dropped the leases of its new run because metadata
 * refused a flush of the old one.
 * Why: a refusal names partitions, and was applied to whatever held them by the time it came.
 * Cure: it counts only for the run that the flush was made in.
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
  startAgent,
} from "../unit/agent/bench-agent.ts";

describe("a commit of an old run that is refused", () => {
  it("takes nothing from the new run", async () => {
    const clock = new ManualClock();
    const inner = memoryMetadata(clock);
    const { metadata, faults } = withFaults(inner);
    const bench = await startAgent({ clock, metadata });
    const topicId = await createTopic(bench, "t");
    const oldRun = bench.agent.runId;
    faults.next.commitFlush = ["hold"];
    const old = send(bench, "t", ["old"], { timeoutMs: 60_000 });
    await eventually(() => faults.held === 1, "the commit is on its way");
    await inner.endRun(oldRun);
    await clock.run(3_100);
    assert.notEqual(bench.agent.runId, oldRun);
    assert.equal(bench.agent.hasActiveLeases(), true);
    const young = send(bench, "t", ["young"], { timeoutMs: 60_000 });
    faults.release();
    assert.equal((await failureOf(clock.until(old))).code, "LEASE_LOST");
    assert.equal((await clock.until(young)).baseOffset, 0);
    assert.equal(bench.agent.hasActiveLeases(), true);
    assert.deepEqual(await readAll(bench, topicId), ["young"]);
    await clock.until(bench.agent.stop());
  });
});
