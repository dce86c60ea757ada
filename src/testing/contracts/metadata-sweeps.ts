/** Objects that wait for their deletion, and keys that were given up: part of the metadata store's contract. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  dropAll,
  flushOf,
  fresh,
  heldTopic,
  inObject,
  type MetadataSubject,
  mergeOf,
} from "./metadata-subject.ts";

/** More than all tests of one store together doom. */
const ALL = 10_000;

export function sweepContract(subject: () => MetadataSubject): void {
  /** One flush in an object of its own, which is dead. */
  const dead = async () => {
    const { metadata } = subject();
    await dropAll(metadata);
    const { topic, runId } = await heldTopic(metadata, 1, 1_000_000);
    const at = { topicId: topic.id, partition: 0 };
    const key = `segments/${fresh("object")}.seg`;
    await metadata.commitFlush(inObject(flushOf(runId, 1, [{ ...at, baseOffset: 0 }]), key));
    await metadata.advanceLogStart([{ ...at, logStartOffset: 1 }]);
    return { metadata, runId, at, key };
  };
  const doomedFor = async (ms: number, key: string) =>
    (await subject().metadata.listDoomed(ms, ALL)).includes(key);

  describe("its identity", () => {
    it("is the same for everybody who asks, also at the same moment", async () => {
      const { metadata } = subject();
      const told = await Promise.all(Array.from({ length: 5 }, () => metadata.identity()));
      told.push(await metadata.identity());
      assert.equal(new Set(told).size, 1, told.join());
      assert.match(told[0] ?? "", /^[0-9a-f]{12}$/);
    });
  });

  describe("doomed objects", () => {
    it("wait by the store's clock, oldest first, until they are forgotten", async () => {
      const { metadata, key } = await dead();
      const { advance } = subject();
      assert.equal(await doomedFor(0, key), false, "not before the flush is dropped");
      await dropAll(metadata);
      assert.equal(await doomedFor(0, key), true);
      assert.equal(await doomedFor(60_000, key), false);
      await advance(59_000);
      assert.equal(await doomedFor(60_000, key), false);
      const later = await dead();
      await dropAll(metadata);
      await advance(1_000);
      assert.equal(await doomedFor(60_000, key), true);
      assert.equal(await doomedFor(60_000, later.key), false);
      const all = await metadata.listDoomed(0, ALL);
      assert.ok(all.indexOf(key) < all.indexOf(later.key), "oldest first");
      assert.deepEqual(await metadata.listDoomed(0, 1), all.slice(0, 1));
      await metadata.forgetDoomed([key, "segments/never-heard-of.seg"]);
      await metadata.forgetDoomed([key]);
      assert.equal(await doomedFor(0, key), false);
      assert.equal(await doomedFor(0, later.key), true);
    });

    it("are spared while a later flush lies in them, and wait anew after it", async () => {
      const { metadata, runId, at, key } = await dead();
      const { advance } = subject();
      await dropAll(metadata);
      await advance(60_000);
      assert.equal(await doomedFor(60_000, key), true);
      const flush = inObject(flushOf(runId, 2, [{ ...at, baseOffset: 1 }]), key);
      assert.deepEqual(await metadata.commitFlush(flush), { status: "committed" });
      assert.equal(await doomedFor(0, key), false);
      await metadata.advanceLogStart([{ ...at, logStartOffset: 2 }]);
      await dropAll(metadata);
      assert.equal(await doomedFor(0, key), true);
      assert.equal(await doomedFor(60_000, key), false);
    });
  });

  describe("swept keys", () => {
    it("are those that nothing refers to: no flush, no merge, and not doomed", async () => {
      const { metadata, key: doomed } = await dead();
      await dropAll(metadata);
      const { topic, runId } = await heldTopic(metadata, 1, 1_000_000);
      const at = { topicId: topic.id, partition: 0 };
      const living = `segments/${fresh("living")}.seg`;
      const orphans = [`segments/${fresh("orphan")}.seg`, `topics/${fresh("orphan")}.seg`];
      const flush = flushOf(runId, 1, [{ ...at, baseOffset: 0, recordCount: 5 }]);
      await metadata.commitFlush(inObject(flush, living));
      const merge = mergeOf(topic.id, 0, 0, [5]);
      assert.equal(await metadata.commitMerge(runId, merge), "committed");
      const asked = [living, ...orphans, merge.location.key, doomed];
      assert.deepEqual([...(await metadata.sweepKeys(asked))].sort(), [...orphans].sort());
      // Again: whoever was interrupted before the deletion asks once more.
      assert.deepEqual([...(await metadata.sweepKeys(orphans))].sort(), [...orphans].sort());
      assert.deepEqual(await metadata.sweepKeys([]), []);
    });

    it("refuse a flush that comes later, which is committed under another key", async () => {
      const { metadata } = subject();
      const { topic, runId } = await heldTopic(metadata, 1, 1_000_000);
      const at = { topicId: topic.id, partition: 0 };
      const key = `segments/${fresh("late")}.seg`;
      await metadata.sweepKeys([key]);
      const states = [{ ...at, state: Uint8Array.of(7) }];
      const late = inObject(flushOf(runId, 1, [{ ...at, baseOffset: 0 }], states), key);
      assert.deepEqual(await metadata.commitFlush(late), { status: "swept" });
      assert.deepEqual(await metadata.commitFlush(late), { status: "swept" });
      assert.equal(await metadata.resolveFlush(late), "absent");
      assert.equal((await metadata.partitionBounds([at]))[0]?.nextOffset, 0);
      assert.equal((await metadata.acquireLeases(runId, [at]))[0]?.producerState, null);
      const again = inObject({ ...late, flushSequence: 2 }, `segments/${fresh("again")}.seg`);
      assert.deepEqual(await metadata.commitFlush(again), { status: "committed" });
      assert.equal((await metadata.partitionBounds([at]))[0]?.nextOffset, 1);
    });

    it("do not hide from a writer that its lease is lost", async () => {
      const { metadata } = subject();
      const { topic, runId } = await heldTopic(metadata, 1, 1_000_000);
      const at = { topicId: topic.id, partition: 0 };
      const key = `segments/${fresh("late")}.seg`;
      await metadata.sweepKeys([key]);
      await metadata.releaseLeases(runId, [at]);
      const late = inObject(flushOf(runId, 1, [{ ...at, baseOffset: 0 }]), key);
      assert.deepEqual(await metadata.commitFlush(late), {
        status: "refused",
        partitions: [{ ...at, reason: "fenced" }],
      });
    });

    it("refuse a merge that comes later", async () => {
      const { metadata } = subject();
      const { topic, runId } = await heldTopic(metadata, 1, 1_000_000);
      await metadata.commitFlush(flushOf(runId, 1, [{ topicId: topic.id, baseOffset: 0 }]));
      const late = mergeOf(topic.id, 0, 0, [1]);
      await metadata.sweepKeys([late.location.key]);
      assert.equal(await metadata.commitMerge(runId, late), "swept");
      assert.equal(await metadata.commitMerge(runId, mergeOf(topic.id, 0, 0, [1])), "committed");
    });

    it("are forgotten after a time, from the last sweep on", async () => {
      const { metadata, advance } = subject();
      const { topic, runId } = await heldTopic(metadata, 1, 10_000_000);
      const keys = ["a", "b"].map((it) => `segments/${fresh(it)}.seg`);
      const [first, second] = keys;
      assert.ok(first !== undefined && second !== undefined);
      const commit = (key: string, sequence: number, baseOffset: number) =>
        metadata.commitFlush(
          inObject(flushOf(runId, sequence, [{ topicId: topic.id, baseOffset }]), key),
        );
      await metadata.sweepKeys(keys);
      await advance(60_000);
      await metadata.sweepKeys([second]);
      await advance(1_000);
      assert.ok((await metadata.forgetSwept(60_000)) >= 1);
      assert.equal(await metadata.forgetSwept(60_000), 0);
      assert.deepEqual(await commit(first, 1, 0), { status: "committed" });
      assert.deepEqual(await commit(second, 2, 1), { status: "swept" });
    });
  });
}
