import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createCluster } from "../../../src/client/cluster.ts";
import { invalid, StreamHouseError } from "../../../src/core/errors.ts";
import type { RandomBytes } from "../../../src/core/ids.ts";
import { silentLogger } from "../../../src/core/logger.ts";
import type { AgentApi } from "../../../src/rpc/agent-api.ts";
import {
  DescribeClusterResponse,
  DescribeTopicResponse,
} from "../../../src/rpc/gen/streamhouse/v1/admin.ts";
import { failureOf } from "../rpc/fake-agent.ts";
import { fakeTransport, unreachable } from "./fake-transport.ts";

/** A clock that stands still until it is moved, or somebody sleeps. */
function stillClock() {
  let time = 0;
  return {
    now: () => time,
    monotonic: () => time,
    schedule(ms: number, wake: () => void) {
      queueMicrotask(() => {
        time += ms;
        wake();
      });
      return { cancel() {} };
    },
    move(ms: number) {
      time += ms;
    },
  };
}

interface World {
  topics: Record<string, { id: string; partitions: number; holders: readonly string[] }>;
  agents: string[];
  /** Expired, or about to stop. */
  leaving: string[];
}

function methodsOf(world: World): Partial<AgentApi> {
  return {
    describeCluster: async () =>
      DescribeClusterResponse.fromPartial({
        agents: [
          ...world.agents.map((address) => ({ address, live: true })),
          ...world.leaving.map((address, i) => ({
            ...{ address, live: i % 2 === 0, retiring: i % 2 === 0 },
          })),
        ],
      }),
    describeTopic: async (request) => {
      const entry = Object.entries(world.topics).find(
        ([name, it]) => name === request.name || it.id === request.topicId,
      );
      if (entry === undefined) throw invalid("TOPIC_NOT_FOUND", `topic ${request.name} is unknown`);
      const [name, { id, partitions, holders }] = entry;
      return DescribeTopicResponse.fromPartial({
        topic: { topicId: id, name, partitions },
        partitions: holders.map((holderAddress, partition) => ({ partition, holderAddress })),
      });
    },
  };
}

function setUp(
  first: readonly string[] = ["a:1", "b:1"],
  random: RandomBytes = (into) => into.fill(0),
) {
  const world: World = {
    topics: { orders: { id: "id-1", partitions: 2, holders: ["a:1", "b:1"] } },
    agents: ["a:1", "b:1", "c:1"],
    leaving: [],
  };
  const clock = stillClock();
  const transport = fakeTransport(first, () => methodsOf(world));
  const cluster = createCluster(transport, {
    ...{ clock, logger: silentLogger, random },
  });
  const asked = () =>
    ["a:1", "b:1", "c:1"]
      .flatMap((address) => transport.seen(address))
      .filter((it) => it.name === "describeTopic").length;
  return { world, clock, transport, cluster, asked };
}

