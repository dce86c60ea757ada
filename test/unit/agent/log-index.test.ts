import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LogIndex } from "../../../src/agent/log-index.ts";
import { SegmentReferences } from "../../../src/agent/segment-references.ts";
import type { MetadataStore } from "../../../src/metadata/metadata-store.ts";
import {
  dropAll,
  flushOf,
  heldTopic,
  mergeOf,
} from "../../../src/testing/contracts/metadata-subject.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { withFaults } from "../../fault/faulty-metadata.ts";
import { eventually, memoryMetadata } from "./bench-agent.ts";

async function written(flushes: number) {
  const inner = memoryMetadata(new ManualClock());
  const { metadata, faults } = withFaults(inner);
  const { topic, runId } = await heldTopic(inner, 1, 1_000_000);
  const topicId = topic.id;
  const write = async (sequence: number) => {
    const entries = [{ topicId, baseOffset: (sequence - 1) * 10, recordCount: 10 }];
    assert.equal((await inner.commitFlush(flushOf(runId, sequence, entries))).status, "committed");
  };
  for (let i = 1; i <= flushes; i++) await write(i);
  const merge = async (base: number, pieces: readonly number[]) => {
    assert.equal(await inner.commitMerge(runId, mergeOf(topicId, 0, base, pieces)), "committed");
    await dropAll(inner);
  };
  return { inner, metadata, faults, topicId, write, merge };
}

const indexOf = (metadata: MetadataStore) =>
  new LogIndex({ metadata, segments: new SegmentReferences() });

function boundsOf(index: LogIndex, topicId: string) {
  const log = index.get(topicId, 0);
  return log && [log.logStart, log.mergedUntil, log.highWatermark, log.size];
}

describe("the index of the log", () => {
  it("takes no merge for retention: flushes that were merged and forgotten leave no hole", async () => {
    const { inner, topicId, write, merge } = await written(3);
    const index = indexOf(inner);
    await index.refresh();
    assert.deepEqual(boundsOf(index, topicId), [0, 0, 30, 3]);
    for (const sequence of [4, 5, 6]) await write(sequence);
    await merge(0, [10, 10, 10, 10, 10]);
    assert.equal((await inner.listFlushes(0, 10)).length, 1);
    await index.refresh();
    assert.deepEqual(boundsOf(index, topicId), [0, 50, 60, 6]);
    await inner.close();
  });

  it("reads merges again when the flushes that it read are newer than the merges", async () => {
    const { inner, metadata, faults, topicId, write, merge } = await written(2);
    const index = indexOf(metadata);
    await index.refresh();
    // The flushes are read last, everything happens between the two.
    faults.next.listFlushes = ["hold"];
    const refreshed = index.refresh();
    await eventually(() => faults.held === 1, "the flushes are about to be read");
    for (const sequence of [3, 4, 5]) await write(sequence);
    await merge(0, [10, 10, 10, 10]);
    faults.release();
    await refreshed;
    assert.deepEqual(boundsOf(index, topicId), [0, 40, 50, 5]);
    await inner.close();
  });

  it("takes a hole that no merge fills for the log start", async () => {
    const { inner, topicId, write } = await written(2);
    const index = indexOf(inner);
    await index.refresh();
    for (const sequence of [3, 4]) await write(sequence);
    await inner.advanceLogStart([{ topicId, partition: 0, logStartOffset: 30 }]);
    await dropAll(inner);
    await index.refresh();
    assert.deepEqual(boundsOf(index, topicId), [30, 0, 40, 1]);
    await inner.close();
  });

  it("begins within a piece where the log start lies in it", async () => {
    const { inner, topicId, merge } = await written(4);
    await merge(0, [20, 20]);
    await inner.advanceLogStart([{ topicId, partition: 0, logStartOffset: 30 }]);
    const index = indexOf(inner);
    await index.refreshBounds([{ topicId, partition: 0 }]);
    await index.refresh();
    assert.deepEqual(boundsOf(index, topicId), [30, 40, 40, 1]);
    assert.equal(index.get(topicId, 0)?.share(0)?.baseOffset, 20);
    await inner.close();
  });

  it("forgets partitions that are gone, also those of a topic that was deleted before anybody here knew of it", async () => {
    const { inner, topicId } = await written(3);
    const [topic] = await inner.listTopics();
    assert.ok(topic);
    await inner.deleteTopic(topic.name);
    const index = indexOf(inner);
    await index.refresh();
    assert.equal(index.get(topicId, 0)?.size, 3, "its flushes are still in the table");
    let woken = 0;
    index.get(topicId, 0)?.watch(() => woken++);
    await index.refreshBounds([{ topicId, partition: 0 }]);
    assert.equal(index.get(topicId, 0), undefined);
    assert.equal(woken, 1, "whoever waits looks again");
    await inner.close();
  });

  it("is read once more, however many ask while it is being read, and each gets a read that began later", async () => {
    const { inner, metadata, faults, topicId, write } = await written(1);
    const index = indexOf(metadata);
    faults.next.listFlushes = ["hold"];
    const first = index.refresh();
    await eventually(() => faults.held === 1, "the first is reading");
    const others = Array.from({ length: 50 }, () => index.refresh());
    await write(2);
    faults.release();
    await Promise.all([first, ...others]);
    assert.equal(faults.calls.filter((it) => it === "listFlushes").length, 2);
    assert.equal(index.get(topicId, 0)?.highWatermark, 20);
    await inner.close();
  });
});
