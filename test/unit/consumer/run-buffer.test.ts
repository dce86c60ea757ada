import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RunBuffer, Share } from "../../../src/consumer/run-buffer.ts";
import { RetryLater } from "../../../src/consumer/run-retry-later.ts";
import type { Parcel } from "../../../src/consumer/run-task.ts";
import { setUp, values } from "./setup.ts";
import { WorkBench } from "./work-bench.ts";

const keyed = { key: (value: unknown) => String(value).slice(0, 1) };

function parcel(left: number, backing: ArrayBuffer | undefined): Parcel {
  return { delivery: {} as Parcel["delivery"], backing, left };
}

describe("the buffer of a run", () => {
  it("counts the memory that records keep: each buffer once, until the last record in it has ended", () => {
    const buffer = new RunBuffer({ records: 100, bytes: 1_000 });
    const [a, b] = [new Share(), new Share()];
    const shared = new ArrayBuffer(300);
    const [first, second] = [parcel(2, shared), parcel(1, shared)];
    const [other, none] = [parcel(1, new ArrayBuffer(100)), parcel(1, undefined)];
    buffer.add(a, first);
    buffer.add(b, second);
    buffer.add(b, other);
    buffer.add(b, none);
    assert.deepEqual([buffer.records, buffer.bytes], [5, 400]);
    assert.deepEqual([a.backing.bytes, b.backing.bytes], [300, 400]);
    buffer.release(a, first);
    buffer.release(a, first);
    buffer.release(b, none);
    assert.deepEqual([buffer.records, buffer.bytes, a.backing.bytes], [2, 400, 0]);
    buffer.release(b, second);
    assert.deepEqual([buffer.bytes, b.backing.bytes], [100, 100]);
    buffer.release(b, other);
    assert.deepEqual([buffer.records, buffer.bytes], [0, 0]);
  });

  it("is full at either limit, and takes again when an eighth is free; empty it takes whatever comes", () => {
    const buffer = new RunBuffer({ records: 16, bytes: 1_000 });
    const share = new Share();
    const all = parcel(16, undefined);
    buffer.add(share, all);
    assert.equal(buffer.room, 0);
    buffer.release(share, all);
    assert.equal(buffer.room, 0, "one in sixteen");
    buffer.release(share, all);
    assert.equal(buffer.room, 2);
    for (let i = 0; i < 14; i++) buffer.release(share, all);
    assert.equal(buffer.room, 16);
    const large = parcel(1, new ArrayBuffer(5_000));
    buffer.add(share, large);
    assert.equal(buffer.room, 0);
    buffer.release(share, large);
    assert.equal(buffer.room, 16);
  });
});

describe("a partition that does not get on", () => {
  for (const prefetchBytes of [4_000, 16_777_216]) {
    it(`leaves the others their room (prefetch ${prefetchBytes})`, async () => {
      const { agent, clock, open, until } = setUp();
      agent.createTopic("t", 2);
      for (let i = 0; i < 40; i++) {
        await agent.append(
          "t",
          Array.from({ length: 10 }, (_, j) => `a${i * 10 + j}`),
          keyed,
        );
      }
      const consumer = open({ prefetchBytes });
      const seen: string[] = [];
      let isStuck = true;
      const done = consumer.run(
        (record) => {
          if (record.keyText() === "a" && isStuck) throw new RetryLater(1_000);
          seen.push(record.text());
        },
        { bufferRecords: 20, concurrency: 4 },
      );
      await clock.run(3_000);
      for (let i = 0; i < 20; i++) {
        await agent.append("t", values(10, i * 10), { partition: 1 });
        await clock.run(200);
      }
      await clock.run(5_000);
      assert.deepEqual(seen, values(200), "all of the other partition, in their order");
      const position = consumer.position("t", 0) ?? 0;
      assert.ok(position <= 10, `${position} of 20 are held by the one that is stuck`);
      assert.ok(agent.fetches.length < 300, `${agent.fetches.length} fetches`);
      isStuck = false;
      await clock.run(60_000);
      assert.equal(seen.length, 600);
      assert.deepEqual(
        seen.slice(200),
        Array.from({ length: 400 }, (_, i) => `a${i}`),
      );
      await until(consumer.close());
      await done;
      assert.deepEqual([agent.groups.committed("t"), agent.groups.committed("t", 1)], [400, 200]);
      assert.equal(clock.pending, 0);
    });
  }

  it("is not far ahead of its first unfinished record", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(100));
    const consumer = open();
    const bench = new WorkBench();
    let done = 0;
    const run = consumer.run(
      (record, context) => {
        if (record.text() === "v3") return bench.handler(record, context);
        done++;
        return undefined;
      },
      { aheadRecords: 10 },
    );
    await clock.run(30_000);
    assert.equal(done, 3 + 9, "those before it, and the rest of ten from it on");
    await bench.finish("v3");
    await clock.run(30_000);
    assert.equal(done, 99);
    await until(consumer.close());
    await run;
    assert.equal(agent.groups.committed("t"), 100);
  });
});
