/**
 * The audit has no false alarm: through random failures, restarts, fencing and commits of unknown outcome every law holds at
 * every moment at which anything calls or answers. A failing seed is named and replays with SIMULATION_SEED=<seed>.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import { Simulation } from "../simulation.ts";
import { discrepancies } from "./audit-reading.ts";

const SEEDS: readonly number[] = Array.from({ length: 40 }, (_, i) => i + 1_001);

describe("the audit of an agent under random failures and restarts", () => {
  it("finds nothing, at any moment", async () => {
    const given = process.env.SIMULATION_SEED;
    const seeds = given === undefined ? SEEDS : [Number(given)];
    let looks = 0;
    let busy = 0;
    for (const seed of seeds) {
      const simulation = new Simulation(seed, (agent) => {
        looks++;
        const found = discrepancies(agent.telemetry.metrics);
        if (found.size > 0) busy++;
        for (const [law, off] of found) assert.equal(off, 0, `${law} after ${looks} looks`);
      });
      try {
        await simulation.run();
      } catch (error) {
        const last = simulation.trace.slice(-40).join("\n");
        throw new Error(`SIMULATION_SEED=${seed}: ${String(error)}\n${last}`, { cause: error });
      }
    }
    assert.ok(busy > seeds.length * 500, `${busy} of ${looks} looks saw laws`);
  });
});
