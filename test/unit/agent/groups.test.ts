import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type BenchAgent, createTopic, failureOf, sendAndWait, startAgent } from "./bench-agent.ts";

const heartbeat = (bench: BenchAgent, memberId: string, memberEpoch: number) =>
  bench.agent.api.heartbeat(
    {
      group: "g",
      memberId,
      memberEpoch,
      topics: ["t"],
      sessionTimeoutMs: 0,
      owned: [],
      clientId: "c",
      instanceId: "",
      rebalanceTimeoutMs: 0,
    },
    {},
  );

const fetchAs = (
  bench: BenchAgent,
  topicId: string,
  member: { memberId: string; memberEpoch: number; partition?: number },
) =>
  bench.agent.api.fetch(
    {
      partitions: [{ topicId, partition: member.partition ?? 0, offset: 0, maxBytes: 0 }],
      ...{ maxWaitMs: 0, minBytes: 1, maxBytes: 0, group: "g" },
      memberId: member.memberId,
      memberEpoch: member.memberEpoch,
    },
    {},
  );

const commit = (bench: BenchAgent, topicId: string, offset: number, metadata = "") =>
  bench.agent.api.commitOffsets(
    {
      group: "g",
      memberId: "",
      memberEpoch: 0,
      forwardOnly: false,
      offsets: [{ topicId, partition: 0, offset, metadata }],
    },
    {},
  );

describe("a group's member", () => {
  it("joins, is told its partitions and when to call again, and may fetch those", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t", { partitions: 2 });
    await sendAndWait(bench, "t", ["a"]);
    const joined = await heartbeat(bench, "m1", 0);
    assert.equal(joined.assigned.length, 2);
    assert.equal(joined.heartbeatIntervalMs, 3_333);
    const { memberEpoch } = joined;
    const { partitions } = await fetchAs(bench, topicId, { memberId: "m1", memberEpoch });
    assert.equal(partitions[0]?.batches.length, 1);
    await bench.clock.until(bench.agent.stop());
  });

  it("that is not one, or asks beyond its assignment or epoch, is refused as fenced", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    const otherId = await createTopic(bench, "other");
    const { memberEpoch } = await heartbeat(bench, "m1", 0);
    const unknown = await failureOf(fetchAs(bench, topicId, { memberId: "m2", memberEpoch: 1 }));
    assert.equal(unknown.code, "UNKNOWN_MEMBER");
    assert.equal(unknown.kind, "fenced");
    const member = { memberId: "m1", memberEpoch };
    assert.equal((await failureOf(fetchAs(bench, otherId, member))).code, "GROUP_FENCED");
    const ahead = { memberId: "m1", memberEpoch: memberEpoch + 5 };
    assert.equal((await failureOf(fetchAs(bench, topicId, ahead))).code, "GROUP_FENCED");
    // One that left is refused as soon as metadata is asked again, without waiting for its session's end.
    await bench.metadata.leaveGroup("g", "m1", { keepPlace: false });
    await bench.clock.run(1_001);
    assert.equal((await failureOf(fetchAs(bench, topicId, member))).code, "UNKNOWN_MEMBER");
    await bench.clock.until(bench.agent.stop());
  });
});

describe("group calls with bad input", () => {
  it("are refused, naming the field", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    const api = bench.agent.api;
    const timeouts = { sessionTimeoutMs: 0, rebalanceTimeoutMs: 0 };
    const member = { memberId: "m", instanceId: "", memberEpoch: 0, clientId: "" };
    const beat = { group: "g", ...member, topics: [], owned: [], ...timeouts };
    const cases = [
      [commit(bench, topicId, -1), "offsets[0].offset"],
      [commit(bench, topicId, 1, "x".repeat(4_097)), "offsets[0].metadata"],
      [api.fetchOffsets({ group: "", partitions: [] }, {}), "group"],
      [api.heartbeat({ ...beat, sessionTimeoutMs: 5, clientId: "" }, {}), "session_timeout_ms"],
      [
        api.heartbeat({ ...beat, memberId: "", sessionTimeoutMs: 0, clientId: "" }, {}),
        "member_id",
      ],
      [api.describeGroup({ group: "", positions: [] }, {}), "group"],
    ] as const;
    for (const [call, field] of cases) {
      const error = await failureOf(call);
      assert.equal(error.code, "INVALID_ARGUMENT");
      assert.equal(error.field, field);
    }
    await bench.clock.until(bench.agent.stop());
  });
});

describe("committed offsets", () => {
  it("come back with their metadata", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    await sendAndWait(bench, "t", ["a", "b"]);
    await commit(bench, topicId, 2, "note");
    const { offsets } = await bench.agent.api.fetchOffsets({ group: "g", partitions: [] }, {});
    assert.equal(offsets.length, 1);
    assert.equal(offsets[0]?.offset, 2);
    assert.equal(offsets[0]?.metadata, "note");
    const { groups } = await bench.agent.api.listGroups({}, {});
    assert.deepEqual(
      groups.map((it) => it.group),
      ["g"],
    );
    await bench.clock.until(bench.agent.stop());
  });
});

