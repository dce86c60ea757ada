/** When a flush may be sealed: the rules of the pacer, each by itself. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FlushPacer, type FlushSituation } from "../../../src/agent/flush-pacer.ts";
import { type AgentOptions, resolveAgentOptions } from "../../../src/agent/options.ts";
import { systemRandom } from "../../../src/core/ids.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";

const MIB = 1_048_576;

function pacerFor(options: AgentOptions = {}) {
  const clock = new ManualClock();
  const settings = resolveAgentOptions(options, "s3");
  const pacer = new FlushPacer({ clock, random: systemRandom }, settings, 4);
  /** A batch that has just come in, and nothing else. */
  const at = (changes: Partial<FlushSituation> = {}): FlushSituation => ({
    oldest: { receivedAt: clock.monotonic(), firstSealedAt: -1 },
    bufferedBytes: 100,
    flushes: 0,
    writing: 0,
    zombies: 0,
    draining: false,
    ...changes,
  });
  return { clock, pacer, at };
}

describe("a flush to a store whose writes are paid for", () => {
  it("begins at once when the last one began an interval ago, and else waits for that", () => {
    const { clock, pacer, at } = pacerFor({ flushIntervalMs: 300 });
    assert.equal(pacer.waitMs(at()), 0);
    pacer.sealed();
    clock.advance(100);
    assert.equal(pacer.waitMs(at()), 200);
    clock.advance(200);
    assert.equal(pacer.waitMs(at()), 0);
  });

  it("does not wait for the interval with half of flushBytes: such a write costs little for what it carries", () => {
    const { pacer, at } = pacerFor({ flushBytes: 8 * MIB });
    pacer.sealed();
    assert.equal(pacer.waitMs(at({ bufferedBytes: 4 * MIB - 1 })), 200);
    assert.equal(pacer.waitMs(at({ bufferedBytes: 4 * MIB })), 0);
  });

  it("waits for age while another is under way, unless flushBytes are there", () => {
    const { pacer, at } = pacerFor({ flushIntervalMs: 0, flushAgeMs: 150, flushBytes: 8 * MIB });
    pacer.sealed();
    const busy = { flushes: 1, writing: 1 };
    assert.equal(pacer.waitMs(at({ ...busy, bufferedBytes: 8 * MIB - 1 })), 150);
    assert.equal(pacer.waitMs(at({ ...busy, bufferedBytes: 8 * MIB })), 0);
  });

  it("waits for neither in an agent that drains", () => {
    const { pacer, at } = pacerFor({ flushIntervalMs: 10_000 });
    pacer.sealed();
    assert.equal(pacer.waitMs(at({ draining: true, flushes: 1, writing: 1 })), 0);
  });

  it("never begins with nothing to write, beyond the sink's overlap, or while an undone write is open", () => {
    const { pacer, at } = pacerFor();
    const never = Number.POSITIVE_INFINITY;
    assert.equal(pacer.waitMs(at({ oldest: undefined })), never);
    assert.equal(pacer.waitMs(at({ flushes: 4, writing: 4, draining: true })), never);
    assert.equal(pacer.waitMs(at({ zombies: 1 })), never);
  });

  it("pauses after a write that failed, the longer the more of them did", () => {
    const { clock, pacer, at } = pacerFor({ flushIntervalMs: 0 });
    pacer.writeFailed();
    const first = pacer.waitMs(at());
    assert.ok(first > 0 && first <= 60, `${first} ms`);
    clock.advance(first);
    assert.equal(pacer.waitMs(at()), 0);
    for (let i = 0; i < 20; i++) pacer.writeFailed();
    const later = pacer.waitMs(at({ draining: true }));
    assert.ok(later >= 800 && later <= 1_200, `${later} ms`);
  });
});
