/**
 * Agents that share leases: who comes gets its share soon and in few transactions, who goes loses nothing, who dies is followed in
 * time, and two with one id do not quarrel. On a clock of the test's own; the bounds are the design's.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sleep } from "../../src/core/clock.ts";
import { type Logger, silentLogger } from "../../src/core/logger.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { createTopic, failureOf, readAll, send, sendAndWait } from "../unit/agent/bench-agent.ts";
import { Fleet, type Member } from "./fleet.ts";

/** Of the fleet's agents. */
const TTL_MS = 10_000;
const RENEW_MS = 3_000;

/** Steps in which the clock moves on while something is waited for. */
const STEP_MS = 10;

/** Moves time on until it is so, and answers how long that took. */
async function waitFor(
  fleet: Fleet,
  what: string,
  isSo: () => boolean | Promise<boolean>,
  limitMs = 60_000,
): Promise<number> {
  for (let waited = 0; waited <= limitMs; waited += STEP_MS) {
    if (await isSo()) return waited;
    await fleet.clock.run(STEP_MS);
  }
  throw new assert.AssertionError({ message: `not within ${limitMs} ms: ${what}` });
}

const held = (member: Member) => member.agent.leaseManager.activeLeaseCount();

const count = (member: Member, call: string) =>
  member.faults.calls.filter((it) => it === call).length;

/** Every lease with its run and epoch. */
async function leasesOf({ metadata }: Fleet): Promise<string> {
  const leases = await metadata.listLeases();
  return leases.map((it) => `${it.topicId}/${it.partition} ${it.runId} ${it.epoch}`).join("\n");
}

/** Partitions by the name of the agent that has the lease. */
async function partitionsOf(fleet: Fleet, topicId: string, member: Member): Promise<number[]> {
  const leases = await fleet.metadata.listLeases(topicId);
  return leases.filter((it) => it.runId === member.agent.runId).map((it) => it.partition);
}

