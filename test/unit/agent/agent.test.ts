import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { resolveAgentOptions } from "../../../src/agent/options.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { withFaults } from "../../fault/faulty-metadata.ts";
import {
  createTopic,
  failureOf,
  fetchValues,
  memoryMetadata,
  readAll,
  seededRandom,
  send,
  sendAndWait,
  startAgent,
} from "./bench-agent.ts";
import { MemoryStore, TestSink } from "./memory-store.ts";

describe("an agent", () => {
  it("gives contiguous offsets and serves what it acknowledged", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "orders");
    assert.equal(await sendAndWait(bench, "orders", ["a", "b"]), 0);
    assert.equal(await sendAndWait(bench, "orders", ["c"]), 2);
    assert.deepEqual(await fetchValues(bench, topicId), [
      [0, "a"],
      [1, "b"],
      [2, "c"],
    ]);
    await bench.clock.until(bench.agent.stop());
    assert.equal(bench.clock.pending, 0);
  });

  it("goes on where a killed predecessor left off, at once: data, offsets, sequences, groups", async () => {
    const clock = new ManualClock();
    const inner = memoryMetadata(clock);
    const store = new MemoryStore();
    const stamp = (baseSequence: number) => ({ producerId: 1, producerEpoch: 0, baseSequence });
    const { metadata, faults } = withFaults(inner);
    const dead = await startAgent({ clock, metadata, store });
    const topicId = await createTopic(dead, "t");
    await sendAndWait(dead, "t", ["a"], { stamp: stamp(0) });
    await sendAndWait(dead, "t", ["b"], { stamp: stamp(1) });
    dead.sink.fates.push("hold");
    const lost = send(dead, "t", ["lost"], { stamp: stamp(2) });
    faults.down = true;

    const at = clock.monotonic();
    const sink = new TestSink(store);
    const next = await startAgent({ clock, metadata: inner, store, sink, random: seededRandom(2) });
    assert.equal(clock.monotonic(), at, "no lease is waited for");
    assert.equal(next.agent.status().phase, "serving");
    assert.deepEqual(await readAll(next, topicId), ["a", "b"]);
    const again = await clock.until(send(next, "t", ["b"], { stamp: stamp(1) }));
    assert.deepEqual([again.baseOffset, again.duplicate], [1, true]);
    assert.equal(await sendAndWait(next, "t", ["c"], { stamp: stamp(2) }), 2);
    // The dead one's write comes to its end after all: nobody will ever see it.
    faults.down = false;
    dead.sink.release();
    await failureOf(clock.until(lost));
    assert.deepEqual(await readAll(next, topicId), ["a", "b", "c"]);
    await clock.until(Promise.all([dead.agent.stop(), next.agent.stop()]));
    assert.equal(clock.pending, 0);
  });

  it("says what it is doing: starting, standby, serving, draining, stopped", async () => {
    const bench = await startAgent();
    const { agent, clock } = bench;
    assert.equal(agent.status().phase, "standby");
    assert.equal(agent.hasActiveLeases(), false);
    await createTopic(bench, "t", { partitions: 3 });
    assert.equal(agent.status().phase, "serving");
    assert.equal(agent.leaseManager.activeLeaseCount(), 3);
    await clock.until(agent.drain());
    assert.equal(agent.status().phase, "draining");
    await clock.until(agent.stop());
    assert.equal(agent.status().phase, "stopped");
    assert.equal(agent.stop(), agent.stop(), "stopping twice is once");
  });

  it("tells clients the address it was given before the start", async () => {
    const bench = await startAgent({ agent: { address: "a:1" } });
    const cluster = await bench.agent.api.describeCluster({ agentsOnly: false }, {});
    assert.equal(cluster.agents[0]?.address, "a:1");
    assert.equal(cluster.runId, bench.agent.runId);
    assert.throws(() => bench.agent.setAddress("b:2"), /cannot change/);
    await bench.clock.until(bench.agent.stop());
  });

  it("that cannot reach metadata does not start, and leaves nothing running", async () => {
    const clock = new ManualClock();
    const { metadata, faults } = withFaults(memoryMetadata(clock));
    faults.down = true;
    const error = await failureOf(startAgent({ clock, metadata }));
    assert.equal(error.code, "METADATA_UNAVAILABLE");
    assert.equal(clock.pending, 0);
  });

  it("takes the leases of partitions that were added, and of topics made elsewhere", async () => {
    const bench = await startAgent();
    await createTopic(bench, "t");
    const grown = bench.agent.api.alterTopic(
      { name: "t", partitions: 4, retentionMs: undefined },
      {},
    );
    await bench.clock.until(grown);
    assert.equal(bench.agent.leaseManager.activeLeaseCount(), 4);
    await bench.metadata.createTopic({ name: "elsewhere", partitions: 2, retentionMs: 0 });
    await bench.clock.run(3_100);
    assert.equal(bench.agent.leaseManager.activeLeaseCount(), 6);
    await bench.clock.until(bench.agent.stop());
  });
});

