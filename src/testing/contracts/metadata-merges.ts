/** Merged segments: part of the metadata store's contract. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CommittedMerge, MergedSegment } from "../../metadata/merge-store.ts";
import type { MetadataStore } from "../../metadata/metadata-store.ts";
import {
  code,
  dropAll,
  flushOf,
  fresh,
  heldTopic,
  type MetadataSubject,
  mergeOf,
  partitionsOf,
  startRun,
} from "./metadata-subject.ts";

async function mergesOf(metadata: MetadataStore, topicId: string): Promise<CommittedMerge[]> {
  const found: CommittedMerge[] = [];
  let after = 0;
  for (;;) {
    const page = await metadata.listMerges(after, 3);
    for (const merge of page) {
      assert.ok(merge.mergeId > after, "in commit order");
      after = merge.mergeId;
    }
    found.push(...page.filter((it) => it.topicId === topicId));
    if (page.length < 3) return found;
  }
}

/** Forgets every merge that is dead, `limit` at a time; answers this topic's. */
async function dropMerges(
  metadata: MetadataStore,
  topicId: string,
  limit = 100,
): Promise<CommittedMerge[]> {
  const dropped: CommittedMerge[] = [];
  for (let quiet = 0; quiet < 20; quiet++) {
    const some = await metadata.dropDeadMerges(limit);
    assert.ok(some.length <= limit);
    if (some.length > 0) quiet = 0;
    dropped.push(...some.filter((it) => it.topicId === topicId));
  }
  return dropped;
}

/** A topic with `flushes` flushes of 10 records in partition 0. */
async function written(metadata: MetadataStore, flushes = 4, partitions = 1) {
  const held = await heldTopic(metadata, partitions, 1_000_000);
  const topicId = held.topic.id;
  for (let i = 0; i < flushes; i++) {
    const entries = [{ topicId, baseOffset: i * 10, recordCount: 10 }];
    const outcome = await metadata.commitFlush(flushOf(held.runId, i + 1, entries));
    assert.deepEqual(outcome, { status: "committed" });
  }
  return { ...held, topicId };
}

function stored({ mergeId: _, ...segment }: CommittedMerge): MergedSegment {
  return segment;
}