describe("an agent that comes", () => {
  it("is handed its share within a second, from hints alone, and nothing else moves", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    const b = await fleet.start("b");
    const topicId = await createTopic(a, "t", { partitions: 60 });
    await waitFor(fleet, "both have their share", () => held(a) + held(b) === 60 && held(b) > 0);
    const before = new Set((await leasesOf(fleet)).split("\n"));
    const c = await fleet.start("c");
    const took = await waitFor(
      fleet,
      "the third has its share",
      async () => held(a) + held(b) + held(c) === 60 && held(c) > 0,
    );
    assert.ok(took < 1_000, `${took} ms`);
    const moved = (await leasesOf(fleet)).split("\n").filter((it) => !before.has(it));
    assert.equal(moved.length, held(c), "only what the third has changed hands");
    assert.equal((await partitionsOf(fleet, topicId, c)).length, held(c));
    await fleet.stop();
  });

  it("is handed its share also where no hint comes through: with the next rounds", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    a.faults.deaf = true;
    await createTopic(a, "t", { partitions: 40 });
    const b = await fleet.start("b");
    b.faults.deaf = true;
    const took = await waitFor(fleet, "a share", () => held(b) > 0 && held(a) + held(b) === 40);
    assert.ok(took <= 2 * RENEW_MS, `${took} ms`);
    await fleet.stop();
  });

  it("waits for what is being written: a busy partition follows when its flush is committed, idle ones at once", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    const topicId = await createTopic(a, "t", { partitions: 20 });
    const flushing: Promise<number>[] = [];
    a.sink.fates.push("hold");
    for (let partition = 0; partition < 20; partition += 2) {
      flushing.push(sendAndWait(a, "t", [`p${partition}`], { partition }));
    }
    await waitFor(fleet, "the flush is being written", () => a.sink.held === 1);
    const b = await fleet.start("b");
    await waitFor(fleet, "idle ones are there", () => held(b) > 0);
    const early = await partitionsOf(fleet, topicId, b);
    assert.ok(
      early.every((it) => it % 2 === 1),
      `idle ones only: ${early.join()}`,
    );
    a.sink.release();
    assert.deepEqual(
      await Promise.all(flushing),
      Array.from({ length: 10 }, () => 0),
    );
    await waitFor(fleet, "the busy ones follow", async () =>
      (await partitionsOf(fleet, topicId, b)).some((it) => it % 2 === 0),
    );
    for (const partition of await partitionsOf(fleet, topicId, b)) {
      const offset = await sendAndWait(b, "t", ["next"], { partition });
      assert.equal(offset, partition % 2 === 0 ? 1 : 0);
    }
    await fleet.stop();
  });

  it("tells clients to wait for it while a partition is on its way, and the one who gives it sends them there", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    await createTopic(a, "t", { partitions: 20 });
    a.sink.fates.push("hold");
    const flushing = Array.from({ length: 20 }, (_, partition) =>
      send(a, "t", ["x"], { partition }),
    );
    await waitFor(fleet, "the flush is being written", () => a.sink.held === 1);
    const b = await fleet.start("b");
    const refusals = await Promise.all(
      Array.from({ length: 20 }, (_, partition) => failureOf(send(b, "t", ["y"], { partition }))),
    );
    const coming = refusals.flatMap((it, partition) => (it.holderAddress === "b" ? partition : []));
    assert.ok(coming.length > 0 && coming.length < 20);
    for (const [partition, error] of refusals.entries()) {
      assert.equal(error.code, "NOT_LEASE_HOLDER");
      assert.equal(error.holderAddress, coming.includes(partition) ? "b" : "a");
      assert.equal(error.retryAfterMs, coming.includes(partition) ? 50 : undefined);
    }
    // A round later the giver knows, too.
    await fleet.clock.run(100);
    const [partition = -1] = coming;
    const refused = await failureOf(send(a, "t", ["z"], { partition }));
    assert.deepEqual([refused.code, refused.holderAddress], ["NOT_LEASE_HOLDER", "b"]);
    a.sink.release();
    await Promise.all(flushing.map((it) => fleet.clock.until(it)));
    await fleet.stop();
  });

  it("is no candidate before it can serve: nobody gives it anything while it reads the index", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    await createTopic(a, "t", { partitions: 30 });
    for (let i = 0; i < 3; i++) await sendAndWait(a, "t", ["x"], { partition: i });
    const read = Promise.withResolvers<void>();
    const slowIndex = (metadata: MetadataStore): MetadataStore => ({
      ...bound(metadata),
      listFlushes: async (after, limit) => {
        await read.promise;
        return metadata.listFlushes(after, limit);
      },
    });
    const starting = fleet.start("b", { around: slowIndex });
    await fleet.clock.run(20_000);
    assert.equal(held(a), 30);
    assert.deepEqual(
      (await fleet.metadata.listRuns()).map((it) => it.agentId),
      ["a"],
    );
    read.resolve();
    const b = await fleet.clock.until(starting);
    await waitFor(fleet, "its share", () => held(b) > 0 && held(a) + held(b) === 30, 1_000);
    await fleet.stop();
  });

  it("is handed half of 2,000 partitions in a few transactions, not in as many as there are partitions", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    await createTopic(a, "t", { partitions: 2_000 });
    assert.equal(held(a), 2_000);
    a.faults.calls.length = 0;
    const b = await fleet.start("b");
    const took = await waitFor(fleet, "all", () => held(b) > 800 && held(a) + held(b) === 2_000);
    assert.ok(took < 1_000, `${took} ms`);
    const released = count(a, "releaseLeases");
    const acquired = count(b, "acquireLeases");
    assert.ok(released >= 1 && released <= 5, `${released} releases`);
    assert.ok(acquired >= 1 && acquired <= 8, `${acquired} acquisitions`);
    await fleet.stop();
  });
});

