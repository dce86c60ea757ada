/**
 * Broke: a flush that was committed, and whose answer was lost, was refused when it was committed again after its run had ended: its
 * batches would be reported as not applied although they are in the log.
 * Why: run and epoch were checked first, and whether the flush is there already only when they were right.
 * Cure: what is there is answered as committed, whatever became of the run since.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { FlushCommit } from "../../src/metadata/metadata-store.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { memoryMetadata } from "../unit/agent/bench-agent.ts";

describe("a flush that is committed already", () => {
  it("is answered as committed, also after its run's end, and is not applied again", async () => {
    const metadata = memoryMetadata(new ManualClock());
    const topic = await metadata.createTopic({ name: "t", partitions: 1, retentionMs: 0 });
    const it = { topicId: topic.id, partition: 0 };
    const run = { runId: "r1", agentId: "a", address: "", ttlMs: 10_000 };
    await metadata.startRun({ ...run, predecessorsDead: true });
    await metadata.acquireLeases("r1", [it]);
    const flush: FlushCommit = {
      runId: "r1",
      flushSequence: 1,
      location: { key: "segments/1.seg", position: 0, length: 100 },
      entries: [
        {
          ...{ ...it, epoch: 1, position: 50, length: 40, baseOffset: 0, recordCount: 3 },
          ...{ minTimestamp: 0, maxTimestamp: 0, appendTimeMs: 0 },
        },
      ],
      producerStates: [],
    };
    const committed = { status: "committed" };
    assert.deepEqual(await metadata.commitFlush(flush), committed);
    await metadata.endRun("r1");
    await metadata.startRun({ ...run, runId: "r2", predecessorsDead: true });
    await metadata.acquireLeases("r2", [it]);
    assert.deepEqual(await metadata.commitFlush(flush), committed);
    const next = { ...flush, flushSequence: 2 };
    assert.equal((await metadata.commitFlush(next)).status, "refused");
    const [bounds] = await metadata.partitionBounds([it]);
    assert.equal(bounds?.nextOffset, 3);
    await metadata.close();
  });
});
