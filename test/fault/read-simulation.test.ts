/** The promise that where a record is read makes no difference, over random schedules; a failing seed is printed and replays. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ReadSimulation } from "./read-simulation.ts";

const SEEDS = 12;

describe("consumers that switch agents at random, over moves, kills, merges and retention", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    it(`see exactly the log that was acknowledged (seed ${seed})`, async () => {
      const simulation = new ReadSimulation(seed);
      try {
        await simulation.run();
      } catch (error) {
        const trace = simulation.trace.slice(-40).join("\n");
        const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
        assert.fail(`seed ${seed}: ${text}\n${trace}`);
      }
    });
  }
});
