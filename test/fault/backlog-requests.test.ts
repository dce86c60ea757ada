/**
 * What reading a backlog costs in requests to an object store, where each is paid for: by counts, never by times. A store like S3 (an
 * object for each flush), partitions that share flushes, consumers that read them from an agent without a warm cache.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AgentOptions } from "../../src/agent/options.ts";
import { readBatchHeader } from "../../src/format/batch-header.ts";
import {
  type BenchAgent,
  createTopic,
  fetchRaw,
  send,
  startAgent,
} from "../unit/agent/bench-agent.ts";
import { Fleet } from "./fleet.ts";

const MIB = 1_048_576;

/** A day in small: each flush has a share of each partition. */
interface Day {
  readonly partitions: number;
  readonly flushes: number;
  /** Of one share, in bytes, about. */
  readonly shareBytes: number;
}

async function writeDay(holder: BenchAgent, { flushes, partitions, shareBytes }: Day) {
  const topicId = await createTopic(holder, "t", { partitions });
  for (let flush = 0; flush < flushes; flush++) {
    const sent = Array.from({ length: partitions }, (_, partition) =>
      send(holder, "t", [`${flush}/${partition} `.padEnd(shareBytes, "x")], { partition }),
    );
    await holder.clock.until(Promise.all(sent));
  }
  return topicId;
}

const writing: AgentOptions = { flushAgeMs: 200, flushBytes: 8 * MIB, merge: false };

/** Reads the partitions side by side to their ends, as a consumer does. Answers records and bytes. */
async function readDay(
  reader: BenchAgent,
  topicId: string,
  partitions: readonly number[],
  maxBytes = 8 * MIB,
): Promise<{ readonly records: number; readonly bytes: number }> {
  const offsets = new Map(partitions.map((it) => [it, 0]));
  let [records, bytes] = [0, 0];
  for (;;) {
    const { partitions: answers } = await reader.clock.until(
      reader.agent.api.fetch(
        {
          partitions: [...offsets].map(([partition, offset]) => ({
            ...{ topicId, partition, offset, maxBytes: 0 },
          })),
          ...{ maxWaitMs: 1, minBytes: 1, maxBytes, group: "", memberId: "", memberEpoch: 0 },
        },
        {},
      ),
    );
    let got = 0;
    for (const { batches, error, partition } of answers) {
      assert.equal(error, undefined);
      for (const batch of batches) {
        const { baseOffset, lastOffsetDelta } = readBatchHeader(batch.records);
        assert.equal(baseOffset, offsets.get(partition), "no gap, no repetition");
        offsets.set(partition, baseOffset + lastOffsetDelta + 1);
        records += lastOffsetDelta + 1;
        bytes += batch.records.length;
        got++;
      }
    }
    if (got === 0) return { records, bytes };
  }
}

/** An agent that wrote a day, and its successor, which has nothing in memory and holds everything. */
async function dayAfter(day: Day): Promise<{ reader: BenchAgent; topicId: string }> {
  const writer = await startAgent({ agent: { ...writing, agentId: "w" } });
  const topicId = await writeDay(writer, day);
  await writer.clock.until(writer.agent.stop());
  const { clock, metadata, store } = writer;
  const reader = await startAgent({ clock, metadata, store, agent: { ...writing, agentId: "r" } });
  store.gets = 0;
  return { reader, topicId };
}