describe("an agent that goes", () => {
  it("hands over while it still writes, sends clients to the next holder, fails nothing, and ends its run last", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    const b = await fleet.start("b");
    const topicId = await createTopic(a, "t", { partitions: 20 });
    await waitFor(fleet, "both have their share", () => held(a) + held(b) === 20 && held(b) > 0);
    const [busy = -1, ...idle] = await partitionsOf(fleet, topicId, a);
    a.sink.fates.push("hold");
    const accepted = send(a, "t", ["accepted"], { partition: busy });
    await waitFor(fleet, "it is being written", () => a.sink.held === 1);
    const draining = a.agent.drain();
    await waitFor(fleet, "the other has the idle ones", () => held(b) === 19, 1_000);
    assert.equal(a.agent.status().phase, "draining");
    for (const partition of [busy, ...idle]) {
      const refused = await failureOf(send(a, "t", ["late"], { partition }));
      assert.deepEqual([refused.code, refused.holderAddress], ["NOT_LEASE_HOLDER", "b"]);
    }
    for (const partition of idle)
      assert.equal(await sendAndWait(b, "t", ["next"], { partition }), 0);
    assert.equal((await failureOf(send(b, "t", ["early"], { partition: busy }))).retryAfterMs, 50);
    a.sink.release();
    assert.equal((await fleet.clock.until(accepted)).baseOffset, 0);
    await fleet.clock.until(draining);
    await waitFor(fleet, "the other has all", () => held(b) === 20, 1_000);
    assert.equal(await sendAndWait(b, "t", ["next"], { partition: busy }), 1);
    assert.deepEqual(await readAll(b, topicId, busy), ["accepted", "next"]);
    await fleet.clock.until(a.agent.stop());
    assert.deepEqual(
      (await fleet.metadata.listRuns()).map((it) => it.agentId),
      ["b"],
    );
    await fleet.stop();
  });

  it("refuses with AGENT_DRAINING where there is nobody to take over", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    await createTopic(a, "t");
    a.sink.fates.push("hold");
    const accepted = send(a, "t", ["accepted"]);
    await waitFor(fleet, "it is being written", () => a.sink.held === 1);
    const draining = a.agent.drain();
    await fleet.clock.run(0);
    assert.equal((await failureOf(send(a, "t", ["late"]))).code, "AGENT_DRAINING");
    a.sink.release();
    assert.equal((await fleet.clock.until(accepted)).baseOffset, 0);
    await fleet.clock.until(draining);
    await fleet.stop();
  });

  it("stops in bounded time while metadata is silent, and what it held is taken when its time is over", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    const b = await fleet.start("b");
    await createTopic(a, "t", { partitions: 20 });
    await waitFor(fleet, "both have their share", () => held(a) + held(b) === 20 && held(b) > 0);
    for (const call of ["retireRun", "releaseLeases", "endRun"] as const) {
      a.faults.next[call] = Array.from({ length: 10 }, () => "stuck" as const);
    }
    const began = fleet.clock.monotonic();
    await fleet.clock.until(a.agent.stop());
    assert.ok(fleet.clock.monotonic() - began < 20_000);
    await waitFor(fleet, "the other has all", () => held(b) === 20, TTL_MS + 2_000);
    await fleet.stop();
  });
});

describe("an agent that dies", () => {
  it("is followed within its time to live and two seconds, also where no hint comes through", async () => {
    for (const deaf of [false, true]) {
      // Wherever the death falls between two renewals and two rounds.
      for (const afterMs of [0, 700, 1_500, 2_300, 2_990]) {
        const fleet = new Fleet();
        const a = await fleet.start("a");
        const b = await fleet.start("b");
        const topicId = await createTopic(a, "t", { partitions: 10 });
        await waitFor(
          fleet,
          "shares",
          () => held(a) + held(b) === 10 && held(a) > 0 && held(b) > 0,
        );
        const [partition = -1] = await partitionsOf(fleet, topicId, a);
        assert.equal(await sendAndWait(a, "t", ["before"], { partition }), 0);
        await fleet.clock.run(6_000 + afterMs);
        b.faults.deaf = deaf;
        fleet.kill(a);
        const took = await waitFor(fleet, "the other has all", () => held(b) === 10);
        assert.ok(took <= TTL_MS + 2_000, `${took} ms, died ${afterMs} ms later`);
        assert.equal(await sendAndWait(b, "t", ["after"], { partition }), 1);
        await fleet.stop();
      }
    }
  });
});

