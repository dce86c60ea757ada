/** Members of consumer groups and their shares: part of the metadata store's contract. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Topic } from "../../core/topic.ts";
import { type GroupPlayer, REBALANCE_MS, SESSION_MS, settle, stageOf } from "./group-player.ts";
import { code, fresh, type MetadataSubject } from "./metadata-subject.ts";

export function membershipContract(subject: () => MetadataSubject): void {
  const topicOf = (partitions: number, name = fresh("topic")) =>
    subject().metadata.createTopic({ name, partitions, retentionMs: 0 });

  const stage = (partitions: number) => stageOf(subject().metadata, partitions);
  const describeGroup = (group: string) => subject().metadata.describeGroup(group);
  const counts = (players: readonly GroupPlayer[]) => players.map((it) => it.names.length);
  const all = (topic: Topic, ...players: readonly GroupPlayer[]) =>
    assert.deepEqual(
      players.flatMap((it) => it.names).sort(),
      Array.from({ length: topic.partitions }, (_, i) => `${topic.name}/${i}`).sort(),
    );

  describe("group members", () => {
    it("share the partitions: what moves comes when it was let go, and nothing else moves", async () => {
      const { group, topic, player } = await stage(4);
      const [a, b] = [player("a"), player("b")];
      assert.equal((await a.beat()).memberEpoch, 1);
      all(topic, a);
      const waits = await b.beat();
      assert.deepEqual([waits.memberEpoch, waits.assigned, waits.awaited], [2, [], 2]);
      const told = await a.beat();
      assert.equal(told.letGoWithinMs, REBALANCE_MS);
      // It keeps its epoch until it has let go.
      assert.deepEqual([told.memberEpoch, told.assigned.length, told.revoking.length], [1, 2, 2]);
      assert.equal((await describeGroup(group))?.state, "reconciling");
      assert.deepEqual((await b.beat()).assigned, []);
      a.letGo();
      const kept = a.names;
      assert.equal((await a.beat()).memberEpoch, 2);
      const got = await b.beat();
      assert.deepEqual([got.assigned.length, got.awaited], [2, 0]);
      assert.deepEqual(a.names, kept);
      all(topic, a, b);
      await settle([a, b]);
      assert.equal((await describeGroup(group))?.state, "stable");
    });

    it("have what the group's description says", async () => {
      const { group, topic, player } = await stage(3);
      assert.equal(await describeGroup(group), undefined);
      const [a, b] = [player("a"), player("b", "instance of b")];
      await a.beat();
      await b.beat();
      await a.beat();
      const described = await describeGroup(group);
      const at = (partition: number) => ({ topicId: topic.id, topic: topic.name, partition });
      const client = { topics: [topic.name], expiresInMs: described?.members[0]?.expiresInMs };
      assert.deepEqual(described, {
        ...{ group, groupEpoch: 2, state: "reconciling" },
        members: [
          {
            ...{
              memberId: "a",
              instanceId: "",
              clientId: "client of a",
              memberEpoch: 1,
              ...client,
            },
            assigned: [
              { ...at(0), epoch: 1 },
              { ...at(1), epoch: 1 },
            ],
            revoking: [{ ...at(2), epoch: 1 }],
          },
          {
            ...{ memberId: "b", instanceId: "instance of b", clientId: "client of b" },
            ...{ memberEpoch: 2, topics: [topic.name], assigned: [], revoking: [] },
            expiresInMs: described?.members[1]?.expiresInMs,
          },
        ],
      });
      for (const it of described?.members ?? []) {
        assert.ok(it.expiresInMs > 0 && it.expiresInMs <= SESSION_MS, String(it.expiresInMs));
      }
      const listed = (await subject().metadata.listGroups()).find((it) => it.group === group);
      assert.deepEqual(listed, { group, members: 2, groupEpoch: 2, state: "reconciling" });
      await subject().advance(SESSION_MS);
      const dead = (await subject().metadata.listGroups()).find((it) => it.group === group);
      assert.deepEqual(dead, { group, members: 0, groupEpoch: 2, state: "empty" });
      assert.deepEqual((await describeGroup(group))?.members, []);
    });

    it("get the share of one that leaves, or whose session ends, and of nobody else", async () => {
      const { topic, player } = await stage(6);
      const { advance } = subject();
      const players = ["a", "b", "c"].map((it) => player(it));
      const [a, b, c] = players as [GroupPlayer, GroupPlayer, GroupPlayer];
      await settle(players);
      assert.deepEqual(counts(players), [2, 2, 2]);
      const before = [a, b].map((it) => it.names);
      await c.leave();
      await c.leave();
      await settle([a, b]);
      assert.deepEqual(counts([a, b]), [3, 3]);
      for (const [i, it] of [a, b].entries()) {
        for (const name of before[i] ?? []) assert.ok(it.names.includes(name));
      }
      await advance(SESSION_MS - 1);
      const still = a.names;
      await a.beat();
      assert.deepEqual(a.names, still);
      await advance(1);
      await a.beat();
      all(topic, a);
      await assert.rejects(b.beat(), code("UNKNOWN_MEMBER"));
      b.reset();
      await settle([a, b]);
      assert.deepEqual(counts([a, b]), [3, 3]);
    });

    it("get nothing of what another has not let go of, until its time for that is over", async () => {
      const { topic, player } = await stage(2);
      const { advance, metadata } = subject();
      const [a, b] = [player("a"), player("b")];
      await a.beat();
      await b.beat();
      await a.beat();
      for (let passed = 0; passed < REBALANCE_MS; passed += SESSION_MS / 2) {
        const { awaited } = await b.beat();
        assert.equal(awaited, 1);
        await a.beat();
        await advance(Math.min(SESSION_MS / 2, REBALANCE_MS - 1 - passed));
      }
      // It is still in, and its commits of what it has not let go of are good.
      const [topicId, partition] = [topic.id, a.toLetGo[0]?.partition ?? -1];
      const claim = { memberId: "a", memberEpoch: a.epoch };
      const offset = { topicId, partition, offset: 1, metadata: "" };
      await metadata.commitOffsets(a.input.group, claim, [offset]);
      await a.beat();
      assert.equal((await b.beat()).awaited, 1);
      await advance(1);
      await b.beat();
      all(topic, a, b);
      const late = metadata.commitOffsets(a.input.group, claim, [offset]);
      await assert.rejects(late, code("GROUP_FENCED"));
      const others = a.owned.map((it) => it.partition).filter((it) => it !== partition);
      const kept = others.map((it) => ({ ...offset, partition: it }));
      await metadata.commitOffsets(a.input.group, claim, kept);
      await settle([a, b]);
      assert.deepEqual(counts([a, b]), [1, 1]);
    });

    it("subscribe to topics of their own, and are given nothing else", async () => {
      const { topic, player } = await stage(4);
      const other = await topicOf(4);
      const a = player("a", "", [topic.name, other.name].sort());
      const b = player("b", "", [other.name]);
      await settle([a, b]);
      assert.ok(b.names.every((it) => it.startsWith(other.name)));
      assert.deepEqual(counts([a, b]), [4, 4]);
      a.topics = [topic.name];
      b.topics = [topic.name];
      await settle([a, b]);
      assert.deepEqual(counts([a, b]), [2, 2]);
      all(topic, a, b);
    });

    it("count epochs up at every change of members or subscriptions, and not at every heartbeat", async () => {
      const { topic, player } = await stage(1);
      const other = await topicOf(1);
      const a = player("a");
      const epochs: number[] = [];
      const again = async (...topics: string[]) => {
        a.topics = topics;
        await a.beat();
        a.letGo();
        epochs.push(a.epoch);
      };
      await again(topic.name);
      await again(topic.name);
      await again(topic.name, other.name);
      await again(other.name, topic.name, other.name);
      await again(topic.name, other.name);
      // It lets go of one first.
      await again(other.name);
      await again(other.name);
      assert.deepEqual(epochs, [1, 1, 2, 2, 2, 2, 3]);
    });

    it("get topics and partitions that appear later, and lose those that go", async () => {
      const { metadata } = subject();
      const later = fresh("topic");
      const { topic, player } = await stage(1);
      const a = player("a", "", [topic.name, later].sort());
      await a.beat();
      assert.deepEqual(a.names, [`${topic.name}/0`]);
      const before = a.epoch;
      await topicOf(1, later);
      await topicOf(1);
      await a.beat();
      assert.deepEqual([...a.names].sort(), [`${topic.name}/0`, `${later}/0`].sort());
      assert.ok(a.epoch > before);
      await metadata.alterTopic(later, { partitions: 2 });
      await a.beat();
      assert.equal(a.names.length, 3);
      await metadata.deleteTopic(topic.name);
      await a.beat();
      assert.deepEqual(a.names, [`${later}/0`, `${later}/1`]);
      await metadata.deleteTopic(later);
      await topicOf(1, later);
      await a.beat();
      a.letGo();
      assert.deepEqual(a.names, [`${later}/0`]);
    });

    it("are answered again if an answer was lost, and fenced if they are further behind or ahead", async () => {
      const { player } = await stage(2);
      const [a, b, c] = [player("a"), player("b"), player("c")];
      const { metadata } = subject();
      const first = await metadata.heartbeat(a.input);
      assert.deepEqual(await a.beat(), first);
      await b.beat();
      await a.beat();
      a.letGo();
      const lost = await metadata.heartbeat(a.input);
      assert.deepEqual(await metadata.heartbeat(a.input), lost);
      const old = a.input;
      await a.beat();
      await c.beat();
      await a.beat();
      a.letGo();
      await a.beat();
      assert.ok(a.epoch > lost.memberEpoch);
      await assert.rejects(metadata.heartbeat(old), code("GROUP_FENCED"));
      await assert.rejects(
        metadata.heartbeat({ ...a.input, memberEpoch: 99 }),
        code("GROUP_FENCED"),
      );
    });

    it("do not let go by a request that is older than what they were given", async () => {
      const { player } = await stage(4);
      const { metadata } = subject();
      const [a, b, c, d] = ["a", "b", "c", "d"].map((it) => player(it)) as [
        ...[GroupPlayer, GroupPlayer, GroupPlayer, GroupPlayer],
      ];
      await a.beat();
      await b.beat();
      const beforeItHadAny = b.input;
      await a.beat();
      a.letGo();
      await a.beat();
      await b.beat();
      assert.equal(b.names.length, 2);
      await c.beat();
      await d.beat();
      assert.equal((await b.beat()).revoking.length, 1);
      // It has not let go. What it sent when it held nothing arrives only now.
      const late = await metadata.heartbeat(beforeItHadAny);
      assert.equal(late.revoking.length, 1);
      await settle([a, b, c, d]);
      assert.deepEqual(counts([a, b, c, d]), [1, 1, 1, 1]);
    });
  });
}
