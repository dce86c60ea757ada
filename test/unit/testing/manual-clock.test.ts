import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sleep } from "../../../src/core/clock.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";

describe("manual clock", () => {
  it("stands still until it is moved, and then both its clocks move", async () => {
    const clock = new ManualClock({ startMs: 1_000 });
    assert.deepEqual([clock.now(), clock.monotonic()], [1_000, 0]);
    await clock.run(250);
    assert.deepEqual([clock.now(), clock.monotonic()], [1_250, 250]);
  });

  it("rings timers in the order of their times, each at its own time, those of one time as they were set", async () => {
    const clock = new ManualClock({ startMs: 0 });
    const rang: string[] = [];
    const ring = (name: string, delay: number) =>
      clock.schedule(delay, () => void rang.push(`${name} at ${clock.now()}`));
    ring("late", 30);
    ring("early", 10);
    ring("early too", 10);
    ring("never", 10).cancel();
    await clock.run(20);
    assert.deepEqual(rang, ["early at 10", "early too at 10"]);
    await clock.run(10);
    assert.deepEqual(rang.at(-1), "late at 30");
    assert.equal(clock.pending, 0);
  });

  it("lets what a timer set off run before the next one rings", async () => {
    const clock = new ManualClock({ startMs: 0 });
    const woke: number[] = [];
    const loop = (async () => {
      for (let i = 0; i < 3; i++) {
        await sleep(clock, 10);
        woke.push(clock.now());
      }
    })();
    await clock.run(30);
    await loop;
    assert.deepEqual(woke, [10, 20, 30]);
  });
});