describe("an agent that is stopped", () => {
  it("for less than its time to live loses nothing: run, leases and epochs stay", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    const b = await fleet.start("b");
    await createTopic(a, "t", { partitions: 20 });
    await waitFor(fleet, "both have their share", () => held(a) + held(b) === 20 && held(b) > 0);
    const before = await leasesOf(fleet);
    for (let i = 0; i < 5; i++) {
      // The last renewal may be nearly an interval old.
      a.pause.paused = true;
      await fleet.clock.run(TTL_MS - RENEW_MS - 100);
      a.pause.wake();
      await fleet.clock.run(1_000 + 700 * i);
    }
    assert.equal(await leasesOf(fleet), before);
    assert.ok(a.agent.hasActiveLeases());
    await fleet.stop();
  });

  it("for longer fences itself, says so, and gets its partitions back in a new run", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    const b = await fleet.start("b");
    const topicId = await createTopic(a, "t", { partitions: 20 });
    await waitFor(fleet, "both have their share", () => held(a) + held(b) === 20 && held(b) > 0);
    const mine = await partitionsOf(fleet, topicId, a);
    const run = a.agent.runId;
    a.pause.paused = true;
    await waitFor(fleet, "the other has all", () => held(b) === 20);
    a.pause.paused = false;
    // Nothing of it has run yet: its own clock says that it may not act.
    assert.equal(a.agent.hasActiveLeases(), false);
    assert.equal(a.agent.status().fenced, true);
    a.pause.wake();
    await waitFor(
      fleet,
      "its share",
      () => held(a) === mine.length && held(b) === 20 - mine.length,
    );
    assert.notEqual(a.agent.runId, run);
    assert.equal(a.agent.status().fenced, false);
    assert.deepEqual(await partitionsOf(fleet, topicId, a), mine);
    await fleet.stop();
  });
});

describe("two live agents with one id", () => {
  it("do not quarrel: the one that started later has everything, says what is wrong, and nothing moves any more", async () => {
    const fleet = new Fleet();
    const said: string[] = [];
    const logger: Logger = { ...silentLogger, warn: (message) => void said.push(message) };
    // The first one's clock is ahead: its run id is the greater one.
    const first = await fleet.start("a", { apartMs: 3_600_000, logger });
    const topicId = await createTopic(first, "t", { partitions: 10 });
    assert.equal(held(first), 10);
    await fleet.clock.run(1_000);
    const second = await fleet.start("twin", { agent: { agentId: "a" }, logger });
    assert.ok(first.agent.runId > second.agent.runId);
    await waitFor(fleet, "the later one has all", () => held(second) === 10, 1_000);
    const settled = await leasesOf(fleet);
    await fleet.clock.run(120_000);
    assert.equal(await leasesOf(fleet), settled, "nothing moved");
    assert.equal(held(first), 0);
    assert.equal(first.agent.status().phase, "standby");
    assert.equal(said.filter((it) => it.includes("same agent id")).length, 2, "each says it once");
    const refused = await failureOf(send(first, "t", ["x"]));
    assert.equal(refused.holderAddress, "twin");
    assert.equal(await sendAndWait(second, "t", ["x"]), 0);
    await fleet.clock.until(second.agent.stop());
    await waitFor(fleet, "the first one has all again", () => held(first) === 10, 1_000);
    assert.equal(await sendAndWait(first, "t", ["y"]), 1);
    assert.deepEqual(await readAll(first, topicId), ["x", "y"]);
    await fleet.stop();
  });
});

describe("agents whose clocks are hours apart", () => {
  it("share, renew, follow each other and hand over as if they were not", async () => {
    const fleet = new Fleet();
    const hour = 3_600_000;
    const a = await fleet.start("a", { apartMs: -5 * hour });
    const b = await fleet.start("b", { apartMs: 7 * hour });
    const c = await fleet.start("c");
    const all = [a, b, c];
    const topicId = await createTopic(a, "t", { partitions: 30 });
    await waitFor(fleet, "shares", () => all.every((it) => held(it) > 0));
    await waitFor(fleet, "all", () => all.reduce((sum, it) => sum + held(it), 0) === 30);
    const before = await leasesOf(fleet);
    await fleet.clock.run(60_000);
    assert.equal(await leasesOf(fleet), before, "nothing expired");
    const [partition = -1] = await partitionsOf(fleet, topicId, b);
    assert.equal(await sendAndWait(b, "t", ["b"], { partition }), 0);
    fleet.kill(b);
    const took = await waitFor(fleet, "the others have all", () => held(a) + held(c) === 30);
    assert.ok(took >= TTL_MS - RENEW_MS && took <= TTL_MS + 2_000, `${took} ms`);
    const next = (await partitionsOf(fleet, topicId, a)).includes(partition) ? a : c;
    assert.equal(await sendAndWait(next, "t", ["next"], { partition }), 1);
    await fleet.stop();
  });
});

