/** Reads at an agent that does not hold the partition: how new they are, what they ask metadata, and what they never say. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AgentOptions } from "../../src/agent/options.ts";
import type { FetchPartition } from "../../src/rpc/gen/streamhouse/v1/consumer.ts";
import { catalogue } from "../../src/telemetry/catalogue.ts";
import {
  createTopic,
  fetchRaw,
  fetchValues,
  readAll,
  sendAndWait,
} from "../unit/agent/bench-agent.ts";
import { Fleet, type Member } from "./fleet.ts";

interface Pair {
  readonly fleet: Fleet;
  readonly topicId: string;
  readonly holder: Member;
  /** Another agent, which hears no hints and does not look at the cluster for a long time. */
  readonly other: Member;
}

/** Renews once in a minute, so that nothing but its readers keeps the other agent's index fresh. */
const quiet: AgentOptions = { leaseTtlMs: 300_000, leaseRenewMs: 60_000, merge: false };

async function pair(
  options: { agent?: AgentOptions; deaf?: boolean; retentionMs?: number } = {},
): Promise<Pair> {
  const { agent, deaf = true, retentionMs = 0 } = options;
  const fleet = new Fleet();
  const settings = { agent: { ...quiet, ...agent }, telemetry: {} };
  const [one, two] = [await fleet.start("one", settings), await fleet.start("two", settings)];
  const topicId = await createTopic(one, "t", { retentionMs });
  for (let i = 0; i < 100 && (await fleet.holder(topicId)) === undefined; i++) {
    await fleet.clock.run(100);
  }
  const holder = await fleet.holder(topicId);
  assert.ok(holder);
  const other = holder === one ? two : one;
  other.faults.deaf = deaf;
  await sendAndWait(holder, "t", ["a"]);
  // The other one has read so far, and no further by itself.
  await fleet.clock.until(fetchRaw(other, topicId, 0));
  return { fleet, topicId, holder, other };
}

function callsOf(member: Member, method: string): number {
  return member.faults.calls.filter((it) => it === method).length;
}

describe("a fetch at an agent that does not hold the partition", () => {
  it("wakes within half a second of a commit, though no hint of it comes through", async () => {
    const { fleet, holder, other, topicId } = await pair();
    const { clock } = fleet;
    for (let i = 1; i <= 5; i++) {
      const waiting = fetchValues(other, topicId, i, { maxWaitMs: 30_000 });
      await clock.run(i * 170);
      const committedAt = clock.monotonic();
      await sendAndWait(holder, "t", [`v${i}`]);
      assert.deepEqual(await clock.until(waiting), [[i, `v${i}`]]);
      assert.ok(clock.monotonic() - committedAt <= 510, "the bound");
    }
    await fleet.stop();
  });

  it("wakes with the hint, where hints come through", async () => {
    const { fleet, holder, other, topicId } = await pair({
      deaf: false,
      agent: { followPollMs: 60_000 },
    });
    const { clock } = fleet;
    const waiting = fetchValues(other, topicId, 1, { maxWaitMs: 30_000 });
    await clock.run(1_000);
    const committedAt = clock.monotonic();
    await sendAndWait(holder, "t", ["b"]);
    assert.deepEqual(await clock.until(waiting), [[1, "b"]]);
    assert.ok(clock.monotonic() - committedAt <= 200);
    await fleet.stop();
  });

  it("that does not wait is answered with what is committed now", async () => {
    const { fleet, holder, other, topicId } = await pair();
    await sendAndWait(holder, "t", ["b"]);
    assert.deepEqual(await fleet.clock.until(readAll(other, topicId)), ["a", "b"]);
    await fleet.stop();
  });

  it("waits at an offset that this agent has not heard of yet, and is never out of range", async () => {
    const { fleet, holder, other, topicId } = await pair();
    for (let i = 1; i < 10; i++) await sendAndWait(holder, "t", [`v${i}`]);
    const ahead = fetchRaw(other, topicId, 50, { maxWaitMs: 400 });
    const known = fetchValues(other, topicId, 7, { maxWaitMs: 5_000 });
    const data = await fleet.clock.until(ahead);
    assert.equal(data.error, undefined);
    assert.deepEqual(data.batches, []);
    assert.equal((await fleet.clock.until(known))[0]?.[1], "v7");
    await fleet.stop();
  });

  it("names the holder, so that a client can go there; the holder names nobody", async () => {
    const { fleet, holder, other, topicId } = await pair();
    assert.equal((await fetchRaw(other, topicId, 0)).holderAddress, holder.name);
    assert.equal((await fetchRaw(holder, topicId, 0)).holderAddress, "");
    await fleet.stop();
  });

  it("asks before it denies a topic or a partition that was made elsewhere", async () => {
    const { fleet, holder, other, topicId } = await pair();
    const { clock } = fleet;
    const made = await createTopic(holder, "u");
    await clock.until(
      holder.agent.api.alterTopic({ name: "t", partitions: 3, retentionMs: undefined }, {}),
    );
    for (const [id, partition] of [
      [made, 0],
      [topicId, 2],
    ] as const) {
      const data = await clock.until(fetchRaw(other, id, 0, { partition }));
      assert.equal(data.error, undefined);
      assert.equal(data.highWatermark, 0);
    }
    const none = await clock.until(fetchRaw(other, topicId, 0, { partition: 3 }));
    assert.equal(none.error?.code, "PARTITION_OUT_OF_RANGE");
    await fleet.stop();
  });

  it("is woken when the lease goes away under it, and then follows the new holder", async () => {
    const { fleet, holder, other, topicId } = await pair({ agent: { followPollMs: 300 } });
    const { clock } = fleet;
    const waiting = fetchValues(holder, topicId, 1, { maxWaitMs: 60_000 });
    await clock.run(10);
    await clock.until(holder.agent.drain());
    await clock.until(fleet.holderBut(holder, topicId));
    holder.faults.deaf = true;
    await clock.until(sendAndWait(other, "t", ["b"]));
    const at = clock.monotonic();
    assert.deepEqual(await clock.until(waiting), [[1, "b"]]);
    // A question that was under way was too early: the one after it finds the record.
    assert.ok(clock.monotonic() - at <= 2 * 300);
    await fleet.stop();
  });
});

