/** The `streamhouse.group.*` family: whose series there are, when they go, and that each is exported once. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import {
  type BenchAgent,
  createTopic,
  memoryMetadata,
  seededRandom,
  send,
  sendAndWait,
  startAgent,
} from "./bench-agent.ts";
import { commit, groupFamilies, measured, stop, valuesOf } from "./lag-bench.ts";
import { MemoryStore, TestSink } from "./memory-store.ts";

describe("a group", () => {
  it("has lag, lead, losses and the time of its last commit in each partition, and its members once", async () => {
    const bench = await startAgent({ agent: { retentionCheckMs: 1_000 }, ...measured });
    const { clock } = bench;
    const topicId = await createTopic(bench, "t", { partitions: 2, retentionMs: 20_000 });
    await sendAndWait(bench, "t", ["a", "b", "c"]);
    await clock.run(10_000);
    await sendAndWait(bench, "t", ["d", "e"]);
    const committedAt = clock.now() / 1_000;
    await commit(bench, topicId, 1);
    await commit(bench, topicId, 4, { group: "h" });
    const timeouts = { sessionTimeoutMs: 30_000, rebalanceTimeoutMs: 0 };
    const beat = { clientId: "c", instanceId: "", topics: ["t"], owned: [], ...timeouts };
    const join = (memberId: string) =>
      bench.agent.api.heartbeat({ ...beat, group: "g", memberId, memberEpoch: 0 }, {});
    await clock.until(Promise.all([join("one"), join("two")]));
    await clock.run(3_000);
    assert.deepEqual(valuesOf(bench, catalogue.groupLagRecords), { "t/0/g": 4, "t/0/h": 1 });
    assert.deepEqual(valuesOf(bench, catalogue.groupLeadRecords), { "t/0/g": 1, "t/0/h": 4 });
    assert.deepEqual(valuesOf(bench, catalogue.groupLostRecords), { "t/0/g": 0, "t/0/h": 0 });
    assert.deepEqual(valuesOf(bench, catalogue.groupMembers), { g: 2, h: 0 });
    assert.deepEqual(valuesOf(bench, catalogue.groupLastCommit), {
      "t/0/g": committedAt,
      "t/0/h": committedAt,
    });
    // Retention takes a, b and c: g has lost two of them.
    await clock.run(10_000);
    assert.deepEqual(valuesOf(bench, catalogue.groupLagRecords), { "t/0/g": 2, "t/0/h": 1 });
    assert.deepEqual(valuesOf(bench, catalogue.groupLeadRecords), { "t/0/g": 0, "t/0/h": 1 });
    assert.deepEqual(valuesOf(bench, catalogue.groupLostRecords), { "t/0/g": 2, "t/0/h": 0 });
    await clock.run(30_000);
    assert.deepEqual(valuesOf(bench, catalogue.groupMembers), { g: 0, h: 0 }, "all are dead");
    assert.deepEqual(valuesOf(bench, catalogue.groupLagRecords), { "t/0/g": 0, "t/0/h": 0 });
    assert.deepEqual(valuesOf(bench, catalogue.groupLagSeconds), { "t/0/g": 0, "t/0/h": 0 });
    await stop(bench);
  });

  it("that never committed has members and no lag, because only its consumers know where it would begin", async () => {
    const bench = await startAgent(measured);
    const { api } = bench.agent;
    const topicId = await createTopic(bench, "t");
    await sendAndWait(bench, "t", ["a", "b", "c", "d"]);
    const timeouts = { sessionTimeoutMs: 30_000, rebalanceTimeoutMs: 0 };
    const beat = { clientId: "c", instanceId: "", topics: ["t"], owned: [], ...timeouts };
    await bench.clock.until(
      api.heartbeat({ ...beat, group: "g", memberId: "m", memberEpoch: 0 }, {}),
    );
    await bench.clock.run(3_000);
    assert.deepEqual(valuesOf(bench, catalogue.groupLagRecords), {});
    assert.deepEqual(valuesOf(bench, catalogue.groupMembers), { g: 1 });
    const described = async (group: string, ...offsets: readonly number[]) => {
      const positions = offsets.map((offset) => ({ topicId, partition: 0, offset }));
      const { lags } = await api.describeGroup({ group, positions }, {});
      return lags.map((it) => [it.committedOffset, it.lagRecords, it.lagSeconds]);
    };
    const seconds = 3;
    const [began] = await described("g");
    assert.deepEqual(began?.slice(0, 2), [-1, 4]);
    assert.ok(Math.abs((began?.[2] ?? 0) - seconds) < 0.1);
    assert.deepEqual((await described("g", 3))[0]?.slice(0, 2), [-1, 1]);
    assert.deepEqual(await described("g", 4), [[-1, 0, 0]]);
    assert.deepEqual((await described("", 2))[0]?.slice(0, 2), [-1, 2], "a reader without a group");
    await commit(bench, topicId, 1, { group: "other" });
    assert.deepEqual((await described("other", 3))[0]?.slice(0, 2), [1, 3], "the commit counts");
    await stop(bench);
  });

  it("described at a position that does not exist says so there, and only there", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t");
    const positions = [
      { topicId, partition: 0, offset: 0 },
      { topicId, partition: 5, offset: 0 },
    ];
    const { lags } = await bench.agent.api.describeGroup({ group: "g", positions }, {});
    assert.deepEqual(
      lags.map((it) => [it.partition, it.error?.code]),
      [
        [0, undefined],
        [5, "TOPIC_NOT_FOUND"],
      ],
    );
    await stop(bench);
  });

  it("that is gone from metadata is gone from the metrics", async () => {
    const clock = new ManualClock();
    const inner = memoryMetadata(clock);
    let deleted = "";
    const metadata = new Proxy(inner, {
      get: (target, name) => {
        const member = Reflect.get(target, name, target) as (...args: unknown[]) => unknown;
        if (name !== "lagSnapshot") return member;
        return async () => {
          const snapshot = await inner.lagSnapshot();
          return { ...snapshot, rows: snapshot.rows.filter((it) => it.group !== deleted) };
        };
      },
    });
    const bench = await startAgent({ clock, metadata, ...measured });
    const topicId = await createTopic(bench, "t");
    await commit(bench, topicId, 0, { group: "a" });
    await commit(bench, topicId, 0, { group: "b" });
    await clock.run(3_000);
    assert.deepEqual(valuesOf(bench, catalogue.groupMembers), { a: 0, b: 0 });
    deleted = "a";
    await clock.run(3_000);
    for (const family of groupFamilies) {
      const labels = Object.keys(valuesOf(bench, family));
      assert.deepEqual(labels, [family === catalogue.groupMembers ? "b" : "t/0/b"]);
    }
    await stop(bench);
  });
});

describe("a topic that is deleted and made anew", () => {
  it("takes its groups' series with it at the next collection, and goes on in the same ones", async () => {
    const bench = await startAgent(measured);
    const { clock } = bench;
    const first = await createTopic(bench, "t");
    await sendAndWait(bench, "t", ["a", "b", "c"]);
    await commit(bench, first, 1);
    await clock.run(3_000);
    assert.deepEqual(valuesOf(bench, catalogue.groupLagRecords), { "t/0/g": 2 });
    await clock.until(bench.agent.api.deleteTopic({ name: "t" }, {}));
    assert.deepEqual(valuesOf(bench, catalogue.groupLagRecords), {}, "gone at once");
    const second = await createTopic(bench, "t");
    await sendAndWait(bench, "t", ["d"]);
    await commit(bench, second, 0);
    await clock.run(3_000);
    assert.deepEqual(valuesOf(bench, catalogue.groupLagRecords), { "t/0/g": 1 });
    const seconds = valuesOf(bench, catalogue.groupLagSeconds)["t/0/g"] ?? 0;
    assert.ok(seconds > 0 && seconds <= 3.1, `${seconds}`);
    // Within one refresh: the old one's series must not be taken out after the new one's has begun.
    await clock.until(bench.agent.api.deleteTopic({ name: "t" }, {}));
    const third = await createTopic(bench, "t");
    await commit(bench, third, 0);
    await clock.run(3_000);
    assert.deepEqual(valuesOf(bench, catalogue.groupLagRecords), { "t/0/g": 0 });
    await stop(bench);
  });
});

describe("two agents", () => {
  it("export each partition's lag and each group's members once, and the survivor takes over", async () => {
    const clock = new ManualClock();
    const metadata = memoryMetadata(clock);
    const store = new MemoryStore();
    const agent = { predecessorsDead: false, leaseRenewMs: 1_000 };
    const common = { clock, metadata, store, ...measured };
    const one = await startAgent({ ...common, agent: { ...agent, agentId: "one" } });
    const partitions = 32;
    const topicId = await createTopic(one, "t", { partitions });
    const two = await startAgent({
      ...common,
      agent: { ...agent, agentId: "two" },
      sink: new TestSink(store, { file: "segments/two.seg" }),
      random: seededRandom(2),
    });
    await clock.run(4_000);
    for (let partition = 0; partition < partitions; partition++) {
      const wait = (bench: BenchAgent) =>
        clock.until(send(bench, "t", ["a", "b"], { partition })).catch(() => undefined);
      if ((await wait(one)) === undefined) assert.ok(await wait(two));
      for (const group of ["g", "h"]) await commit(one, topicId, 1, { group, partition });
    }
    await clock.run(3_000);
    for (const family of groupFamilies) {
      const shares = [one, two].map((it) => Object.keys(valuesOf(it, family)));
      const all = shares.flat();
      const wanted = family === catalogue.groupMembers ? 2 : 2 * partitions;
      assert.deepEqual([all.length, new Set(all).size], [wanted, wanted], family.name);
      if (family !== catalogue.groupMembers) assert.ok(shares.every((it) => it.length > 0));
    }
    // What another agent wrote a moment ago is counted exactly by any agent that is asked.
    const holder = valuesOf(one, catalogue.groupLagRecords)["t/7/g"] === undefined ? two : one;
    const asked = holder === one ? two : one;
    const appended = clock.now();
    await sendAndWait(holder, "t", ["c"], { partition: 7 });
    await commit(one, topicId, 2, { partition: 7 });
    clock.advance(123);
    const { lags } = await asked.agent.api.describeGroup({ group: "g", positions: [] }, {});
    const lag = lags.find((it) => it.partition === 7);
    assert.deepEqual([lag?.lagRecords, lag?.lagSeconds], [1, (clock.now() - appended) / 1_000]);
    await clock.until(two.agent.drain());
    for (const family of groupFamilies) assert.deepEqual(valuesOf(two, family), {}, family.name);
    await stop(two);
    await clock.run(4_000);
    assert.equal(Object.keys(valuesOf(one, catalogue.groupLagRecords)).length, 2 * partitions);
    assert.deepEqual(valuesOf(one, catalogue.groupMembers), { g: 0, h: 0 });
    await stop(one);
    assert.equal(clock.pending, 0);
  });
});
