/**
 * An agent that believes in a lease which another one has by now, because its machine slept (no clock of its own tells it), or because it
 * was not told that it has given the lease back. It can commit nothing; it must also say nothing that makes a producer send anew what is in
 * the log.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createTopic, failureOf, readAll, send, sendAndWait } from "../unit/agent/bench-agent.ts";
import { Fleet, type Member } from "./fleet.ts";

const TTL_MS = 10_000;

const stamp = (baseSequence: number) => ({ producerId: 1_000, producerEpoch: 0, baseSequence });

interface Stale {
  readonly fleet: Fleet;
  /** Slept over its lease and does not know. */
  readonly stale: Member;
  /** Took over. */
  readonly holder: Member;
  readonly topicId: string;
  /** When it fell asleep. */
  readonly from: number;
}

/** `before` is written through the first holder, which then sleeps until the other one has the partition. */
async function asleep(before: (holder: Member, fleet: Fleet) => Promise<void>): Promise<Stale> {
  const fleet = new Fleet();
  await fleet.start("a");
  await fleet.start("b");
  const topicId = await createTopic(fleet.member("a"), "t");
  await fleet.clock.run(4_000);
  const stale = await fleet.holder(topicId);
  assert.ok(stale);
  await before(stale, fleet);
  const from = fleet.clock.monotonic();
  stale.pause.paused = true;
  const holder = await fleet.holderBut(stale, topicId);
  // Nothing tells it for as long as it can believe.
  const silent = (): "hold"[] => Array.from({ length: 10 }, () => "hold");
  stale.faults.next.renewRun = silent();
  return { fleet, stale, holder, topicId, from };
}

function wake({ fleet, stale, from }: Stale): void {
  stale.pause.sleptMs = fleet.clock.monotonic() - from;
  stale.pause.wake();
  assert.ok(stale.agent.hasActiveLeases(), "it believes that it holds the partition");
  assert.equal(fleet.member(stale.name), stale);
}

describe("an agent whose machine slept over its lease", () => {
  it("says of no batch that one before it is missing", async () => {
    const at = await asleep(async (first) => {
      await sendAndWait(first, "t", ["0"], { stamp: stamp(0) });
    });
    const { fleet, stale, holder, topicId } = at;
    await sendAndWait(holder, "t", ["1"], { stamp: stamp(1) });
    wake(at);
    const gap = await failureOf(fleet.clock.until(send(stale, "t", ["2"], { stamp: stamp(2) })));
    assert.deepEqual([gap.code, gap.outcome], ["NOT_LEASE_HOLDER", "none"]);
    const other = { producerId: 1_001, producerEpoch: 0, baseSequence: 7 };
    const unknown = await failureOf(fleet.clock.until(send(stale, "t", ["x"], { stamp: other })));
    assert.deepEqual([unknown.code, unknown.outcome], ["NOT_LEASE_HOLDER", "none"]);
    assert.equal(await sendAndWait(holder, "t", ["2"], { stamp: stamp(2) }), 2);
    assert.deepEqual(await readAll(holder, topicId), ["0", "1", "2"]);
    stale.faults.release();
    await fleet.stop();
  });

  it("does not make a producer send a second time what the one that took over has committed", async () => {
    // The sleeping one has seen the first batch of what will be this producer, and none of the others.
    const at = await asleep(async (first) => {
      const identity = { producerId: 1, producerEpoch: 0, baseSequence: 0 };
      await sendAndWait(first, "t", ["0"], { stamp: identity });
    });
    const { fleet, stale, holder, topicId } = at;
    const producer = fleet.producer({ lingerMs: 0, requestTimeoutMs: 4_000 });
    assert.equal((await fleet.clock.until(producer.send({ topic: "t", value: "0" }))).offset, 0);
    assert.equal((await fleet.clock.until(producer.send({ topic: "t", value: "1" }))).offset, 1);
    // Committed, and the agent is gone before it can say so.
    holder.faults.next.commitFlush = ["hold"];
    const last = producer.send({ topic: "t", value: "2" });
    await fleet.clock.run(50);
    assert.equal(holder.faults.held, 1, "the commit is on its way");
    holder.pause.paused = true;
    holder.faults.release();
    await fleet.clock.run(5);
    fleet.kill(holder);
    // The other one wakes shortly before it would be taken for the only one to ask.
    await fleet.clock.run(TTL_MS - 1_000);
    wake(at);
    await fleet.clock.run(4_000);
    stale.faults.next.renewRun = [];
    stale.faults.release();
    assert.equal((await fleet.clock.until(last, 60_000)).offset, 2);
    assert.deepEqual(await readAll(stale, topicId), ["0", "1", "2"]);
    await fleet.clock.until(producer.close());
    await fleet.stop();
  });
});