describe("renewals", () => {
  it("keep the leases under a database that takes six seconds for an answer", async () => {
    const fleet = new Fleet();
    const slow = (metadata: MetadataStore): MetadataStore => ({
      ...bound(metadata),
      renewRun: async (...args) => {
        const renewed = await metadata.renewRun(...args);
        await sleep(fleet.clock, 6_000);
        return renewed;
      },
    });
    const a = await fleet.start("a", { around: slow });
    await createTopic(a, "t", { partitions: 5 });
    const run = a.agent.runId;
    for (let i = 0; i < 60; i++) {
      await fleet.clock.run(1_000);
      assert.equal(held(a), 5, `after ${i + 1} s`);
    }
    assert.equal(a.agent.runId, run);
    await fleet.clock.until(a.agent.stop());
    // What the database still has to answer.
    await fleet.clock.run(6_000);
    await fleet.stop();
  });

  it("that are never answered do not keep an agent from a new run", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    await createTopic(a, "t", { partitions: 5 });
    const run = a.agent.runId;
    a.faults.next.renewRun = Array.from({ length: 4 }, () => "stuck" as const);
    const isNew = () => a.agent.runId !== run && held(a) === 5;
    await waitFor(fleet, "it fences itself and goes on", isNew, TTL_MS + 1_000);
    const next = a.agent.runId;
    await fleet.clock.run(30_000);
    assert.equal(a.agent.runId, next, "and renews that one");
    a.faults.next.renewRun = [];
    await fleet.stop();
  });

  it("tell what the agent does, which the cluster then shows", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    const b = await fleet.start("b");
    const topicId = await createTopic(a, "t", { partitions: 8 });
    await waitFor(fleet, "both have their share", () => held(a) + held(b) === 8 && held(b) > 0);
    const [partition = -1] = await partitionsOf(fleet, topicId, a);
    await fleet.clock.run(RENEW_MS);
    for (let i = 0; i < 6; i++) {
      await sendAndWait(a, "t", ["1", "2", "3", "4", "5"], { partition });
      await fleet.clock.run(500);
    }
    await readAll(a, topicId, partition);
    await fleet.clock.run(RENEW_MS);
    const answer = await b.agent.api.describeCluster({ agentsOnly: false }, {});
    assert.equal(answer.runId, b.agent.runId);
    assert.equal(answer.leases.length, 8);
    const byId = new Map(answer.agents.map((it) => [it.agentId, it]));
    for (const member of [a, b]) {
      const info = byId.get(member.name);
      assert.equal(info?.leases, held(member));
      assert.deepEqual([info?.live, info?.retiring, info?.address], [true, false, member.name]);
    }
    const [busy, idle] = [byId.get("a")?.load, byId.get("b")?.load];
    assert.ok(busy !== undefined && idle !== undefined);
    const seconds = Object.values(busy);
    assert.ok(
      seconds.every((it) => it >= 0),
      JSON.stringify(busy),
    );
    assert.ok(busy.bytesOutPerSecond > 0, JSON.stringify(busy));
    assert.deepEqual(idle, {
      ...{ recordsInPerSecond: 0, bytesInPerSecond: 0, bytesOutPerSecond: 0, flushesPerSecond: 0 },
    });
    const few = await b.agent.api.describeCluster({ agentsOnly: true }, {});
    assert.deepEqual([few.leases, few.agents.map((it) => it.leases)], [[], [undefined, undefined]]);
    await fleet.stop();
  });
});

describe("many clients that ask for one topic at once", () => {
  it("cost two reads of its leases, and each sees what was before its question", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    await createTopic(a, "t", { partitions: 4 });
    await createTopic(a, "other", { partitions: 4 });
    a.faults.calls.length = 0;
    const ask = () => a.agent.api.describeTopic({ name: "t", topicId: "" }, {});
    const answers = await fleet.clock.until(Promise.all(Array.from({ length: 50 }, ask)));
    assert.equal(count(a, "listLeases"), 2);
    for (const { partitions } of answers) {
      assert.deepEqual(
        partitions.map((it) => it.holderAddress),
        ["a", "a", "a", "a"],
      );
    }
    const first = ask();
    await sendAndWait(a, "t", ["x"], { partition: 2 });
    const second = await fleet.clock.until(ask());
    assert.equal(second.partitions[2]?.highWatermark, 1);
    await first;
    await fleet.stop();
  });
});

/** The store's methods as an object's own, so that some can be replaced. */
function bound(metadata: MetadataStore): MetadataStore {
  return new Proxy(metadata, {
    ownKeys: (target) => Reflect.ownKeys(target),
    get: (target, name) => Reflect.get(target, name, target),
  });
}
