/**
 * One seed drives producers, clock, failures and restarts against an agent; what is read must be what was acknowledged. A failing
 * seed is named in the error and replays with SIMULATION_SEED=<seed>.
 */
import process from "node:process";
import { describe, it } from "node:test";
import { Simulation } from "./simulation.ts";

const SEEDS: readonly number[] = Array.from({ length: 60 }, (_, i) => i + 1);

describe("an agent under random failures and restarts", () => {
  it("loses nothing acknowledged, duplicates nothing, keeps every producer's order", async () => {
    const given = process.env.SIMULATION_SEED;
    const seeds = given === undefined ? SEEDS : [Number(given)];
    for (const seed of seeds) {
      const simulation = new Simulation(seed);
      try {
        await simulation.run();
      } catch (error) {
        const last = simulation.trace.slice(-40).join("\n");
        throw new Error(`SIMULATION_SEED=${seed}: ${String(error)}\n${last}`, { cause: error });
      }
    }
  });
});