describe("the cluster client", () => {
  it("asks for a topic once, however many want it, and again when it is old", async () => {
    const { cluster, clock, asked } = setUp();
    const many = await Promise.all(Array.from({ length: 10 }, () => cluster.topic("orders")));
    assert.equal(new Set(many).size, 1);
    assert.equal(many[0]?.id, "id-1");
    await cluster.topic("orders");
    assert.equal(asked(), 1);
    await cluster.topic("orders", { fresh: true });
    assert.equal(asked(), 2);
    clock.move(30_000);
    await cluster.topic("orders");
    assert.equal(asked(), 3);
  });

  it("answers each partition's holder from what it learned with the topic", async () => {
    const { cluster, asked } = setUp();
    const { id } = await cluster.topic("orders");
    assert.equal((await cluster.holder(id, 0)).address, "a:1");
    assert.equal((await cluster.holder(id, 1)).address, "b:1");
    assert.equal(asked(), 1);
  });

  it("learns a holder that it does not know", async () => {
    const { cluster, asked } = setUp();
    assert.equal((await cluster.holder("id-1", 1)).address, "b:1");
    assert.equal(asked(), 1);
  });

  it("answers any agent for a partition that nobody holds, or that an embedded agent holds", async () => {
    const { cluster, world } = setUp();
    world.topics.orders = { id: "id-1", partitions: 2, holders: ["", ""] };
    assert.equal((await cluster.holder("id-1", 0)).address, "a:1");
    assert.equal((await cluster.holder("id-1", 7)).address, "a:1");
  });

  it("goes to the holder that an agent named", async () => {
    const { cluster, asked } = setUp();
    const { id } = await cluster.topic("orders");
    const moved = { code: "NOT_LEASE_HOLDER", kind: "unavailable", message: "moved" } as const;
    cluster.note(id, 0, new StreamHouseError({ ...moved, holderAddress: "c:1" }));
    assert.equal((await cluster.holder(id, 0)).address, "c:1");
    assert.equal(asked(), 1);
    cluster.note(id, 0, new StreamHouseError(moved));
    assert.equal((await cluster.holder(id, 0)).address, "a:1");
    assert.equal(asked(), 2);
  });

  it("asks again, and another, when the holder is gone", async () => {
    const { cluster, world, transport } = setUp();
    const { id } = await cluster.topic("orders");
    transport.down.add("a:1");
    world.topics.orders = { id, partitions: 2, holders: ["b:1", "b:1"] };
    cluster.note(id, 0, unreachable("a:1"));
    assert.equal((await cluster.holder(id, 0)).address, "b:1");
    assert.equal(transport.seen("b:1").length > 0, true);
    assert.equal((await cluster.any()).address, "b:1");
  });

  it("finds agents beyond the first addresses when those are gone", async () => {
    const { cluster, transport } = setUp();
    assert.equal((await cluster.any()).address, "a:1");
    transport.down.add("a:1").add("b:1");
    cluster.note("", -1, unreachable("a:1"));
    assert.equal((await cluster.any()).address, "c:1");
  });

  it("finds agents that it heard of as holders when all that were named before are gone", async () => {
    const { cluster, transport } = setUp();
    const { id } = await cluster.topic("orders");
    const moved = { code: "NOT_LEASE_HOLDER", kind: "unavailable", message: "moved" } as const;
    cluster.note(id, 0, new StreamHouseError({ ...moved, holderAddress: "new:1" }));
    transport.down.add("a:1").add("b:1").add("c:1");
    cluster.note("", -1, unreachable("a:1"));
    assert.equal((await cluster.any()).address, "new:1");
  });

  it("takes a failure for that of the agent that it came from, whoever holds the partition by now", async () => {
    const { cluster, transport } = setUp();
    const { id } = await cluster.topic("orders");
    const moved = { code: "NOT_LEASE_HOLDER", kind: "unavailable", message: "moved" } as const;
    cluster.note(id, 1, new StreamHouseError({ ...moved, holderAddress: "c:1" }));
    const preferred = await cluster.any();
    const from = transport.connection("b:1");
    for (let i = 0; i < 3; i++) cluster.note(id, 1, unreachable("b:1"), from);
    assert.equal((await cluster.holder(id, 1)).address, "c:1");
    assert.equal((await cluster.any()).address, preferred.address);
    assert.equal(transport.seen("c:1").length, 0, "nobody else had to be looked for");
  });

  it("names every address that it tried, and why each failed", async () => {
    const { cluster, transport } = setUp(["x:1", "y:2", "z:3"]);
    for (const address of ["x:1", "y:2", "z:3"]) transport.down.add(address);
    const error = await failureOf(cluster.topic("orders"));
    assert.equal(error.code, "AGENT_UNREACHABLE");
    assert.equal(error.outcome, "none");
    for (const address of ["x:1", "y:2", "z:3"]) {
      assert.match(error.message, new RegExp(`${address} \\(connection to ${address} refused\\)`));
    }
  });

  it("looks elsewhere when the agent dies in the middle of the question", async () => {
    const { cluster, transport } = setUp();
    await cluster.any();
    transport.down.add("a:1");
    assert.equal((await cluster.topic("orders")).id, "id-1");
  });

  it("goes on with what it knew while nobody can be asked", async () => {
    const { cluster, clock, transport } = setUp();
    const known = await cluster.topic("orders");
    clock.move(60_000);
    for (const address of ["a:1", "b:1", "c:1"]) transport.down.add(address);
    assert.equal(await cluster.topic("orders"), known);
    assert.equal((await failureOf(cluster.topic("orders", { fresh: true }))).kind, "unavailable");
  });

  it("knows a topic that was made anew as another one", async () => {
    const { cluster, world } = setUp();
    await cluster.topic("orders");
    world.topics.orders = { id: "id-2", partitions: 5, holders: [] };
    cluster.note("id-1", 0, invalid("TOPIC_NOT_FOUND", "gone"));
    const now = await cluster.topic("orders");
    assert.deepEqual([now.id, now.partitions], ["id-2", 5]);
    delete world.topics.orders;
    assert.equal((await failureOf(cluster.holder("id-1", 0))).code, "TOPIC_NOT_FOUND");
    assert.equal(
      (await failureOf(cluster.topic("orders", { fresh: true }))).code,
      "TOPIC_NOT_FOUND",
    );
    assert.equal((await failureOf(cluster.topic("orders"))).code, "TOPIC_NOT_FOUND");
  });

  it("lets one caller go without stopping the question for the others", async () => {
    const { cluster, asked } = setUp();
    const stop = new AbortController();
    const first = failureOf(cluster.topic("orders", { signal: stop.signal }));
    const second = cluster.topic("orders");
    stop.abort();
    assert.equal((await first).code, "ABORTED");
    assert.equal((await second).id, "id-1");
    assert.equal(asked(), 1);
  });

  it("asks no faster for holders than partitions move, however often it is told that one is elsewhere", async () => {
    const { cluster, clock, asked } = setUp();
    const { id } = await cluster.topic("orders");
    const moved = { code: "NOT_LEASE_HOLDER", kind: "unavailable", message: "moved" } as const;
    for (let round = 0; round < 20; round++) {
      for (const partition of [0, 1]) cluster.note(id, partition, new StreamHouseError(moved));
      await Promise.all([cluster.holder(id, 0), cluster.holder(id, 1), cluster.holder(id, 1)]);
    }
    assert.equal(asked(), 21, "one question for all partitions of a round");
    assert.ok(clock.monotonic() >= 20 * 50, `${clock.monotonic()} ms`);
    assert.ok(clock.monotonic() <= 20 * 100, `${clock.monotonic()} ms`);
  });

  it("does not stay with one agent: in time it asks them all, and those that came later", async () => {
    let turn = 0;
    const { cluster, clock, world } = setUp(["a:1"], (into) => into.fill(Math.floor(turn++ / 2)));
    const met = new Set<string>();
    for (let i = 0; i < 40; i++) {
      if (i === 20) world.agents.push("d:1");
      met.add((await cluster.any()).address);
      clock.move(30_000);
    }
    assert.deepEqual([...met].sort(), ["a:1", "b:1", "c:1", "d:1"]);
  });

  it("names as agents only those that live and stay, and lets go of connections to the dead", async () => {
    const { cluster, clock, transport, world } = setUp(["a:1"]);
    const addresses = async () => (await cluster.all()).map((it) => it.address);
    assert.deepEqual(await addresses(), ["a:1", "b:1", "c:1"]);
    world.agents = ["a:1", "c:1"];
    world.leaving = ["e:1", "f:1"];
    assert.deepEqual(await addresses(), ["a:1", "b:1", "c:1"], "believed for ten seconds");
    clock.move(10_000);
    assert.deepEqual(await addresses(), ["a:1", "c:1"]);
    assert.deepEqual([...transport.kept].sort(), ["a:1", "c:1", "e:1", "f:1"]);
  });

  it("takes its transport along when it is closed", async () => {
    const { cluster, transport } = setUp();
    await cluster.close();
    await cluster.close();
    assert.equal(transport.closed, true);
    assert.equal((await failureOf(cluster.any())).code, "CLOSED");
    assert.equal((await failureOf(cluster.topic("orders"))).code, "CLOSED");
  });
});