describe("offsets listed by an agent that does not hold the partition", () => {
  it("are right at both ends and by time", async () => {
    const { fleet, holder, other, topicId } = await pair();
    const { clock } = fleet;
    const t0 = clock.now() + 1_000;
    await sendAndWait(holder, "t", ["b"], { timestamp: t0 });
    await sendAndWait(holder, "t", ["c"], { timestamp: t0 + 100 });
    const list = async (timestampMs: number) => {
      const request = { partitions: [{ topicId, partition: 0, timestampMs }] };
      const { offsets } = await clock.until(other.agent.api.listOffsets(request, {}));
      assert.equal(offsets[0]?.error, undefined);
      return offsets[0]?.offset;
    };
    assert.equal(await list(-1), 3);
    assert.equal(await list(t0 + 50), 2);
    await sendAndWait(holder, "t", ["d"], { timestamp: t0 + 200 });
    assert.equal(await list(t0 + 150), 3);
    assert.equal(await list(t0 + 250), 4);
    await fleet.metadata.advanceLogStart([{ topicId, partition: 0, logStartOffset: 2 }]);
    assert.equal(await list(-2), 2);
    assert.equal(await list(0), 2);
    await fleet.stop();
  });
});

describe("an object that is not there any more", () => {
  /** Reads always go to the store. */
  const uncached = { readCacheBytesMax: 0, tailCacheBytesMax: 0 };

  it("is read where it was merged to, by an agent that had not heard of the merge", async () => {
    const merging = { merge: true, mergeCheckMs: 1_000, mergeAgeMs: 1_000 };
    const { fleet, holder, other, topicId } = await pair({
      agent: { ...uncached, ...merging, deleteGraceMs: 1_000, retentionCheckMs: 1_000 },
    });
    const { clock } = fleet;
    for (let i = 1; i < 8; i++) await sendAndWait(holder, "t", [`v${i}`]);
    await clock.until(readAll(other, topicId));
    const [first = ""] = fleet.store.objects.keys();
    const isMerged = () => !fleet.store.objects.has(first);
    for (let i = 0; i < 60 && !isMerged(); i++) {
      // What the other one does by itself would tell it: only its readers may.
      other.pause.paused = true;
      await clock.run(1_000);
      other.pause.wake();
    }
    assert.ok(isMerged(), "the first flush's object is gone");
    const values = (await clock.until(fetchValues(other, topicId, 0))).map(([, value]) => value);
    assert.deepEqual(values, ["a", ...Array.from({ length: 7 }, (_, i) => `v${i + 1}`)]);
    await fleet.stop();
  });

  it("was deleted by retention: out of range, with the bounds that are true now", async () => {
    const { fleet, holder, other, topicId } = await pair({ agent: uncached });
    await sendAndWait(holder, "t", ["b"]);
    await fleet.clock.until(readAll(other, topicId));
    const [first = ""] = fleet.store.objects.keys();
    await fleet.metadata.advanceLogStart([{ topicId, partition: 0, logStartOffset: 1 }]);
    fleet.store.objects.delete(first);
    const data = await fleet.clock.until(fetchRaw(other, topicId, 0));
    assert.equal(data.error?.code, "OFFSET_OUT_OF_RANGE");
    assert.match(data.error?.message ?? "", /offsets 1 to 2 /);
    assert.equal(data.logStartOffset, 1);
    assert.deepEqual(await fetchValues(other, topicId, 1), [[1, "b"]]);
    await fleet.stop();
  });
});

