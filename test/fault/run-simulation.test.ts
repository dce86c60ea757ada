import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { RunSimulation } from "./run-simulation.ts";

describe("consumer.run, whatever happens", () => {
  it("keeps order, loses nothing, commits only what is finished without a gap, holds no more than it may", async () => {
    const sums = { begun: 0, retried: 0, putOff: 0, dead: 0, disturbances: 0 };
    await fc.assert(
      fc.asyncProperty(fc.integer(), async (seed) => {
        const result = await new RunSimulation(seed).run(25);
        for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += result[key];
      }),
      { numRuns: 60, endOnFailure: true },
    );
    for (const [what, times] of Object.entries(sums)) assert.ok(times > 10, `${what}: ${times}`);
  });
});
