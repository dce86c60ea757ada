/** What is known of a producer moves with the lease: duplicates, gaps, old epochs and expiry are judged alike by every agent. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AgentOptions } from "../../src/agent/options.ts";
import { limits } from "../../src/core/limits.ts";
import { Acks, type BatchResult } from "../../src/rpc/gen/streamhouse/v1/producer.ts";
import {
  createTopic,
  failureOf,
  readAll,
  type SendOptions,
  send,
  sendAndWait,
} from "../unit/agent/bench-agent.ts";
import { Fleet, type Member } from "./fleet.ts";

const stamp = (baseSequence: number, producerEpoch = 0, producerId = 1) => ({
  ...{ producerId, producerEpoch, baseSequence },
});

interface Moved {
  readonly fleet: Fleet;
  readonly topicId: string;
  readonly before: Member;
  readonly after: Member;
}

/** So that a day of the clock's time is not a thousand renewals. */
const SLOW: AgentOptions = {
  leaseTtlMs: 300_000,
  leaseRenewMs: 100_000,
  retentionCheckMs: 600_000,
};

/** Two agents; `prepare` writes through the first, which is then killed and succeeded by the second. */
async function moved(
  prepare: (holder: Member, fleet: Fleet) => Promise<void>,
  agent: AgentOptions = {},
): Promise<Moved> {
  const fleet = new Fleet();
  await fleet.start("a", { agent });
  await fleet.start("b", { agent });
  const topicId = await createTopic(fleet.member("a"), "t");
  await fleet.clock.run(4_000);
  const before = await fleet.holder(topicId);
  assert.ok(before);
  await prepare(before, fleet);
  fleet.kill(before);
  const after = await fleet.holderBut(before, topicId);
  return { fleet, topicId, before, after };
}

function answer(member: Member, fleet: Fleet, options: SendOptions): Promise<BatchResult> {
  return fleet.clock.until(send(member, "t", ["again"], options));
}

describe("a batch that is sent again after a take-over", () => {
  it("is answered with its first offset, for each of the last five", async () => {
    const count = limits.sequencesRememberedPerProducer + 2;
    const { fleet, after, topicId } = await moved(async (holder) => {
      for (let i = 0; i < count; i++) await sendAndWait(holder, "t", [`${i}`], { stamp: stamp(i) });
    });
    for (let i = 2; i < count; i++) {
      const { baseOffset, duplicate } = await answer(after, fleet, { stamp: stamp(i) });
      assert.deepEqual([baseOffset, duplicate], [i, true]);
    }
    const error = await failureOf(answer(after, fleet, { stamp: stamp(1) }));
    assert.deepEqual([error.code, error.retriable], ["SEQUENCE_GAP", false], "not remembered");
    const log = await fleet.clock.until(readAll(after, topicId));
    assert.deepEqual(
      log,
      Array.from({ length: count }, (_, i) => `${i}`),
    );
    await fleet.stop();
  });

  it("waits for the one that is pending at the new holder, and gets the same offset", async () => {
    const { fleet, after, topicId } = await moved(async (holder) => {
      await sendAndWait(holder, "t", ["0"], { stamp: stamp(0) });
    });
    after.sink.fates.push("hold");
    const one = send(after, "t", ["again"], { stamp: stamp(1) });
    const two = send(after, "t", ["again"], { stamp: stamp(1) });
    await fleet.clock.run(100);
    after.sink.release();
    const [first, second] = [await fleet.clock.until(one), await fleet.clock.until(two)];
    assert.deepEqual([first.baseOffset, first.duplicate], [1, false]);
    assert.deepEqual([second.baseOffset, second.duplicate], [1, true]);
    assert.deepEqual(await fleet.clock.until(readAll(after, topicId)), ["0", "again"]);
    await fleet.stop();
  });

  it("is refused and not applied if one before it is missing, until that one came", async () => {
    const { fleet, after, topicId } = await moved(async (holder, { clock }) => {
      await sendAndWait(holder, "t", ["0"], { stamp: stamp(0) });
      holder.sink.fates.push("hold");
      void send(holder, "t", ["lost with the agent"], { stamp: stamp(1) });
      await clock.run(0);
    });
    const error = await failureOf(answer(after, fleet, { stamp: stamp(2) }));
    assert.deepEqual([error.code, error.retriable], ["SEQUENCE_GAP", true]);
    assert.equal(error.outcome, "none");
    assert.deepEqual(await fleet.clock.until(readAll(after, topicId)), ["0"]);
    for (const i of [1, 2]) {
      assert.equal((await answer(after, fleet, { stamp: stamp(i) })).baseOffset, i);
    }
    await fleet.stop();
  });
});

describe("a producer epoch that was replaced", () => {
  it("is fenced by every agent that comes to hold a partition where the new one wrote", async () => {
    const { fleet, after, before } = await moved(async (holder) => {
      await sendAndWait(holder, "t", ["old"], { stamp: stamp(0, 0) });
      await sendAndWait(holder, "t", ["new"], { stamp: stamp(0, 1) });
    });
    for (const again of [0, 1]) {
      const error = await failureOf(answer(after, fleet, { stamp: stamp(again, 0) }));
      assert.deepEqual([error.code, error.kind], ["PRODUCER_FENCED", "fenced"]);
    }
    // And by the next one too, which was not there when it happened.
    const third = await fleet.start("c");
    fleet.kill(after);
    await fleet.holderBut(after, (await fleet.metadata.listTopics())[0]?.id ?? "");
    const error = await failureOf(answer(third, fleet, { stamp: stamp(1, 0) }));
    assert.equal(error.code, "PRODUCER_FENCED");
    assert.equal((await answer(third, fleet, { stamp: stamp(1, 1) })).baseOffset, 2);
    assert.ok(before.dead && after.dead);
    await fleet.stop();
  });
});