describe("metadata that an agent cannot reach", () => {
  it("stops no read of what is indexed; who waits is told in time that it may try again", async () => {
    const { fleet, other, topicId } = await pair();
    const { clock } = fleet;
    for (const break_ of ["down", "silent"] as const) {
      if (break_ === "down") other.faults.down = true;
      else other.faults.next.listFlushes = Array.from({ length: 50 }, () => "hold" as const);
      assert.deepEqual(await clock.until(fetchValues(other, topicId, 0)), [[0, "a"]]);
      const at = clock.monotonic();
      const waiting = await clock.until(fetchRaw(other, topicId, 1, { maxWaitMs: 5_000 }));
      assert.equal(waiting.error?.code, "METADATA_UNAVAILABLE", break_);
      assert.equal(waiting.error?.retriable, true);
      assert.ok(clock.monotonic() - at <= 7_500, "in time");
      const unknown = await clock.until(fetchRaw(other, topicId, 1));
      assert.equal(unknown.error?.code, "METADATA_UNAVAILABLE");
      other.faults.down = false;
      other.faults.next.listFlushes = [];
      other.faults.release();
      await clock.run(100);
      const again = await clock.until(fetchRaw(other, topicId, 1, { maxWaitMs: 600 }));
      assert.equal(again.error, undefined);
    }
    await fleet.stop();
  });
});

describe("many who wait at an agent that holds nothing", () => {
  it("cost one question in each interval, and none when they are gone", async () => {
    const { fleet, other, topicId } = await pair({ agent: { followPollMs: 500 } });
    const { clock } = fleet;
    const asked = (from: number): FetchPartition[] =>
      Array.from({ length: 3 }, () => ({ topicId, partition: 0, offset: from, maxBytes: 0 }));
    const gone = new AbortController();
    const waits = Array.from({ length: 300 }, (_, i) =>
      other.agent.api.fetch(
        {
          partitions: asked(1 + (i % 40)),
          ...{ maxWaitMs: 60_000, minBytes: 1, maxBytes: 0, group: "", memberId: "" },
          memberEpoch: 0,
        },
        { signal: gone.signal },
      ),
    );
    for (const it of waits) it.catch(() => {});
    const before = callsOf(other, "listFlushes");
    await clock.run(10_000);
    const questions = callsOf(other, "listFlushes") - before;
    assert.ok(questions >= 18 && questions <= 22, `${questions} questions in 10 s`);
    gone.abort();
    await Promise.allSettled(waits);
    await clock.run(1_000);
    const after = callsOf(other, "listFlushes");
    await clock.run(20_000);
    assert.equal(callsOf(other, "listFlushes"), after);
    await fleet.stop();
  });

  it("cost no more when hints come thick and fast, or when all ask for what is not there", async () => {
    const { fleet, holder, other, topicId } = await pair({ deaf: false });
    const { clock } = fleet;
    const waits = Array.from({ length: 100 }, () =>
      fetchRaw(other, topicId, 1_000, { maxWaitMs: 20_000 }),
    );
    const before = callsOf(other, "listFlushes");
    const until = clock.monotonic() + 2_000;
    while (clock.monotonic() < until) {
      await sendAndWait(holder, "t", ["x"]);
      await clock.run(5);
    }
    const questions = callsOf(other, "listFlushes") - before;
    assert.ok(questions > 10 && questions <= 100, `${questions} questions in 2 s`);

    const bounds = callsOf(other, "partitionBounds");
    const asks = Array.from({ length: 200 }, () => fetchRaw(other, topicId, 5_000));
    await clock.until(Promise.all(asks));
    assert.ok(callsOf(other, "partitionBounds") - bounds <= 2);
    await clock.until(Promise.all(waits));
    await fleet.stop();
  });
});

describe("what an agent measures of reads elsewhere", () => {
  it("is told apart, and the self-audit stays at zero", async () => {
    const { fleet, holder, other, topicId } = await pair();
    const { clock } = fleet;
    await sendAndWait(holder, "t", ["b"]);
    await clock.until(readAll(holder, topicId));
    await clock.until(readAll(other, topicId, 0));
    const read = (member: Member, key: "bytesFetched" | "bytesFetchedUnheld") =>
      member.agent.telemetry.metrics.counter(catalogue[key], { topic: "t" }).value;
    assert.ok(read(other, "bytesFetched") > 0);
    assert.equal(read(other, "bytesFetchedUnheld"), read(other, "bytesFetched"));
    assert.equal(read(holder, "bytesFetchedUnheld"), 0);
    const refreshes = other.agent.telemetry.metrics.counter(catalogue.indexRefreshes, {
      outcome: "ok",
    });
    assert.ok(refreshes.value > 0);
    for (const { agent } of [holder, other]) {
      for (const { descriptor, series } of agent.telemetry.metrics.collect()) {
        if (descriptor !== catalogue.auditDiscrepancy) continue;
        for (const { cell } of series.values()) assert.equal((cell as { value: number }).value, 0);
      }
    }
    await fleet.stop();
  });
});
