/** The gate around the agent's API: who is let in, what is passed on and in which order, what of an answer may be seen, what is said. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AccessAction, AccessRight } from "../../../src/core/access.ts";
import type { GroupMemberState } from "../../../src/metadata/metadata-store.ts";
import type {
  ProduceRequest,
  ProduceResponse,
} from "../../../src/rpc/gen/streamhouse/v1/producer.ts";
import { batch, failureOf, produceRequest, until } from "../rpc/fake-agent.ts";
import { type AccessWorld, accessWorld } from "./access-world.ts";

const rights = (action: AccessAction, ...prefixes: string[]): readonly AccessRight[] =>
  prefixes.map((topicPrefix) => ({ action, topicPrefix }));

const emptyFetch = {
  maxWaitMs: 0,
  minBytes: 0,
  maxBytes: 0,
  group: "",
  memberId: "",
  memberEpoch: 0,
};

function member(memberId: string, ...topics: string[]): GroupMemberState {
  const rest = { instanceId: "", clientId: "", memberEpoch: 1, expiresInMs: 1 };
  return { memberId, topics, ...rest, assigned: [], revoking: [] };
}

function withGroup(
  world: AccessWorld,
  topics: readonly string[],
  members: GroupMemberState[],
): void {
  world.groups.set("g", { group: "g", groupEpoch: 3, state: "stable", members });
  const rows = topics.map((topic) => ({
    ...{ group: "g", topic, topicId: world.id(topic), partition: 0, committedOffset: 1 },
    ...{ committedAtMs: 1, nextOffset: 2, logStartOffset: 0 },
  }));
  world.snapshot = { asOfMs: 1, rows, members: new Map() };
}

describe("the gate", () => {
  it("tells strangers apart in its counts, and lets none in", async () => {
    const world = accessWorld();
    const good = world.key(rights("admin", ""));
    const shown = [
      [undefined, "missing"],
      ["Bearer nonsense", "malformed"],
      [good.replace(/.$/, (it) => (it === "a" ? "b" : "a")), "unknown"],
      [world.key(rights("admin", ""), 0), "expired"],
    ] as const;
    for (const [credential, reason] of shown) {
      const error = await failureOf(world.access.api.listTopics({}, { credential }));
      assert.equal(error.code, "UNAUTHENTICATED");
      assert.equal(world.refused()[reason], 1, reason);
      const authenticated = world.access.authenticate({ credential, method: "a/b" });
      assert.equal((await failureOf(authenticated)).code, "UNAUTHENTICATED");
      const stream = world.access.openProduceStream({ credential, method: "a/b" });
      assert.equal((await failureOf(stream)).code, "UNAUTHENTICATED");
      assert.equal(await world.access.mayAdminister(credential), false);
    }
    assert.equal(world.seen.length, 0);
    await world.access.authenticate({ credential: good, method: "a/b" });
    assert.equal(await world.access.mayAdminister(good), true);
    assert.equal(await world.access.mayAdminister(world.key(rights("admin", "a"))), false);
  });

  it("names the missing right and the topic, and says nothing of the name behind an id", async () => {
    const world = accessWorld();
    const credential = world.key(rights("consume", "a."));
    const { api } = world.access;
    const created = await failureOf(
      api.createTopic({ name: "a.new", partitions: 1, retentionMs: 0 }, { credential }),
    );
    assert.match(created.message, /AdminService\/CreateTopic.*right admin for any topic/);
    const partitions = [{ topicId: world.id("b.x"), partition: 0, offset: 0, maxBytes: 0 }];
    const fetched = await failureOf(api.fetch({ ...emptyFetch, partitions }, { credential }));
    assert.match(fetched.message, new RegExp(`right consume for topic "${world.id("b.x")}"`));
    assert.equal(fetched.message.includes("b.x"), false);
    assert.equal(world.refused().denied, 2);
    const { fields } = world.log[1] ?? {};
    assert.equal(fields?.reason, "denied");
    assert.equal(JSON.stringify(world.log).includes(credential.slice(20)), false);
  });

  it("says ten lines of a flood, and how many it left out", async () => {
    const world = accessWorld();
    for (let i = 0; i < 50; i++) await failureOf(world.access.api.listTopics({}, {}));
    assert.equal(world.log.length, 10);
    world.clock.advance(10_000);
    await failureOf(world.access.api.listTopics({}, {}));
    assert.equal(world.log.at(-1)?.fields.unsaid, 40);
  });

  it("asks again when a fetch that waited ends", async () => {
    let end = () => {};
    const world = accessWorld({
      fetch: () =>
        new Promise((resolve) => {
          end = () => resolve({ partitions: [] });
        }),
    });
    const credential = world.key(rights("consume", "a."));
    const partitions = [{ topicId: world.id("a.x"), partition: 0, offset: 0, maxBytes: 0 }];
    const fetching = failureOf(
      world.access.api.fetch({ ...emptyFetch, partitions }, { credential }),
    );
    await until("passed on", () => world.seen.length === 1);
    world.keys.length = 0;
    world.clock.advance(60_000);
    end();
    assert.equal((await fetching).code, "UNAUTHENTICATED");
  });

  it("tells the agent whose key it is, and nothing of the secret", async () => {
    const world = accessWorld();
    const credential = world.key(rights("admin", ""));
    await world.access.api.listKeys({}, { credential, timeoutMs: 7 });
    assert.deepEqual(world.seen[0]?.call, { timeoutMs: 7, keyId: world.keys[0]?.id });
  });

  it("lets members leave whose topics the key may consume, and nobody else", async () => {
    const world = accessWorld();
    withGroup(world, [], [member("mine", "a.x"), member("other", "a.x", "b.x")]);
    const credential = world.key(rights("consume", "a."));
    const leave = (memberId: string) =>
      world.access.api.leave(
        { group: "g", memberId, memberEpoch: 1, keepPlace: false },
        { credential },
      );
    await leave("mine");
    await leave("nobody");
    const error = await failureOf(leave("other"));
    assert.equal(error.code, "PERMISSION_DENIED");
    assert.equal(error.message.includes("b.x"), false);
    assert.equal(world.seen.length, 2);
  });

  it("lets nobody take a member out that still holds partitions of others' topics", async () => {
    const world = accessWorld();
    const held = [{ topicId: world.id("b.x"), topic: "b.x", partition: 0, epoch: 1 }];
    const one = { ...member("moved", "a.x"), revoking: held };
    const other = { ...member("moves", "a.x"), assigned: held };
    withGroup(world, [], [one, other]);
    const credential = world.key(rights("consume", "a."));
    for (const memberId of ["moved", "moves"]) {
      const request = { group: "g", memberId, memberEpoch: 1, keepPlace: false };
      const error = await failureOf(world.access.api.leave(request, { credential }));
      assert.equal(error.code, "PERMISSION_DENIED");
    }
    assert.equal(world.seen.length, 0);
  });

  it("tells strangers nothing of metadata that cannot be reached, and the log all", async () => {
    const world = accessWorld();
    const credential = world.key(rights("consume", "a."));
    world.down("in metadata db.internal:5432/shop failed (ECONNREFUSED)");
    const error = await failureOf(world.access.api.listTopics({}, { credential }));
    assert.equal(error.code, "METADATA_UNAVAILABLE");
    assert.equal(error.retriable, true);
    assert.equal(error.message.includes("db.internal"), false);
    assert.match(JSON.stringify(world.log), /db\.internal/);
    assert.equal(world.refused().unavailable, 1);
  });

  it("lets a group be deleted by who may administer all its topics", async () => {
    const world = accessWorld();
    withGroup(world, ["a.x", "b.x"], [member("m", "c")]);
    const remove = (...prefixes: string[]) =>
      world.access.api.deleteGroup(
        { group: "g" },
        { credential: world.key(rights("admin", ...prefixes)) },
      );
    for (const some of [["a"], ["a", "b"], ["b", "c"]]) {
      assert.equal((await failureOf(remove(...some))).code, "PERMISSION_DENIED");
    }
    await remove("a", "b", "c");
    await remove("");
    assert.equal(world.seen.length, 2);
  });

  it("leaves out of answers what the key may not see", async () => {
    const world = accessWorld({
      listTopics: async () => ({
        topics: [...world.topics.values()].map(({ id, ...it }) => ({ topicId: id, ...it })),
      }),
      describeCluster: async () => ({
        ...{ runId: "r", agents: [] },
        leases: [...world.topics.values()].map((it) => ({
          ...{ topicId: it.id, partition: 0, runId: "r", epoch: 1 },
        })),
      }),
      fetchOffsets: async () => ({
        offsets: ["a.x", "b.x"].map((it) => ({
          ...{ topicId: world.id(it), partition: 0, offset: 1, metadata: "", committedAtMs: 1 },
        })),
      }),
      listGroups: async () => ({
        groups: ["g", "h"].map((group) => ({ group, members: 0, groupEpoch: 1, state: "empty" })),
      }),
      describeGroup: async ({ group }) => ({
        ...{ group, groupEpoch: 3, asOfMs: 1, state: "stable" },
        members: [member("mine", "a.x"), member("other", "b.x")].map((it) => ({
          ...it,
          ...{ topics: [...it.topics], sessionLeftMs: 1, assigned: [], revoking: [] },
        })),
        lags: ["a.x", "b.x"].map((topic) => ({
          ...{ topicId: world.id(topic), topic, partition: 0, committedOffset: 0, lagRecords: 0 },
          ...{
            highWatermark: 0,
            logStartOffset: 0,
            lagSeconds: 0,
            lostRecords: 0,
            error: undefined,
          },
        })),
      }),
    });
    withGroup(world, ["a.x"], []);
    const { api } = world.access;
    const credential = world.key(rights("consume", "a."));
    world.hide("a.x", "a.y");
    const cluster = await api.describeCluster({ agentsOnly: false }, { credential });
    assert.deepEqual(
      cluster.leases.map((it) => it.topicId),
      [world.id("a.x"), world.id("a.y")],
    );
    const { topics } = await api.listTopics({}, { credential });
    assert.deepEqual(
      topics.map((it) => it.name),
      ["a.x", "a.y"],
    );
    const offsets = await api.fetchOffsets({ group: "g", partitions: [] }, { credential });
    assert.deepEqual(
      offsets.offsets.map((it) => it.topicId),
      [world.id("a.x")],
    );
    const groups = await api.listGroups({}, { credential });
    assert.deepEqual(
      groups.groups.map((it) => it.group),
      ["g"],
    );
    const group = await api.describeGroup({ group: "g", positions: [] }, { credential });
    assert.deepEqual(
      [group.members.map((it) => it.memberId), group.lags.map((it) => it.topic), group.groupEpoch],
      [["mine"], ["a.x"], 3],
    );
    const other = { credential: world.key(rights("consume", "c")) };
    const hidden = await api.describeGroup({ group: "g", positions: [] }, other);
    assert.deepEqual([hidden.members, hidden.lags, hidden.groupEpoch], [[], [], 0]);
    const whole = { credential: world.key(rights("admin", "")) };
    assert.equal((await api.describeGroup({ group: "g", positions: [] }, whole)).lags.length, 2);
    assert.equal((await api.listGroups({}, whole)).groups.length, 2);
  });
});

describe("an admitted stream", () => {
  const answer: ProduceResponse = { results: [] };

  it("passes calls on in the order in which they came, also while some wait to be admitted", async () => {
    const world = accessWorld({ produce: async () => answer });
    const credential = world.key(rights("produce", "a"));
    const stream = await world.access.openProduceStream({ credential, method: "p" });
    const sent: ProduceRequest[] = [];
    const send = (topic: string, topicId = "") => {
      const request = produceRequest({ ...batch(sent.length, 1, topic), topicId });
      sent.push(request);
      return stream.produce(request, {});
    };
    const answers: Promise<unknown>[] = [];
    for (let round = 0; round < 20; round++) {
      // The first is passed on at once, the second waits for its topic, the rest wait behind it.
      answers.push(send("a.x"));
      world.hide("a.y");
      answers.push(send("", world.id("a.y")), send("a.x"), send("ab"));
      if (round % 2 === 0) await Promise.all(answers);
      else for (let turn = 0; turn < round % 5; turn++) await Promise.resolve();
    }
    await Promise.all(answers);
    assert.deepEqual(
      world.seen.map((it) => it.request),
      sent,
    );
  });

  it("passes a call on before it returns where nothing must be asked", async () => {
    const world = accessWorld({ produce: async () => answer });
    const credential = world.key(rights("produce", "a"));
    const stream = await world.access.openProduceStream({ credential, method: "p" });
    void stream.produce(produceRequest(batch(0, 1, "a.x")), {});
    assert.equal(world.seen.length, 1);
  });

  it("refuses a frame for a topic without the right, and goes on with the next", async () => {
    const world = accessWorld({ produce: async () => answer });
    const credential = world.key(rights("produce", "a."));
    const stream = await world.access.openProduceStream({ credential, method: "p" });
    const mixed = produceRequest(batch(0, 1, "a.x"), batch(0, 1, "ab"));
    assert.equal((await failureOf(stream.produce(mixed, {}))).code, "PERMISSION_DENIED");
    await stream.produce(produceRequest(batch(0, 1, "a.y")), {});
    assert.equal(world.seen.length, 1);
  });

  it("is refused at its opening without any right to produce, and at each frame once the key has ended", async () => {
    const world = accessWorld({ produce: async () => answer });
    const reader = { credential: world.key(rights("consume", "")), method: "p" };
    assert.equal(
      (await failureOf(world.access.openProduceStream(reader))).code,
      "PERMISSION_DENIED",
    );
    const credential = world.key(rights("produce", ""), 1_000);
    const stream = await world.access.openProduceStream({ credential, method: "p" });
    await stream.produce(produceRequest(batch(0, 1, "c")), {});
    world.clock.advance(1_000);
    const late = stream.produce(produceRequest(batch(0, 1, "c")), {});
    assert.equal((await failureOf(late)).code, "UNAUTHENTICATED");
    assert.equal(world.seen.length, 1);
  });
});
