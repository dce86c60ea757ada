/** A failing seed is named in the error and replays with SIMULATION_SEED=<seed>. */
import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import { MergeSimulation } from "./merge-simulation.ts";

const SEEDS: readonly number[] = Array.from({ length: 12 }, (_, i) => i + 1);

describe("agents that merge, retain, delete and sweep under random stops, kills and failures", () => {
  it("lose nothing, never refer to what is not there, agree on the index, and leave no object behind", async () => {
    const given = process.env.SIMULATION_SEED;
    const seeds = given === undefined ? SEEDS : given.split(",").map(Number);
    let merges = 0;
    for (const seed of seeds) {
      const simulation = new MergeSimulation(seed);
      try {
        await simulation.run();
      } catch (error) {
        const last = simulation.trace.slice(-60).join("\n");
        throw new Error(`SIMULATION_SEED=${seed}: ${String(error)}\n${last}`, { cause: error });
      }
      merges += simulation.merges;
    }
    assert.ok(merges > 3 * seeds.length, `${merges} segments in the end`);
  });
});
