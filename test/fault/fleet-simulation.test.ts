/** A failing seed is named in the error and replays with SIMULATION_SEED=<seed>. */
import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import { FleetSimulation } from "./fleet-simulation.ts";
import { discrepancies } from "./telemetry/audit-reading.ts";

const SEEDS: readonly number[] = Array.from({ length: 16 }, (_, i) => i + 1);

describe("several agents under random stops, kills, restarts and failures", () => {
  it("lose nothing acknowledged, double nothing, keep every producer's order and count right throughout", async () => {
    const given = process.env.SIMULATION_SEED;
    const seeds = given === undefined ? SEEDS : [Number(given)];
    let looks = 0;
    for (const seed of seeds) {
      // Half of them with nobody looking, as most agents run.
      const isWatched = seed % 2 === 0;
      const watch = (metrics: Parameters<typeof discrepancies>[0], who: string) => {
        looks++;
        for (const [law, off] of discrepancies(metrics)) assert.equal(off, 0, `${law} of ${who}`);
      };
      const simulation = new FleetSimulation(seed, isWatched ? watch : undefined);
      try {
        await simulation.run();
      } catch (error) {
        const last = simulation.trace.slice(-80).join("\n");
        throw new Error(`SIMULATION_SEED=${seed}: ${String(error)}\n${last}`, { cause: error });
      }
    }
    assert.ok(given !== undefined || looks > 1_000, `${looks} looks`);
  });
});
