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
