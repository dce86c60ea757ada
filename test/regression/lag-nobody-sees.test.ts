/**
 * Broke: an agent with `telemetry: false` computed every group's lag every 2.5 s: with 50 groups in 1,000 partitions a twentieth of a core, for nobody.
 * Why: the round that refreshes the gauges was started whether there were gauges or not. Who asks for lag is answered from a snapshot of its own.
 * Cure: without telemetry there is no such round.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { memoryMetadata, startAgent } from "../unit/agent/bench-agent.ts";

/** The store, and how many lag snapshots were taken of it. */
function counted(inner: MetadataStore): { metadata: MetadataStore; snapshots(): number } {
  let taken = 0;
  const lagSnapshot: MetadataStore["lagSnapshot"] = (...args) => {
    taken++;
    return inner.lagSnapshot(...args);
  };
  return { metadata: { ...inner, lagSnapshot }, snapshots: () => taken };
}

describe("an agent", () => {
  for (const [how, telemetry, isWanted] of [
    ["with telemetry", {}, true],
    ["without telemetry", false, false],
  ] as const) {
    it(`${how} takes ${isWanted ? "its" : "no"} lag snapshots by itself, and one for who asks`, async () => {
      const clock = new ManualClock();
      const { metadata, snapshots } = counted(memoryMetadata(clock));
      const bench = await startAgent({ clock, metadata, telemetry });
      await clock.run(20_000);
      const before = snapshots();
      assert.equal(before > 3, isWanted, `${before} snapshots`);
      if (!isWanted) assert.equal(before, 0);
      await bench.agent.api.describeGroup({ group: "g", positions: [] }, {});
      assert.equal(snapshots(), before + 1);
      await clock.until(bench.agent.stop());
    });
  }
});
