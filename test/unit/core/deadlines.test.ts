import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Deadlines } from "../../../src/core/deadlines.ts";
import { Semaphore } from "../../../src/core/semaphore.ts";
import { ManualClock, settle } from "../../../src/testing/manual-clock.ts";

describe("deadlines", () => {
  it("fire once each, at their time, with one timer for all", () => {
    const clock = new ManualClock();
    const fired: (readonly [string, number])[] = [];
    const deadlines = new Deadlines<string>(clock, (it) => fired.push([it, clock.monotonic()]));
    deadlines.add("late", 300);
    deadlines.add("early", 100);
    deadlines.add("done", 200);
    assert.equal(clock.pending, 1);
    deadlines.remove("done");
    clock.advance(1_000);
    assert.deepEqual(fired, [
      ["early", 100],
      ["late", 300],
    ]);
    assert.equal(deadlines.size, 0);
    assert.equal(clock.pending, 0);
  });

  it("leave no timer when everything is done, or cleared", () => {
    const clock = new ManualClock();
    const deadlines = new Deadlines<string>(clock, () => assert.fail("nothing is late"));
    deadlines.add("a", 100);
    deadlines.remove("a");
    assert.equal(clock.pending, 0);
    deadlines.add("b", 100);
    deadlines.clear();
    clock.advance(500);
    assert.equal(clock.pending, 0);
  });
});

describe("a semaphore", () => {
  it("lets so many work at once, the others in order, and goes on after one that throws", async () => {
    const semaphore = new Semaphore(2);
    const finish: ((error?: Error) => void)[] = [];
    const started: number[] = [];
    const work = (i: number) =>
      semaphore.run(() => {
        started.push(i);
        return new Promise<number>((resolve, reject) => {
          finish.push((error) => (error ? reject(error) : resolve(i)));
        });
      });
    const answers = [0, 1, 2, 3].map(work);
    answers[1]?.catch(() => {});
    await settle();
    assert.deepEqual(started, [0, 1]);
    finish[1]?.(new Error("no luck"));
    await settle();
    assert.deepEqual(started, [0, 1, 2]);
    finish[0]?.();
    await settle();
    assert.deepEqual(started, [0, 1, 2, 3]);
    finish[2]?.();
    finish[3]?.();
    const settled = await Promise.allSettled(answers);
    assert.deepEqual(
      settled.map((it) => it.status),
      ["fulfilled", "rejected", "fulfilled", "fulfilled"],
    );
  });
});
