/**
 * One agent is stopped with a batch in its hands, another takes over, the first one is woken: at every step of a flush the batch is in the
 * log once, at one offset, whoever is asked, and the woken agent publishes nothing.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { BatchResult } from "../../src/rpc/gen/streamhouse/v1/producer.ts";
import { catalogue } from "../../src/telemetry/catalogue.ts";
import { createTopic, failureOf, readAll, send, sendAndWait } from "../unit/agent/bench-agent.ts";
import { Fleet, type Member } from "./fleet.ts";
import { discrepancies } from "./telemetry/audit-reading.ts";

const stamp = (baseSequence: number, producerEpoch = 0) => ({
  ...{ producerId: 1, producerEpoch, baseSequence },
});

interface Pair {
  readonly fleet: Fleet;
  /** Holds the partition. */
  readonly first: Member;
  readonly second: Member;
  readonly topicId: string;
}

async function pair(): Promise<Pair> {
  const fleet = new Fleet();
  const a = await fleet.start("a", { telemetry: {} });
  const b = await fleet.start("b", { telemetry: {} });
  const topicId = await createTopic(a, "t");
  await fleet.clock.run(4_000);
  const first = await fleet.holder(topicId);
  assert.ok(first);
  assert.equal(await sendAndWait(first, "t", ["0"], { stamp: stamp(0) }), 0);
  return { fleet, first, second: first === a ? b : a, topicId };
}

function fencedWrites({ agent }: Member): number {
  return agent.telemetry.metrics.counter(catalogue.fencedWrites).value;
}

function assertAudited(...members: readonly Member[]): void {
  for (const { agent, name } of members) {
    for (const [law, off] of discrepancies(agent.telemetry.metrics)) {
      assert.equal(off, 0, `${law} of agent ${name}`);
    }
  }
}

/** The batch after the first one, as its producer sends it, again and again. */
function sendNext(member: Member, value = "1", sequence = 1): Promise<BatchResult> {
  return send(member, "t", [value], { stamp: stamp(sequence), timeoutMs: 120_000 });
}

const FENCED = ["LEASE_LOST", "fenced", "none"];

/** A moment in a flush at which the process stops. */
interface Moment {
  readonly name: string;
  /** Stops the agent with the batch just there. */
  readonly stop: (at: Pair) => Promise<void>;
  /** The batch was committed before the lease was lost. */
  readonly committed: boolean;
}

const moments: readonly Moment[] = [
  {
    name: "before it is sealed",
    committed: false,
    stop: async ({ first }) => {
      first.pause.paused = true;
    },
  },
  {
    name: "while its object is being written",
    committed: false,
    stop: async ({ fleet, first }) => {
      first.sink.fates.push("hold");
      await fleet.clock.run(0);
      assert.equal(first.sink.held, 1);
      first.pause.paused = true;
    },
  },
  {
    name: "when its object is written, and nothing more was done",
    committed: false,
    stop: async ({ fleet, first }) => {
      first.sink.fates.push("hold");
      await fleet.clock.run(0);
      first.pause.paused = true;
      first.sink.release();
      await fleet.clock.run(0);
      assert.equal(fleet.store.objects.size, 2, "the object is there");
    },
  },
  {
    name: "while its commit is on its way",
    committed: false,
    stop: async ({ fleet, first }) => {
      first.faults.next.commitFlush = ["hold"];
      await fleet.clock.run(0);
      assert.equal(first.faults.held, 1);
      first.pause.paused = true;
    },
  },
  {
    name: "when its commit is done, and the answer was not read",
    committed: true,
    stop: async ({ fleet, first }) => {
      first.faults.next.commitFlush = ["hold"];
      await fleet.clock.run(0);
      first.pause.paused = true;
      first.faults.release();
      await fleet.clock.run(0);
    },
  },
];

