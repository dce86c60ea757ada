import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createTicker } from "../../../src/core/ticker.ts";
import { ManualClock, settle } from "../../../src/testing/manual-clock.ts";

function setup(work: () => void | Promise<void> = () => {}) {
  const clock = new ManualClock();
  const seen = { runs: 0, errors: [] as unknown[] };
  const ticker = createTicker(clock, {
    intervalMs: 100,
    run: () => {
      seen.runs++;
      return work();
    },
    onError: (error) => seen.errors.push(error),
  });
  return { clock, ticker, seen };
}

describe("a ticker", () => {
  it("runs after each interval, counted from the end of the run before", async () => {
    const { clock, ticker, seen } = setup();
    await clock.run(99);
    assert.equal(seen.runs, 0);
    await clock.run(250);
    assert.equal(seen.runs, 3);
    await ticker.stop();
  });

  it("never runs twice at once; a poke in between gets a run of its own, and several pokes one", async () => {
    let open: (() => void)[] = [];
    const { ticker, seen } = setup(
      () =>
        new Promise<void>((resolve) => {
          open.push(resolve);
        }),
    );
    const next = () => {
      const go = open;
      open = [];
      for (const it of go) it();
    };
    const first = ticker.poke();
    const others = [ticker.poke(), ticker.poke()];
    assert.equal(seen.runs, 1);
    next();
    await first;
    await settle();
    assert.equal(seen.runs, 2);
    next();
    await Promise.all(others);
    assert.equal(seen.runs, 2);
    await ticker.stop();
  });

  it("goes on after a run that throws, and reports it", async () => {
    const { clock, ticker, seen } = setup(() => {
      throw new Error("no luck");
    });
    await clock.run(350);
    assert.equal(seen.runs, 3);
    assert.equal(seen.errors.length, 3);
    await ticker.stop();
  });

  it("leaves nothing behind when stopped, and waits for the run under way", async () => {
    let finish = () => {};
    const { clock, ticker, seen } = setup(
      () =>
        new Promise<void>((resolve) => {
          finish = resolve;
        }),
    );
    void ticker.poke();
    const waiting = ticker.poke();
    let stopped = false;
    const stop = ticker.stop().then(() => {
      stopped = true;
    });
    await settle();
    assert.equal(stopped, false);
    finish();
    await stop;
    await waiting;
    await clock.run(1_000);
    await ticker.poke();
    assert.equal(seen.runs, 1);
    assert.equal(clock.pending, 0);
  });
});
