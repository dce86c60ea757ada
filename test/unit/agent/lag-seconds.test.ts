/** Lag in seconds where it is easily wrong: restarts, answers that are late, an index with holes, clocks that jump. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Clock } from "../../../src/core/clock.ts";
import { createSqliteMetadata } from "../../../src/metadata/sqlite.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { withFaults } from "../../fault/faulty-metadata.ts";
import { createTopic, memoryMetadata, send, sendAndWait, startAgent } from "./bench-agent.ts";
import { commit, measured, stop, valuesOf } from "./lag-bench.ts";
import { MemoryStore, TestSink } from "./memory-store.ts";

describe("the age of lag", () => {
  it("is never above five seconds, from the start on", async () => {
    const bench = await startAgent(measured);
    let looks = 0;
    for (let i = 0; i < 200; i++) {
      await bench.clock.run(77);
      for (const seconds of Object.values(valuesOf(bench, catalogue.lagAge))) {
        assert.ok(seconds >= 0 && seconds <= 5, `${seconds}`);
        looks++;
      }
    }
    assert.equal(looks, 200);
    await stop(bench);
  });
});

describe("lag in seconds", () => {
  it("is exact right after the agent's restart", async () => {
    const clock = new ManualClock();
    const metadata = memoryMetadata(clock);
    const store = new MemoryStore();
    const before = await startAgent({ clock, metadata, store });
    const topicId = await createTopic(before, "t");
    const appended = clock.now();
    await sendAndWait(before, "t", ["a", "b"]);
    await clock.run(5_000);
    await sendAndWait(before, "t", ["c"]);
    await commit(before, topicId, 1);
    await stop(before);
    await clock.run(60_000);
    const sink = new TestSink(store, { file: "segments/two.seg" });
    const after = await startAgent({ clock, metadata, store, sink, ...measured });
    await clock.run(0);
    const exact = (clock.now() - appended) / 1_000;
    assert.ok(exact >= 65);
    assert.deepEqual(valuesOf(after, catalogue.groupLagSeconds), { "t/0/g": exact });
    assert.deepEqual(valuesOf(after, catalogue.groupLagRecords), { "t/0/g": 2 });
    await stop(after);
  });

  it("is exact for what is committed while its answer is still on its way", async () => {
    const clock = new ManualClock();
    const { metadata, faults } = withFaults(memoryMetadata(clock));
    const bench = await startAgent({ clock, metadata, ...measured });
    const topicId = await createTopic(bench, "t");
    await sendAndWait(bench, "t", ["old"]);
    await commit(bench, topicId, 1);
    await clock.run(100_000);
    faults.next.commitFlush = ["applied"];
    faults.next.resolveFlush = ["hold"];
    const appended = clock.now();
    const sending = send(bench, "t", ["a", "b"], { timeoutMs: 60_000 });
    await clock.run(6_000);
    const exact = (clock.now() - appended) / 1_000;
    assert.deepEqual(valuesOf(bench, catalogue.groupLagRecords), { "t/0/g": 2 });
    assert.deepEqual(valuesOf(bench, catalogue.groupLagSeconds), { "t/0/g": exact });
    faults.release();
    assert.equal((await clock.until(sending)).baseOffset, 1);
    await stop(bench);
  });

  it("is rather too old than too young where the index has lost what metadata knows", async () => {
    const clock = new ManualClock();
    const inner = memoryMetadata(clock);
    let lost = false;
    const metadata = new Proxy(inner, {
      get: (target, name) => {
        const member = Reflect.get(target, name, target) as (...args: unknown[]) => unknown;
        if (name !== "lagSnapshot") return member;
        return async () => {
          const snapshot = await inner.lagSnapshot();
          if (!lost) return snapshot;
          return { ...snapshot, rows: snapshot.rows.map((it) => ({ ...it, nextOffset: 9 })) };
        };
      },
    });
    const bench = await startAgent({ clock, metadata, ...measured });
    const created = clock.now();
    const topicId = await createTopic(bench, "t", { partitions: 2 });
    await commit(bench, topicId, 2);
    await commit(bench, topicId, 0, { partition: 1 });
    await clock.run(10_000);
    const appended = clock.now();
    await sendAndWait(bench, "t", ["a", "b"]);
    lost = true;
    await clock.run(10_000);
    const now = clock.now();
    assert.deepEqual(valuesOf(bench, catalogue.groupLagSeconds), {
      "t/0/g": (now - appended) / 1_000,
      "t/1/g": (now - created) / 1_000,
    });
    await stop(bench);
  });

  it("keeps its order, and is neither negative nor 0, while the clock jumps to and fro", async () => {
    const clock = new ManualClock();
    // The database's clock is another one: a lease must not end because of the agent's.
    const steady: Clock = {
      now: () => Math.floor(1_700_000_000_000 + clock.monotonic()),
      monotonic: () => clock.monotonic(),
      schedule: (delayMs, fn) => clock.schedule(delayMs, fn),
    };
    const metadata = createSqliteMetadata({ path: ":memory:", clock: steady });
    const agent = { timestampFutureMsMax: 86_400_000 };
    const bench = await startAgent({ clock, metadata, agent, ...measured });
    const topicId = await createTopic(bench, "t");
    const timestamp = clock.now();
    for (const [i, jump] of [0, 3_600_000, -7_200_000, 1_000, 3_600_000, -500].entries()) {
      clock.jump(jump);
      await sendAndWait(bench, "t", [`${i}`], { timestamp });
      await commit(bench, topicId, i, { group: `g${i}` });
      await clock.run(3_000);
      const seconds = valuesOf(bench, catalogue.groupLagSeconds);
      // g0 is furthest behind, g1 less, and so on.
      const ages = Object.keys(seconds)
        .sort()
        .map((it) => seconds[it] ?? 0);
      assert.equal(ages.length, i + 1);
      assert.ok((ages.at(-1) ?? 0) > 0);
      for (const [at, age] of ages.entries()) assert.ok(age >= (ages[at + 1] ?? 0), `${ages}`);
    }
    await commit(bench, topicId, 6, { group: "g0" });
    await clock.run(3_000);
    assert.equal(valuesOf(bench, catalogue.groupLagSeconds)["t/0/g0"], 0);
    await stop(bench);
  });
});
