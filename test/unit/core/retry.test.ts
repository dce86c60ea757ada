import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RandomBytes } from "../../../src/core/ids.ts";
import { backoffMs, randomFraction } from "../../../src/core/retry.ts";

const lowest: RandomBytes = (into) => into.fill(0);
const highest: RandomBytes = (into) => into.fill(255);
const middle: RandomBytes = (into) => {
  into.fill(0);
  into[0] = 128;
  return into;
};

describe("backoffMs", () => {
  const backoff = { baseMs: 100, maxMs: 1_000 };

  it("doubles from the base up to the limit and stays there", () => {
    const pauses = [1, 2, 3, 4, 5, 60].map((n) => Math.round(backoffMs(backoff, n, middle)));
    assert.deepEqual(pauses, [100, 200, 400, 800, 1_000, 1_000]);
  });

  it("varies by a fifth in both directions", () => {
    assert.equal(Math.round(backoffMs(backoff, 1, lowest)), 80);
    assert.equal(Math.round(backoffMs(backoff, 1, highest)), 120);
  });

  it("draws its jitter from the port it is given", () => {
    assert.equal(randomFraction(lowest), 0);
    assert.equal(randomFraction(middle), 0.5);
    assert.ok(randomFraction(highest) < 1);
  });
});