describe("a member of several", () => {
  const beat = (
    bench: BenchAgent,
    memberId: string,
    memberEpoch: number,
    owned: readonly number[],
    topicId: string,
  ) =>
    bench.agent.api.heartbeat(
      {
        ...{ group: "g", memberId, memberEpoch, topics: ["t"], instanceId: "", clientId: "c" },
        ...{ sessionTimeoutMs: 3_000, rebalanceTimeoutMs: 1_000 },
        owned: owned.map((partition) => ({ topicId, topic: "t", partition })),
      },
      {},
    );

  async function two() {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t", { partitions: 2 });
    const first = await beat(bench, "m1", 0, [], topicId);
    const second = await beat(bench, "m2", 0, [], topicId);
    const told = await beat(bench, "m1", first.memberEpoch, [0, 1], topicId);
    const kept = told.assigned[0]?.partition ?? -1;
    return { bench, topicId, first, second, told, kept, gone: 1 - kept };
  }

  it("that waits for a partition is asked to come back soon, and the others as usual", async () => {
    const { bench, second, told } = await two();
    assert.equal(second.assigned.length, 0);
    assert.equal(second.heartbeatIntervalMs, 500);
    assert.equal(told.assigned.length, 1);
    assert.equal(told.heartbeatIntervalMs, 1_000);
    await bench.clock.until(bench.agent.stop());
  });

  it("may fetch what it is to let go of until it has, and what it keeps at the epoch it had: a rebalance refuses nobody", async () => {
    const { bench, topicId, first, told, kept, gone } = await two();
    const { memberEpoch } = first;
    assert.equal(told.memberEpoch, memberEpoch, "it keeps its epoch until it has let go");
    const m1 = { memberId: "m1", memberEpoch };
    for (const partition of [kept, gone]) await fetchAs(bench, topicId, { ...m1, partition });
    const after = await beat(bench, "m1", memberEpoch, [kept], topicId);
    assert.ok(after.memberEpoch > memberEpoch);
    await fetchAs(bench, topicId, { ...m1, partition: kept });
    const refused = await failureOf(fetchAs(bench, topicId, { ...m1, partition: gone }));
    assert.equal(refused.code, "GROUP_FENCED");
    const given = await beat(bench, "m2", 2, [], topicId);
    assert.deepEqual(
      given.assigned.map((it) => it.partition),
      [gone],
    );
    const early = { memberId: "m2", memberEpoch: given.memberEpoch - 1, partition: gone };
    assert.equal((await failureOf(fetchAs(bench, topicId, early))).code, "GROUP_FENCED");
    await fetchAs(bench, topicId, { ...early, memberEpoch: given.memberEpoch });
    await bench.clock.until(bench.agent.stop());
  });

  it("whose session has ended is refused at once, also by an agent that knew it as a member a moment ago", async () => {
    const { bench, topicId, first, kept } = await two();
    await bench.clock.run(2_999);
    const m1 = { memberId: "m1", memberEpoch: first.memberEpoch, partition: kept };
    await fetchAs(bench, topicId, m1);
    await bench.clock.run(1);
    assert.equal((await failureOf(fetchAs(bench, topicId, m1))).code, "UNKNOWN_MEMBER");
    await bench.clock.until(bench.agent.stop());
  });
});

describe("offsets of groups that nobody uses", () => {
  it("are forgotten after their time, with the group, and those of a live one are kept", async () => {
    const week = 7 * 86_400_000;
    const bench = await startAgent({ agent: { offsetsCheckMs: 60_000 } });
    const topicId = await createTopic(bench, "t");
    await commit(bench, topicId, 0);
    const groups = async () =>
      (await bench.agent.api.listGroups({}, {})).groups.map((it) => it.group);
    bench.clock.advance(week - 120_000);
    await bench.clock.run(60_001);
    assert.deepEqual(await groups(), ["g"]);
    await bench.clock.run(120_001);
    assert.deepEqual(await groups(), []);
    await bench.clock.until(bench.agent.stop());
  });

  it("are kept for ever where that is asked for", async () => {
    const bench = await startAgent({ agent: { offsetsCheckMs: 60_000, offsetsRetentionMs: 0 } });
    const topicId = await createTopic(bench, "t");
    await commit(bench, topicId, 0);
    bench.clock.advance(365 * 86_400_000);
    await bench.clock.run(120_000);
    assert.equal((await bench.agent.api.listGroups({}, {})).groups.length, 1);
    await bench.clock.until(bench.agent.stop());
  });
});
