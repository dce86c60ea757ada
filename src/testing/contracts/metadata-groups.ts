/** Committed offsets of consumer groups, and lag: part of the metadata store's contract. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { HeartbeatResult, MetadataStore } from "../../metadata/metadata-store.ts";
import {
  code,
  flushOf,
  fresh,
  heldTopic,
  type MetadataSubject,
  partitionsOf,
} from "./metadata-subject.ts";

const NOBODY = { memberId: "", memberEpoch: 0 };
const SESSION_MS = 10_000;

function beat(
  metadata: MetadataStore,
  group: string,
  memberId: string,
  memberEpoch: number,
  ...topics: string[]
): Promise<HeartbeatResult> {
  const clientId = `client of ${memberId}`;
  const session = { sessionTimeoutMs: SESSION_MS, rebalanceTimeoutMs: 60_000 };
  return metadata.heartbeat({
    group,
    memberId,
    memberEpoch,
    clientId,
    topics,
    ...session,
    owned: [],
    instanceId: "",
  });
}

export function groupContract(subject: () => MetadataSubject): void {
  const topicOf = (partitions: number, name = fresh("topic")) =>
    subject().metadata.createTopic({ name, partitions, retentionMs: 0 });

  describe("committed offsets", () => {
    it("are stored by the member that has the partition, and read by anybody", async () => {
      const { metadata } = subject();
      const group = fresh("group");
      const topic = await topicOf(2);
      const [p0, p1] = partitionsOf(topic);
      assert.ok(p0 !== undefined && p1 !== undefined);
      const { memberEpoch } = await beat(metadata, group, "a", 0, topic.name);
      const offset = { ...p0, offset: 2 ** 50, metadata: "ü – done" };
      await metadata.commitOffsets(group, { memberId: "a", memberEpoch }, [offset]);
      const [stored] = await metadata.fetchOffsets(group);
      assert.deepEqual(stored, { ...offset, committedAtMs: stored?.committedAtMs });
      assert.ok((stored?.committedAtMs ?? 0) > 1_600_000_000_000);
      assert.deepEqual(await metadata.fetchOffsets(group, [p1, p0]), [stored]);
      assert.deepEqual(await metadata.fetchOffsets(group, [p1]), []);
      assert.deepEqual(await metadata.fetchOffsets(fresh("group")), []);
      await metadata.commitOffsets(group, { memberId: "a", memberEpoch }, [
        { ...offset, offset: 1 },
      ]);
      assert.equal((await metadata.fetchOffsets(group))[0]?.offset, 1);
    });

    it("are refused from members that are gone, stale, or have not the partition", async () => {
      const { metadata, advance } = subject();
      const group = fresh("group");
      const topic = await topicOf(1);
      const offsets = partitionsOf(topic).map((it) => ({ ...it, offset: 1, metadata: "" }));
      const commit = (memberId: string, memberEpoch: number) =>
        metadata.commitOffsets(group, { memberId, memberEpoch }, offsets);
      await assert.rejects(commit("a", 1), code("UNKNOWN_MEMBER"));
      const a = await beat(metadata, group, "a", 0, topic.name);
      const b = await beat(metadata, group, "b", 0, topic.name);
      await assert.rejects(commit("b", b.memberEpoch), code("GROUP_FENCED"));
      await assert.rejects(commit("a", 99), code("GROUP_FENCED"));
      // Somebody joining elsewhere fences nobody: what it has, it has since epoch 1.
      await commit("a", a.memberEpoch);
      await metadata.leaveGroup(group, "a", { keepPlace: false });
      await assert.rejects(commit("a", a.memberEpoch), code("UNKNOWN_MEMBER"));
      const after = await beat(metadata, group, "b", b.memberEpoch, topic.name);
      await assert.rejects(commit("b", b.memberEpoch), code("GROUP_FENCED"));
      await commit("b", after.memberEpoch);
      await advance(SESSION_MS);
      await assert.rejects(commit("b", after.memberEpoch), code("UNKNOWN_MEMBER"));
    });

    it("need no member while the group has none, and are refused while it has", async () => {
      const { metadata, advance } = subject();
      const group = fresh("group");
      const topic = await topicOf(1);
      const offsets = partitionsOf(topic).map((it) => ({ ...it, offset: 1, metadata: "" }));
      await metadata.commitOffsets(group, NOBODY, offsets);
      await beat(metadata, group, "a", 0, topic.name);
      await assert.rejects(metadata.commitOffsets(group, NOBODY, offsets), code("GROUP_BUSY"));
      await advance(SESSION_MS);
      await metadata.commitOffsets(group, NOBODY, offsets);
    });

    it("never go back by a commit that only goes forward, and do by one that does not say so", async () => {
      const { metadata } = subject();
      const group = fresh("group");
      const topic = await topicOf(2);
      const [p0, p1] = partitionsOf(topic);
      assert.ok(p0 !== undefined && p1 !== undefined);
      const at = (offset: number) => ({ ...p0, offset, metadata: `${offset}` });
      const forward = { forwardOnly: true };
      const stored = async () =>
        (await metadata.fetchOffsets(group)).map((it) => [it.partition, it.offset, it.metadata]);
      await metadata.commitOffsets(group, NOBODY, [at(5)], forward);
      await metadata.commitOffsets(group, NOBODY, [at(8)], forward);
      // The late one's other partition is stored all the same.
      const other = { ...p1, offset: 3, metadata: "" };
      await metadata.commitOffsets(group, NOBODY, [at(5), other], forward);
      assert.deepEqual(await stored(), [
        [0, 8, "8"],
        [1, 3, ""],
      ]);
      await metadata.commitOffsets(group, NOBODY, [at(2)]);
      assert.deepEqual((await stored())[0], [0, 2, "2"]);
    });

    it("are all or nothing", async () => {
      const { metadata } = subject();
      const group = fresh("group");
      const topic = await topicOf(1);
      const good = { topicId: topic.id, partition: 0, offset: 1, metadata: "" };
      const unknown = { ...good, topicId: "00000000-0000-4000-8000-000000000000" };
      const commit = (bad: typeof good) => metadata.commitOffsets(group, NOBODY, [good, bad]);
      await assert.rejects(commit(unknown), code("TOPIC_NOT_FOUND"));
      await assert.rejects(commit({ ...good, partition: 1 }), code("PARTITION_OUT_OF_RANGE"));
      await assert.rejects(commit({ ...good, offset: -1 }), code("INVALID_ARGUMENT"));
      await assert.rejects(commit({ ...good, offset: 2 ** 53 }), code("INVALID_ARGUMENT"));
      assert.deepEqual(await metadata.fetchOffsets(group), []);
      assert.equal(await metadata.describeGroup(group), undefined);
    });
  });

  describe("the lag snapshot", () => {
    it("has what was committed, by the living and the dead, and what live members have", async () => {
      const { metadata, advance } = subject();
      const { topic, runId } = await heldTopic(metadata, 3);
      const topicId = topic.id;
      await metadata.commitFlush(flushOf(runId, 1, [{ topicId, baseOffset: 0, recordCount: 10 }]));
      await metadata.advanceLogStart([{ topicId, partition: 0, logStartOffset: 2 }]);
      const group = fresh("group");
      const { memberEpoch } = await beat(metadata, group, "a", 0, topic.name);
      const offset = { topicId, partition: 0, offset: 4, metadata: "" };
      await metadata.commitOffsets(group, { memberId: "a", memberEpoch }, [offset]);
      const { asOfMs, members, rows } = await metadata.lagSnapshot(group);
      assert.deepEqual([...members], [[group, 1]]);
      assert.ok(asOfMs > 1_600_000_000_000);
      const row = { group, topicId, topic: topic.name };
      const committed = {
        ...row,
        partition: 0,
        nextOffset: 10,
        logStartOffset: 2,
        committedOffset: 4,
        committedAtMs: asOfMs,
      };
      const never = { nextOffset: 0, logStartOffset: 0, committedOffset: -1, committedAtMs: 0 };
      assert.deepEqual(rows, [
        committed,
        { ...row, partition: 1, ...never },
        { ...row, partition: 2, ...never },
      ]);
      const all = (await metadata.lagSnapshot()).rows.filter((it) => it.group === group);
      assert.deepEqual(all, rows);
      await advance(SESSION_MS);
      const dead = await metadata.lagSnapshot(group);
      assert.deepEqual([dead.rows, dead.members.size], [[committed], 0]);
      assert.equal((await metadata.lagSnapshot()).members.has(group), false);
      assert.deepEqual((await metadata.lagSnapshot(fresh("group"))).rows, []);
    });

    it("has the partitions that were asked for, once, with what the group committed there", async () => {
      const { metadata } = subject();
      const { topic, runId } = await heldTopic(metadata, 2);
      const topicId = topic.id;
      await metadata.commitFlush(flushOf(runId, 1, [{ topicId, baseOffset: 0, recordCount: 3 }]));
      const group = fresh("group");
      const offset = { topicId, partition: 0, offset: 1, metadata: "" };
      await metadata.commitOffsets(group, NOBODY, [offset]);
      const asked = [...partitionsOf(topic), { topicId, partition: 7 }];
      const told = async (name: string) =>
        (await metadata.lagSnapshot(name, asked)).rows.map((it) => [
          ...[it.group, it.topic, it.partition, it.committedOffset, it.nextOffset],
        ]);
      assert.deepEqual(await told(group), [
        [group, topic.name, 0, 1, 3],
        [group, topic.name, 1, -1, 0],
      ]);
      assert.deepEqual(await told(""), [
        ["", topic.name, 0, -1, 3],
        ["", topic.name, 1, -1, 0],
      ]);
    });

    it("tells every group and topic apart, also where names begin alike", async () => {
      const { metadata } = subject();
      const topics = [await topicOf(2), await topicOf(1)];
      const group = fresh("group");
      const groups = [group, `${group}/`, `${group}a`, `${group}\u{10ffff}`];
      for (const name of groups) {
        for (const { id: topicId } of topics) {
          const offset = { topicId, partition: 0, offset: groups.indexOf(name), metadata: "" };
          await metadata.commitOffsets(name, NOBODY, [offset]);
        }
      }
      const { rows } = await metadata.lagSnapshot();
      for (const [i, name] of groups.entries()) {
        const own = rows.filter((it) => it.group === name);
        assert.deepEqual(own.map((it) => it.topicId).sort(), topics.map((it) => it.id).sort());
        assert.ok(own.every((it) => it.committedOffset === i && it.partition === 0));
        assert.deepEqual((await metadata.lagSnapshot(name)).rows, own);
      }
    });
  });
}