export function mergeContract(subject: () => MetadataSubject): void {
  describe("merges", () => {
    it("are read back as they were committed, and move no bound", async () => {
      const { metadata } = subject();
      const { topic, topicId, runId } = await written(metadata);
      const merges = [mergeOf(topicId, 0, 0, [10, 20]), mergeOf(topicId, 0, 30, [10])];
      for (const it of merges) assert.equal(await metadata.commitMerge(runId, it), "committed");
      assert.deepEqual((await mergesOf(metadata, topicId)).map(stored), merges);
      const [bounds] = await metadata.partitionBounds(partitionsOf(topic));
      assert.deepEqual([bounds?.logStartOffset, bounds?.nextOffset], [0, 40]);
    });

    it("are listed in commit order, a page at a time", async () => {
      const { metadata } = subject();
      const { topicId, runId } = await written(metadata, 8);
      for (let i = 0; i < 8; i++) {
        await metadata.commitMerge(runId, mergeOf(topicId, 0, i * 10, [10]));
      }
      const bases = (await mergesOf(metadata, topicId)).map((it) => it.baseOffset);
      assert.deepEqual(bases, [0, 10, 20, 30, 40, 50, 60, 70]);
    });

    it("go on where the last one ended, and are applied once under one key", async () => {
      const { metadata } = subject();
      const { topicId, runId } = await written(metadata);
      const first = mergeOf(topicId, 0, 0, [10, 10]);
      assert.equal(await metadata.commitMerge(runId, mergeOf(topicId, 0, 10, [10])), "stale");
      assert.equal(await metadata.commitMerge(runId, first), "committed");
      assert.equal(await metadata.commitMerge(runId, first), "committed");
      for (const it of [mergeOf(topicId, 0, 0, [20]), mergeOf(topicId, 0, 30, [10])]) {
        assert.equal(await metadata.commitMerge(runId, it), "stale");
      }
      assert.equal(await metadata.commitMerge(runId, mergeOf(topicId, 0, 20, [5])), "committed");
      assert.equal(await metadata.commitMerge(runId, mergeOf(topicId, 0, 25, [15])), "committed");
      assert.equal((await mergesOf(metadata, topicId)).length, 3);
    });

    it("begin at the log start once it is beyond the last merge", async () => {
      const { metadata } = subject();
      const { topicId, runId } = await written(metadata);
      const at = { topicId, partition: 0 };
      await metadata.commitMerge(runId, mergeOf(topicId, 0, 0, [10]));
      await metadata.advanceLogStart([{ ...at, logStartOffset: 20 }]);
      assert.equal(await metadata.commitMerge(runId, mergeOf(topicId, 0, 10, [20])), "stale");
      assert.equal(await metadata.commitMerge(runId, mergeOf(topicId, 0, 20, [20])), "committed");
      // A log start within what is merged changes nothing.
      await metadata.commitFlush(flushOf(runId, 9, [{ ...at, baseOffset: 40, recordCount: 5 }]));
      await metadata.advanceLogStart([{ ...at, logStartOffset: 35 }]);
      assert.equal(await metadata.commitMerge(runId, mergeOf(topicId, 0, 35, [10])), "stale");
      assert.equal(await metadata.commitMerge(runId, mergeOf(topicId, 0, 40, [5])), "committed");
    });

    it("hold nothing that is not committed, no hole, and no other partition", async () => {
      const { metadata } = subject();
      const { topicId, runId } = await written(metadata, 2, 2);
      const good = mergeOf(topicId, 0, 0, [10, 10]);
      const [a, b] = good.entries;
      assert.ok(a !== undefined && b !== undefined);
      const wrong: MergedSegment[] = [
        mergeOf(topicId, 0, 0, [10, 11]),
        { ...good, entries: [] },
        { ...good, entries: [a] },
        { ...good, entries: [b, a] },
        { ...good, entries: [a, { ...b, baseOffset: 11, recordCount: 9 }] },
        { ...good, entries: [a, { ...b, partition: 1 }] },
        { ...good, endOffset: 19 },
        { ...mergeOf(topicId, 0, 0, []), endOffset: 0 },
      ];
      for (const it of wrong) {
        await assert.rejects(metadata.commitMerge(runId, it), code("INTERNAL"));
      }
      assert.deepEqual(await mergesOf(metadata, topicId), []);
      assert.equal(await metadata.commitMerge(runId, good), "committed");
    });

    it("are the lease holder's alone, at its epoch, while its run lives", async () => {
      const { metadata, advance } = subject();
      const { topic, topicId, runId } = await written(metadata);
      const rival = fresh("run");
      await startRun(metadata, rival, 1_000);
      const merge = (run: string, epoch: number) =>
        metadata.commitMerge(run, mergeOf(topicId, 0, 0, [10], epoch));
      assert.equal(await merge(rival, 1), "fenced");
      assert.equal(await merge(runId, 2), "fenced");
      await metadata.releaseLeases(runId, partitionsOf(topic));
      assert.equal(await merge(runId, 1), "fenced");
      await metadata.acquireLeases(rival, partitionsOf(topic));
      assert.equal(await merge(runId, 2), "fenced");
      assert.equal(await merge(rival, 1), "fenced");
      await advance(1_000);
      assert.equal(await merge(rival, 2), "fenced");
      assert.equal(await metadata.renewRun(rival, 1_000), true);
      assert.equal(await merge(rival, 2), "committed");
      await metadata.endRun(rival);
      assert.equal(await metadata.commitMerge(rival, mergeOf(topicId, 0, 10, [10], 2)), "fenced");
    });

    it("are stale for a topic that is deleted", async () => {
      const { metadata } = subject();
      const { topic, topicId, runId } = await written(metadata);
      await metadata.deleteTopic(topic.name);
      assert.equal(await metadata.commitMerge(runId, mergeOf(topicId, 0, 0, [10])), "stale");
    });

    it("make those flushes dead that have nothing else, and doom their objects", async () => {
      const { metadata } = subject();
      await dropAll(metadata);
      const { topic, runId } = await heldTopic(metadata, 2, 1_000_000);
      const topicId = topic.id;
      const objects = ["a", "a", "b", "c"].map((it) => `segments/${runId}-${it}.seg`);
      for (const [i, key] of objects.entries()) {
        const both = [0, 1].map((partition) => ({
          ...{ topicId, partition, baseOffset: i * 10, recordCount: 10 },
        }));
        // The last one has partition 0 only.
        const flush = flushOf(runId, i + 1, i < 3 ? both : both.slice(0, 1));
        await metadata.commitFlush({ ...flush, location: { ...flush.location, key } });
      }
      const dropped = async (limit: number) =>
        (await dropAll(metadata, limit)).map((it) => it.flushSequence);
      const doomed = async () => (await metadata.listDoomed(0, 10_000)).filter(mine);
      const mine = (key: string) => objects.includes(key);
      await metadata.commitMerge(runId, mergeOf(topicId, 0, 0, [10, 10, 10]));
      assert.deepEqual(await dropped(1), []);
      await metadata.commitMerge(runId, mergeOf(topicId, 1, 0, [10]));
      assert.deepEqual(await dropped(1), [1]);
      // Another flush lies in the same object.
      assert.deepEqual(await doomed(), []);
      await metadata.commitMerge(runId, mergeOf(topicId, 0, 30, [10]));
      assert.deepEqual(await dropped(100), [4]);
      assert.deepEqual(await doomed(), [objects[3]]);
      // One partition is merged, the other deleted by retention.
      await metadata.advanceLogStart([{ topicId, partition: 1, logStartOffset: 30 }]);
      assert.deepEqual((await dropped(100)).sort(), [2, 3]);
      assert.deepEqual((await doomed()).sort(), [objects[1], objects[2], objects[3]].sort());
    });

    it("are forgotten below the log start, whole, and their objects doomed", async () => {
      const { metadata } = subject();
      const { topicId, runId } = await written(metadata);
      const at = { topicId, partition: 0 };
      const merges = [0, 10, 20].map((base) => mergeOf(topicId, 0, base, [10]));
      for (const it of merges) await metadata.commitMerge(runId, it);
      const keys = merges.map((it) => it.location.key);
      const doomed = async () =>
        (await metadata.listDoomed(0, 10_000)).filter((key) => keys.includes(key)).sort();
      const dropped = async () =>
        (await dropMerges(metadata, topicId, 1)).map((it) => it.baseOffset);
      await metadata.advanceLogStart([{ ...at, logStartOffset: 9 }]);
      assert.deepEqual(await dropped(), []);
      await metadata.advanceLogStart([{ ...at, logStartOffset: 25 }]);
      assert.deepEqual(await dropped(), [0, 10]);
      assert.deepEqual(await doomed(), keys.slice(0, 2).sort());
      assert.deepEqual((await mergesOf(metadata, topicId)).map(stored), merges.slice(2));
      await metadata.advanceLogStart([{ ...at, logStartOffset: 30 }]);
      assert.deepEqual(await dropped(), [20]);
      assert.deepEqual(await doomed(), [...keys].sort());
      // Forgetting them does not make room for another merge of the same offsets.
      assert.equal(await metadata.commitMerge(runId, mergeOf(topicId, 0, 20, [10])), "stale");
    });

    it("are forgotten with their topic", async () => {
      const { metadata } = subject();
      const { topic, topicId, runId } = await written(metadata);
      const merge = mergeOf(topicId, 0, 0, [40]);
      await metadata.commitMerge(runId, merge);
      await metadata.deleteTopic(topic.name);
      assert.deepEqual((await dropMerges(metadata, topicId)).map(stored), [merge]);
      assert.deepEqual(await mergesOf(metadata, topicId), []);
      assert.ok((await metadata.listDoomed(0, 10_000)).includes(merge.location.key));
    });
  });
}