describe("producer ids", () => {
  it("that several agents give out never collide, over fail-over and restart", async () => {
    const fleet = new Fleet();
    const given = new Set<number>();
    let count = 0;
    for (let round = 0; round < 3; round++) {
      for (const name of ["a", "b", "c"]) await fleet.start(name);
      const asked = [...fleet.members.values()].flatMap(({ agent }) =>
        Array.from({ length: 20 }, () =>
          agent.api.initProducer({ producerId: 0, producerEpoch: 0 }, {}),
        ),
      );
      for (const { producerId, producerEpoch } of await Promise.all(asked)) {
        assert.equal(producerEpoch, 0);
        given.add(producerId);
        count++;
      }
      for (const member of [...fleet.members.values()]) fleet.kill(member);
      await fleet.clock.run(11_000);
    }
    assert.equal(given.size, count);
    await fleet.stop();
  });

  it("take their next epoch from any agent, and only from the newest one", async () => {
    const fleet = new Fleet();
    const [a, b] = [await fleet.start("a"), await fleet.start("b")];
    const { producerId } = await a.agent.api.initProducer({ producerId: 0, producerEpoch: 0 }, {});
    const next = await b.agent.api.initProducer({ producerId, producerEpoch: 0 }, {});
    assert.deepEqual(next, { producerId, producerEpoch: 1 });
    const zombie = a.agent.api.initProducer({ producerId, producerEpoch: 0 }, {});
    assert.equal((await failureOf(zombie)).code, "PRODUCER_FENCED");
    await fleet.stop();
  });

  it("are forgotten a day after their last write, whoever holds the partition then", async () => {
    const { fleet, after } = await moved(async (holder, { clock }) => {
      await sendAndWait(holder, "t", ["0"], { stamp: stamp(0, 0, 1) });
      await clock.run(limits.producerIdExpiryMs - 60_000);
      await sendAndWait(holder, "t", ["1"], { stamp: stamp(0, 0, 2) });
      await clock.run(61_000);
    }, SLOW);
    const forgotten = await failureOf(answer(after, fleet, { stamp: stamp(1, 0, 1) }));
    assert.equal(forgotten.code, "UNKNOWN_PRODUCER");
    assert.equal((await answer(after, fleet, { stamp: stamp(1, 0, 2) })).baseOffset, 2);
    await fleet.stop();
  });

  it("are forgotten by an agent that goes on holding the partition, too", async () => {
    const fleet = new Fleet();
    const holder = await fleet.start("a", { agent: SLOW });
    await createTopic(holder, "t");
    for (const id of [1, 2]) await sendAndWait(holder, "t", ["x"], { stamp: stamp(0, 0, id) });
    for (let hour = 1; hour < 26; hour++) {
      await fleet.clock.run(3_600_000);
      await sendAndWait(holder, "t", ["x"], { stamp: stamp(hour, 0, 2) });
    }
    const forgotten = await failureOf(answer(holder, fleet, { stamp: stamp(1, 0, 1) }));
    assert.equal(forgotten.code, "UNKNOWN_PRODUCER");
    await fleet.stop();
  });
});

describe("acks that wait for nothing", () => {
  for (const [name, acks] of [
    ["buffered", Acks.ACKS_BUFFERED],
    ["none", Acks.ACKS_NONE],
  ] as const) {
    it(`(${name}) lose what was not flushed when the agent died, and nothing when it drained`, async () => {
      const { fleet, after, before, topicId } = await moved(async (holder, { clock }) => {
        await clock.until(send(holder, "t", ["flushed"], { acks }));
        await clock.run(100);
        holder.sink.fates.push("hold");
        await clock.until(send(holder, "t", ["lost"], { acks }));
        await clock.run(0);
      });
      assert.deepEqual(await fleet.clock.until(readAll(after, topicId)), ["flushed"]);
      assert.ok(before.dead);
      const third = await fleet.start("c");
      await fleet.clock.until(send(after, "t", ["drained"], { acks }));
      await fleet.clock.until(after.agent.drain());
      await fleet.clock.run(4_000);
      assert.deepEqual(await fleet.clock.until(readAll(third, topicId)), ["flushed", "drained"]);
      await fleet.stop();
    });
  }
});

describe("a lost run that was followed by another", () => {
  it("names the objects of its flushes after the run that wrote them", async () => {
    const fleet = new Fleet();
    const member = await fleet.start("a");
    const topicId = await createTopic(member, "t");
    await sendAndWait(member, "t", ["0"]);
    const before = member.agent.runId;
    await fleet.metadata.endRun(before);
    await fleet.clock.run(4_000);
    await sendAndWait(member, "t", ["1"]);
    assert.notEqual(member.agent.runId, before);
    for (const { location, runId } of await fleet.metadata.listFlushes(0, 10)) {
      assert.ok(location.key.includes(runId), `${location.key} names ${runId}`);
    }
    assert.deepEqual(await fleet.clock.until(readAll(member, topicId)), ["0", "1"]);
    await fleet.stop();
  });
});
