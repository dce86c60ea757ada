/** A consumer while agents come, go, hang and fall behind: it reads where it can, goes back to the holder, and misses nothing. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Producer } from "../../src/producer/producer.ts";
import { createTopic } from "../unit/agent/bench-agent.ts";
import { Fleet, type Member } from "./fleet.ts";
import { Acknowledged, Reading } from "./reader-model.ts";

interface Play {
  readonly fleet: Fleet;
  readonly topicId: string;
  readonly producer: Producer;
  readonly acknowledged: Acknowledged;
  /** Who answered fetches of topic `t`, since it was last emptied. */
  readonly fetchedAt: string[];
  send(count: number): Promise<void>;
}

async function play(members = 3): Promise<Play> {
  const fleet = new Fleet();
  const fetchedAt: string[] = [];
  for (let i = 0; i < members; i++) {
    const member = await fleet.start(`agent-${i}`);
    const { fetch } = member.agent.api;
    // Looked at where it arrives: what a consumer sends.
    (member.agent.api as { fetch: typeof fetch }).fetch = (request, call) => {
      fetchedAt.push(member.name);
      return fetch(request, call);
    };
  }
  const topicId = await createTopic(fleet.member("agent-0"), "t");
  await fleet.clock.run(4_000);
  const producer = fleet.producer({ lingerMs: 0 });
  const acknowledged = new Acknowledged();
  let sent = 0;
  const send = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const value = `v${sent++}`;
      const { offset } = await fleet.clock.until(producer.send({ topic: "t", value }));
      assert.ok(offset !== undefined);
      acknowledged.add(0, offset, value);
    }
  };
  return { fleet, topicId, producer, acknowledged, fetchedAt, send };
}

async function holderOf({ fleet, topicId }: Play): Promise<Member> {
  const holder = await fleet.holder(topicId);
  assert.ok(holder);
  return holder;
}

/** Polls until it has everything. The rounds bound it, not a time. */
async function readUp(reading: Reading, { acknowledged }: Play, rounds = 60): Promise<void> {
  for (let i = 0; i < rounds && (reading.next[0] ?? 0) < acknowledged.end(0); i++) {
    await reading.poll(500);
  }
  assert.equal(reading.next[0], acknowledged.end(0), "everything was read");
  reading.compare(acknowledged);
}

async function end({ fleet, producer }: Play, ...readings: readonly Reading[]): Promise<void> {
  for (const reading of readings) await reading.close();
  await fleet.clock.until(producer.close());
  await fleet.stop();
}

describe("a consumer", () => {
  it("reads from the holder", async () => {
    const it = await play();
    const holder = await holderOf(it);
    const reading = new Reading(it.fleet, { name: "c", partitions: 1 });
    await it.send(3);
    await readUp(reading, it);
    it.fetchedAt.length = 0;
    await it.send(3);
    await readUp(reading, it);
    assert.deepEqual([...new Set(it.fetchedAt)], [holder.name]);
    await end(it, reading);
  });

  it("goes on elsewhere at once when the holder is killed, and reads from the next holder then", async () => {
    const it = await play();
    const reading = new Reading(it.fleet, {
      ...{ name: "c", partitions: 1 },
      consumer: { prefetchBytes: 400, maxPollRecords: 5 },
    });
    await it.send(60);
    await reading.poll(500);
    const dead = await holderOf(it);
    it.fleet.kill(dead);
    const at = it.fleet.clock.monotonic();
    await readUp(reading, it);
    const took = it.fleet.clock.monotonic() - at;
    assert.ok(took < 9_000, `the backlog was read in ${took} ms, before the lease ran out`);
    const next = await it.fleet.holderBut(dead, it.topicId);
    await it.send(2);
    await readUp(reading, it);
    it.fetchedAt.length = 0;
    await it.send(2);
    await readUp(reading, it);
    assert.deepEqual([...new Set(it.fetchedAt)], [next.name]);
    await end(it, reading);
  });

  it("leaves an agent that hangs, and comes back when it runs again", async () => {
    const it = await play();
    const reading = new Reading(it.fleet, { name: "c", partitions: 1 });
    await it.send(3);
    await readUp(reading, it);
    const stopped = await holderOf(it);
    stopped.pause.paused = true;
    await it.fleet.clock.run(1_000);
    // What others can tell is told, while the lease is still the stopped agent's.
    const at = it.fleet.clock.monotonic();
    for (let i = 0; i < 20 && !it.fetchedAt.some((name) => name !== stopped.name); i++) {
      await reading.poll(500);
    }
    assert.ok(it.fetchedAt.some((name) => name !== stopped.name));
    assert.ok(it.fleet.clock.monotonic() - at < 9_000);
    stopped.pause.wake();
    await it.send(3);
    await readUp(reading, it);
    await it.fleet.clock.run(20_000);
    await it.send(1);
    await readUp(reading, it);
    it.fetchedAt.length = 0;
    const holder = await holderOf(it);
    await it.send(2);
    await readUp(reading, it);
    assert.deepEqual([...new Set(it.fetchedAt)], [holder.name]);
    await end(it, reading);
  });

  it("leaves an agent that is cut from metadata for one that is not", async () => {
    const it = await play();
    const reading = new Reading(it.fleet, { name: "c", partitions: 1 });
    await it.send(3);
    await readUp(reading, it);
    const cut = await holderOf(it);
    cut.faults.down = true;
    await it.fleet.clock.until(it.fleet.holderBut(cut, it.topicId));
    await it.send(5);
    await readUp(reading, it);
    cut.faults.down = false;
    await end(it, reading);
  });

  it("is never moved by an agent that is seconds behind", async () => {
    const it = await play(2);
    const holder = await holderOf(it);
    const behind = [...it.fleet.members.values()].find((member) => member !== holder);
    assert.ok(behind);
    const reading = new Reading(it.fleet, {
      ...{ name: "c", partitions: 1 },
      consumer: { offsetReset: "latest", assign: [{ topic: "t", partition: 0, offset: 0 }] },
    });
    await it.send(20);
    await readUp(reading, it);
    // The other one knows nothing of all this, and cannot ask.
    behind.faults.deaf = true;
    behind.faults.next.listFlushes = Array.from({ length: 100 }, () => "none" as const);
    await it.send(20);
    await readUp(reading, it);
    it.fleet.disconnect(holder);
    holder.pause.paused = true;
    for (let i = 0; i < 8; i++) await reading.poll(500);
    assert.equal(reading.next[0], 40, "nothing was repeated or skipped");
    behind.faults.next.listFlushes = [];
    holder.pause.wake();
    await it.send(5);
    await readUp(reading, it);
    await end(it, reading);
  });
});

describe("consumers that read from any agent", () => {
  it("spread over all agents, and read the same log", async () => {
    const it = await play();
    const readings = Array.from({ length: 12 }, (_, i) => {
      const consumer = { readFrom: "any" } as const;
      return new Reading(it.fleet, { name: `c${i}`, partitions: 1, seed: 50 + i, consumer });
    });
    await it.send(10);
    for (const reading of readings) await readUp(reading, it);
    assert.deepEqual(new Set(it.fetchedAt), new Set(it.fleet.members.keys()));
    it.fleet.kill(await holderOf(it));
    await it.send(10);
    for (const reading of readings) await readUp(reading, it);
    await end(it, ...readings);
  });
});