describe("two agents over one store", () => {
  it("share the partitions, and hand over without losing a record", async () => {
    // So many that each agent has a share, whatever the ids: with 8 one has none in 128 runs.
    const many = 32;
    const clock = new ManualClock();
    const metadata = memoryMetadata(clock);
    const store = new MemoryStore();
    const settings = { predecessorsDead: false, leaseRenewMs: 1_000 };
    const one = await startAgent({
      clock,
      metadata,
      store,
      agent: { ...settings, agentId: "one", address: "one:1" },
    });
    const topicId = await createTopic(one, "t", { partitions: many });
    for (let partition = 0; partition < many; partition++) {
      await sendAndWait(one, "t", [`first ${partition}`], { partition });
    }
    const two = await startAgent({
      clock,
      metadata,
      store,
      sink: new TestSink(store, { file: "segments/two.seg" }),
      random: seededRandom(2),
      agent: { ...settings, agentId: "two", address: "two:1" },
    });
    await clock.run(4_000);
    const [a, b] = [one, two].map((it) => it.agent.leaseManager.activeLeaseCount());
    assert.equal((a ?? 0) + (b ?? 0), many);
    assert.ok((a ?? 0) > 0 && (b ?? 0) > 0);
    // Each partition is written by its holder only; the other one says who that is.
    const moved: number[] = [];
    for (let partition = 0; partition < many; partition++) {
      const answer = await clock.until(
        send(one, "t", [`second ${partition}`], { partition }).catch((error) => error),
      );
      if (!(answer instanceof Error)) continue;
      assert.equal((answer as { holderAddress?: string }).holderAddress, "two:1");
      moved.push(partition);
      await sendAndWait(two, "t", [`second ${partition}`], { partition });
    }
    assert.equal(moved.length, b);
    // Any agent serves what is committed: the one that is not the holder asks metadata first.
    for (const partition of moved) {
      const expected = [`first ${partition}`, `second ${partition}`];
      assert.deepEqual(await clock.until(readAll(one, topicId, partition)), expected);
    }
    await clock.until(two.agent.stop());
    await clock.run(3_000);
    assert.equal(one.agent.leaseManager.activeLeaseCount(), many);
    await clock.until(one.agent.stop());
    assert.equal(clock.pending, 0);
  });
});

describe("the agent's settings", () => {
  it("depend on the store: short flushes on a folder, long ones on S3", () => {
    const folder = resolveAgentOptions();
    assert.deepEqual([folder.flushAgeMs, folder.flushBytes], [5, 4 * 1_048_576]);
    assert.equal(folder.flushIntervalMs, 0);
    const s3 = resolveAgentOptions({}, "s3");
    assert.deepEqual([s3.flushAgeMs, s3.flushBytes], [200, 8 * 1_048_576]);
    assert.equal(s3.flushIntervalMs, 200);
    assert.ok(Object.isFrozen(s3));
  });

  it("that make no sense are refused by name", () => {
    for (const [options, field] of [
      [{ leaseTtlMs: 5_000, leaseRenewMs: 4_000 }, "leaseRenewMs"],
      [{ flushAgeMs: -1 }, "flushAgeMs"],
      [{ flushBytes: 0.5 }, "flushBytes"],
      [{ lagRefreshMs: 6_000 }, "lagRefreshMs"],
    ] as const) {
      assert.throws(
        () => resolveAgentOptions(options),
        (error) => (error as { field?: string }).field === field,
      );
    }
  });
});