describe("an agent that was stopped beyond its lease and woken again", () => {
  for (const { name, stop, committed } of moments) {
    it(`${name}: the batch is in the log once, and nothing of the stopped run is published`, async () => {
      const at = await pair();
      const { fleet, first, second, topicId } = at;
      const run = first.agent.runId;
      const old = sendNext(first);
      await stop(at);
      assert.equal(await fleet.holderBut(first, topicId), second);
      const published = (await fleet.metadata.listFlushes(0, 100)).length;
      assert.equal(published, committed ? 2 : 1);

      const again = await fleet.clock.until(sendNext(second));
      assert.equal(again.baseOffset, 1);
      assert.equal(again.duplicate, committed, "known if it was committed");
      assert.equal(await sendAndWait(second, "t", ["2"], { stamp: stamp(2) }), 2);

      first.pause.wake();
      first.sink.release();
      first.faults.release();
      await fleet.clock.run(20);
      if (committed) assert.equal((await fleet.clock.until(old)).baseOffset, 1);
      else {
        const error = await failureOf(fleet.clock.until(old));
        assert.deepEqual([error.code, error.kind, error.outcome], FENCED);
      }
      assert.equal(fencedWrites(first), committed ? 0 : 1, "counted once");
      await fleet.clock.run(5_000);
      const ofRun = (await fleet.metadata.listFlushes(0, 100)).filter((it) => it.runId === run);
      assert.equal(ofRun.length, published, "not one record of the stopped run");
      for (const member of [first, second]) {
        assert.deepEqual(await fleet.clock.until(readAll(member, topicId)), ["0", "1", "2"]);
      }
      assertAudited(first, second);
      await fleet.stop();
    });
  }

  it("keeps out what its clients send to it while it does not know yet", async () => {
    const { fleet, first, second, topicId } = await pair();
    first.pause.paused = true;
    await fleet.holderBut(first, topicId);
    // Woken, but none of its timers has rung: its own clock says that the lease is over.
    first.pause.paused = false;
    const error = await failureOf(sendNext(first));
    assert.equal(error.code, "NOT_LEASE_HOLDER");
    assert.equal(await sendAndWait(second, "t", ["1"], { stamp: stamp(1) }), 1);
    await fleet.stop();
  });
});

describe("a commit whose answer was lost with the lease", () => {
  const fates = [
    { fate: "applied", duplicate: true },
    { fate: "lost", duplicate: false },
    { fate: "late", duplicate: false },
  ] as const;
  for (const { fate, duplicate } of fates) {
    it(`(${fate}) is told as unknown, and what is sent again to the next holder is ${duplicate ? "answered with its first offset" : "appended once"}`, async () => {
      const { fleet, first, second, topicId } = await pair();
      first.faults.next.commitFlush = [fate];
      first.faults.next.resolveFlush = Array.from({ length: 1_000 }, () => "none" as const);
      const old = sendNext(first);
      await fleet.clock.run(0);
      first.faults.down = true;
      const error = await failureOf(fleet.clock.until(old));
      assert.equal(error.outcome, "unknown");
      assert.equal(await fleet.holderBut(first, topicId), second);
      const again = await fleet.clock.until(sendNext(second));
      assert.deepEqual([again.baseOffset, again.duplicate], [1, duplicate]);
      // What was on its way arrives after the take-over.
      first.faults.release();
      first.faults.down = false;
      await fleet.clock.run(15_000);
      const holder = await fleet.holderBut({ ...first, name: "" }, topicId);
      assert.equal(await sendAndWait(holder, "t", ["2"], { stamp: stamp(2) }), 2);
      await fleet.clock.run(4_000);
      for (const member of [first, second]) {
        assert.deepEqual(await fleet.clock.until(readAll(member, topicId)), ["0", "1", "2"]);
      }
      assertAudited(first, second);
      const written = [first, second].map(
        ({ agent }) => agent.telemetry.metrics.counter(catalogue.recordsWritten, labels).value,
      );
      const sum = written.reduce((total, it) => total + it, 0);
      assert.equal(sum, 3, `${written}: each record is counted by the agent that wrote it`);
      await fleet.stop();
    });
  }
});

const labels = { topic: "t", partition: 0 };