describe("an agent that gave a partition away and was not told so", () => {
  it("takes nothing more for it, and follows whoever has it now", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    const topicId = await createTopic(a, "t", { partitions: 8 });
    for (let partition = 0; partition < 8; partition++) {
      await sendAndWait(a, "t", ["0"], { partition, stamp: stamp(0) });
    }
    a.faults.next.releaseLeases = ["applied"];
    const b = await fleet.start("b");
    const isReleased = () => a.faults.calls.includes("releaseLeases");
    for (let i = 0; i < 100 && !isReleased(); i++) await fleet.clock.run(10);
    assert.ok(isReleased());
    // Its next round comes by its own clock.
    a.faults.deaf = true;
    await fleet.clock.run(500);
    const leases = await fleet.metadata.listLeases(topicId);
    const moved = leases.filter((it) => it.runId === b.agent.runId).map((it) => it.partition);
    assert.ok(moved.length > 0 && moved.length < 8, `${moved.length} partitions moved`);
    for (const partition of moved) {
      await sendAndWait(b, "t", ["1"], { partition, stamp: stamp(1) });
      const sent = send(a, "t", ["2"], { partition, stamp: stamp(2) });
      const error = await failureOf(fleet.clock.until(sent));
      assert.deepEqual([error.code, error.holderAddress], ["NOT_LEASE_HOLDER", "b"]);
    }
    await fleet.stop();
  });

  it("takes it back when it is its own again", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    await createTopic(a, "t", { partitions: 8 });
    a.faults.next.releaseLeases = ["applied"];
    const b = await fleet.start("b");
    b.pause.paused = true;
    await fleet.clock.run(500);
    fleet.kill(b);
    await fleet.clock.run(2 * TTL_MS);
    for (let partition = 0; partition < 8; partition++) {
      assert.equal(await sendAndWait(a, "t", ["0"], { partition }), 0);
    }
    await fleet.stop();
  });
});

describe("a producer whose agent hangs, with its connections open", () => {
  it("finds the one that took over as soon as that one has, and not when what it knows is old", async () => {
    const fleet = new Fleet();
    await fleet.start("a");
    await fleet.start("b");
    const topicId = await createTopic(fleet.member("a"), "t");
    await fleet.clock.run(4_000);
    const requestTimeoutMs = 2_000;
    const producer = fleet.producer({ lingerMs: 0, requestTimeoutMs });
    await fleet.clock.until(producer.send({ topic: "t", value: "0" }));
    const hung = await fleet.holder(topicId);
    assert.ok(hung);
    const from = fleet.clock.monotonic();
    hung.pause.paused = true;
    assert.equal((await fleet.clock.until(producer.send({ topic: "t", value: "1" }))).offset, 1);
    const took = fleet.clock.monotonic() - from;
    // The lease's time and 2 s, and two questions to the agent that hangs: for the batch, and for who holds the partition.
    assert.ok(took <= TTL_MS + 2_000 + requestTimeoutMs + 5_000, `${took} ms`);
    hung.pause.wake();
    const log = await fleet.clock.until(readAll(await fleet.holderBut(hung, topicId), topicId));
    assert.deepEqual(log, ["0", "1"]);
    await fleet.clock.until(producer.close());
    await fleet.stop();
  });
});
