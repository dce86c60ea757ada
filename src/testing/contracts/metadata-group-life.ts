/** Static members of consumer groups, and the end of groups: part of the metadata store's contract. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SESSION_MS, settle, stageOf } from "./group-player.ts";
import { code, fresh, type MetadataSubject } from "./metadata-subject.ts";

export function groupLifeContract(subject: () => MetadataSubject): void {
  const stage = (partitions: number) => stageOf(subject().metadata, partitions);

  describe("static group members", () => {
    it("leave and come back to what they had, with a new id, and nobody else notices", async () => {
      const { group, player } = await stage(4);
      const { metadata, advance } = subject();
      const [a, b] = [player("a"), player("b", "i")];
      await settle([a, b]);
      const [its, others] = [b.names, a.names];
      await b.leave(true);
      const offset = { topicId: "", partition: 0, offset: 1, metadata: "" };
      const [first] = (await metadata.describeGroup(group))?.members[1]?.assigned ?? [];
      const commit = metadata.commitOffsets(group, { memberId: "b", memberEpoch: 2 }, [
        { ...offset, topicId: first?.topicId ?? "", partition: first?.partition ?? 0 },
      ]);
      await assert.rejects(commit, code("UNKNOWN_MEMBER"));
      await advance(SESSION_MS - 1);
      await a.beat();
      assert.deepEqual(a.names, others);
      const heir = player("b2", "i");
      await heir.beat();
      assert.deepEqual(heir.names, its);
      const { revoking } = await a.beat();
      assert.deepEqual([a.names, revoking], [others, []]);
      await assert.rejects(
        metadata.heartbeat({ ...b.input, memberEpoch: 2 }),
        code("UNKNOWN_MEMBER"),
      );
      await settle([a, heir]);
      assert.deepEqual([a.names, heir.names], [others, its]);
    });

    it("that do not come back lose their place when the session ends", async () => {
      const { player } = await stage(2);
      const { advance } = subject();
      const [a, b] = [player("a"), player("b", "i")];
      await settle([a, b]);
      await b.leave(true);
      await advance(SESSION_MS / 2);
      await a.beat();
      assert.equal(a.names.length, 1);
      await advance(SESSION_MS / 2);
      await a.beat();
      assert.equal(a.names.length, 2);
    });

    it("cannot be two at a time; one that is dead is replaced", async () => {
      const { group, player } = await stage(2);
      const { metadata, advance } = subject();
      const [a, b] = [player("a", "i"), player("b", "i")];
      await a.beat();
      await assert.rejects(b.beat(), code("INSTANCE_ID_IN_USE"));
      assert.equal((await metadata.describeGroup(group))?.members.length, 1);
      await advance(SESSION_MS);
      await b.beat();
      assert.equal(b.names.length, 2);
      await assert.rejects(a.beat(), code("UNKNOWN_MEMBER"));
      await b.leave();
      const other = player("c");
      await other.beat();
      assert.equal(other.names.length, 2);
    });

    it("that left long ago are not taken out again by their own late leave", async () => {
      const { group, player } = await stage(1);
      const { metadata } = subject();
      const a = player("a", "i");
      await a.beat();
      const memberEpoch = a.epoch;
      await a.leave(true);
      await a.beat();
      assert.equal(a.names.length, 1);
      await metadata.leaveGroup(group, "a", { keepPlace: false, memberEpoch });
      await a.beat();
      assert.equal(a.names.length, 1);
    });
  });

  describe("groups", () => {
    it("are deleted with their offsets, once nobody is in them", async () => {
      const { group, topic, player } = await stage(1);
      const { metadata } = subject();
      await assert.rejects(metadata.deleteGroup(group), code("GROUP_NOT_FOUND"));
      const a = player("a");
      await a.beat();
      const offset = { topicId: topic.id, partition: 0, offset: 5, metadata: "" };
      await metadata.commitOffsets(group, { memberId: "a", memberEpoch: a.epoch }, [offset]);
      await assert.rejects(metadata.deleteGroup(group), code("GROUP_BUSY"));
      await a.leave();
      await metadata.deleteGroup(group);
      assert.equal(await metadata.describeGroup(group), undefined);
      assert.deepEqual(await metadata.fetchOffsets(group), []);
      await assert.rejects(metadata.deleteGroup(group), code("GROUP_NOT_FOUND"));
      await a.beat();
      assert.equal(a.names.length, 1);
    });

    it("are forgotten with their offsets when nobody used them for long, and not before", async () => {
      const { group, topic, player } = await stage(1);
      const { metadata, advance } = subject();
      const retentionMs = 1_000_000;
      const expire = () => metadata.expireOffsets(retentionMs, 1_000);
      const other = fresh("group");
      const offset = { topicId: topic.id, partition: 0, offset: 5, metadata: "" };
      const nobody = { memberId: "", memberEpoch: 0 };
      await metadata.commitOffsets(other, nobody, [offset]);
      const a = player("a");
      await a.beat();
      await metadata.commitOffsets(group, { memberId: "a", memberEpoch: a.epoch }, [offset]);
      for (let passed = 0; passed < 2 * retentionMs; passed += retentionMs / 4) {
        await advance(retentionMs / 4);
        // It is always in the group, however long ago its last commit was.
        a.reset();
        await a.beat();
        await expire();
        assert.equal((await metadata.fetchOffsets(group)).length, 1);
      }
      assert.equal(await metadata.describeGroup(other), undefined);
      assert.deepEqual(await metadata.fetchOffsets(other), []);
      // Its session ends, and from then on the time counts.
      await advance(retentionMs + SESSION_MS - 1);
      await expire();
      assert.equal((await metadata.fetchOffsets(group)).length, 1);
      await advance(1);
      assert.ok((await expire()) >= 1);
      assert.equal(await metadata.describeGroup(group), undefined);
      assert.deepEqual(await metadata.fetchOffsets(group), []);
    });
  });
}
