/**
 * Broke: an agent that was stopped while metadata refused commits (a full disk) and did not take its leases back asked it again and again
 * without a pause, up to the flush's time limit, and nothing else ran in its process meanwhile.
 * Why: stopping ended the pause between two attempts, and not the attempts.
 * Cure: after the stop no attempt follows a failed one.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { StreamHouseError } from "../../src/core/errors.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import {
  createTopic,
  failureOf,
  memoryMetadata,
  send,
  startAgent,
} from "../unit/agent/bench-agent.ts";

const full = new StreamHouseError({
  code: "STORE_FULL",
  kind: "unavailable",
  message: "injected: no space is left",
});

describe("stopping an agent whose commits fail", () => {
  it("tries each commit no more than once after that", async () => {
    const clock = new ManualClock();
    const inner = memoryMetadata(clock);
    let commits = 0;
    const refuse = async (): Promise<never> => {
      // Not for ever: a test that cannot end tells nobody.
      if (++commits > 5_000) return new Promise(() => {});
      throw full;
    };
    const stuck = () => new Promise<never>(() => {});
    const broken = new Map<string | symbol, () => Promise<never>>([
      ["commitFlush", refuse],
      ["releaseLeases", stuck],
    ]);
    const metadata = new Proxy<MetadataStore>(inner, {
      get: (target, name) => broken.get(name) ?? Reflect.get(target, name, target),
    });
    const bench = await startAgent({ clock, metadata, agent: { drainTimeoutMs: 50 } });
    await createTopic(bench, "t");
    const sent = send(bench, "t", ["a"], { timeoutMs: 60_000 });
    await clock.run(10);
    const stopping = bench.agent.stop();
    await clock.until(stopping);
    assert.ok(commits < 100, `${commits} attempts`);
    assert.equal((await failureOf(sent)).outcome, "none");
    assert.equal(clock.pending, 0, "nothing runs after the stop");
  });
});