describe("a backlog that is not merged", () => {
  it("costs one request for each flush, however many partitions are read together", async () => {
    const day = { partitions: 40, flushes: 120, shareBytes: 2_000 };
    const { reader, topicId } = await dayAfter(day);
    const all = Array.from({ length: day.partitions }, (_, i) => i);
    const { records, bytes } = await readDay(reader, topicId, all);
    assert.equal(records, day.partitions * day.flushes);
    assert.ok(bytes > 9 * MIB);
    assert.ok(reader.store.gets <= day.flushes, `${reader.store.gets} for ${day.flushes} flushes`);
    await reader.clock.until(reader.agent.stop());
  });

  it("costs no more where each partition has a consumer of its own", async () => {
    const day = { partitions: 12, flushes: 100, shareBytes: 3_000 };
    const { reader, topicId } = await dayAfter(day);
    const all = Array.from({ length: day.partitions }, (_, i) => i);
    await Promise.all(all.map((it) => readDay(reader, topicId, [it], MIB)));
    assert.ok(reader.store.gets <= day.flushes, `${reader.store.gets} for ${day.flushes} flushes`);
    await reader.clock.until(reader.agent.stop());
  });

  it("costs a request and no whole large object for each flush where one partition of many is read", async () => {
    // A flush of four megabytes: nobody wants all of it for a share of one fortieth.
    const day = { partitions: 40, flushes: 20, shareBytes: 100_000 };
    const { reader, topicId } = await dayAfter(day);
    let moved = 0;
    const get = reader.store.get.bind(reader.store);
    reader.store.get = async (...args) => {
      const bytes = await get(...args);
      moved += bytes.length;
      return bytes;
    };
    const { bytes } = await readDay(reader, topicId, [7]);
    assert.equal(reader.store.gets, day.flushes);
    assert.ok(moved <= bytes * 1.1, `${moved} bytes moved for ${bytes}`);
    await reader.clock.until(reader.agent.stop());
  });
});

describe("a backlog that is merged", () => {
  it("costs less than half a request for each mebibyte, and a small part of what it cost before", async () => {
    const merging: AgentOptions = {
      ...{ merge: true, mergeCheckMs: 1_000, mergeAgeMs: 2_000, mergeBytes: 16 * MIB },
      ...{ flushAgeMs: 200, flushBytes: 8 * MIB, deleteGraceMs: 0, retentionCheckMs: 1_000 },
    };
    const day = { partitions: 4, flushes: 200, shareBytes: 40_000 };
    const writer = await startAgent({ agent: { ...merging, agentId: "w" } });
    const topicId = await writeDay(writer, day);
    for (let i = 0; i < 60; i++) await writer.clock.run(1_000);
    await writer.clock.until(writer.agent.stop());
    const { clock, metadata, store } = writer;
    assert.ok((await metadata.listMerges(0, 1)).length > 0, "it was merged");
    const reader = await startAgent({
      ...{ clock, metadata, store, agent: { ...writing, agentId: "r" } },
    });
    store.gets = 0;
    const all = Array.from({ length: day.partitions }, (_, i) => i);
    const { records, bytes } = await readDay(reader, topicId, all);
    assert.equal(records, day.partitions * day.flushes);
    const merged = store.gets;
    assert.ok(merged / (bytes / MIB) < 0.5, `${merged} requests for ${bytes / MIB} MiB`);
    assert.ok(merged <= day.flushes / 10, `${merged} requests, unmerged ${day.flushes}`);
    // Again, from memory.
    await readDay(reader, topicId, all);
    assert.ok(store.gets <= merged * 2);
    await clock.until(reader.agent.stop());
  });
});

describe("many consumers of one partition at an agent that does not hold it", () => {
  it("cost together what one of them costs", async () => {
    const fleet = new Fleet();
    const quiet: AgentOptions = { ...writing, leaseTtlMs: 300_000, leaseRenewMs: 60_000 };
    const one = await fleet.start("one", { agent: quiet });
    const two = await fleet.start("two", { agent: quiet });
    const topicId = await createTopic(one, "t");
    for (let i = 0; i < 100 && (await fleet.holder(topicId)) === undefined; i++) {
      await fleet.clock.run(100);
    }
    const holder = await fleet.holder(topicId);
    assert.ok(holder);
    const flushes = 60;
    for (let i = 0; i < flushes; i++) {
      await fleet.clock.until(send(holder, "t", [`${i}`.padEnd(1_000, "x")]));
    }
    const other = holder === one ? two : one;
    await fleet.clock.until(fetchRaw(other, topicId, flushes));
    fleet.store.gets = 0;
    const reads = Array.from({ length: 20 }, () => readDay(other, topicId, [0]));
    for (const { records } of await Promise.all(reads)) assert.equal(records, flushes);
    assert.ok(fleet.store.gets <= flushes, `${fleet.store.gets} requests`);
    await fleet.stop();
  });
});
