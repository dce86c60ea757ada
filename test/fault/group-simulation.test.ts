/** A failing seed is named in the error and replays with SIMULATION_SEED=<seed>. */
import process from "node:process";
import { describe, it } from "node:test";
import { GroupSimulation } from "./group-simulation.ts";

const SEEDS: readonly number[] = Array.from({ length: 6 }, (_, i) => i + 1);

describe("members of a group under random stops, kills, cuts and failures, over agents that come and go", () => {
  it("process every acknowledged record, own no partition twice, commit nothing back, and are refused when stale", async () => {
    const given = process.env.SIMULATION_SEED;
    const seeds = given === undefined ? SEEDS : [Number(given)];
    for (const seed of seeds) {
      const simulation = new GroupSimulation(seed);
      try {
        await simulation.run();
      } catch (error) {
        const last = simulation.trace.slice(-60).join("\n");
        throw new Error(`SIMULATION_SEED=${seed}: ${String(error)}\n${last}`, { cause: error });
      }
    }
  });
});
