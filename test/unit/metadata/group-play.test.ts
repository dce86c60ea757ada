import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createSqliteMetadata } from "../../../src/metadata/sqlite.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { seededRandom } from "../agent/bench-agent.ts";
import { GroupPlay, type GroupPlayCounts } from "./group-play.ts";

const SEEDS = 40;
const STEPS = 400;

async function play(seed: number): Promise<GroupPlayCounts> {
  const clock = new ManualClock();
  const metadata = createSqliteMetadata({ path: ":memory:", clock, random: seededRandom(~seed) });
  const world = new GroupPlay({
    ...{ metadata, random: seededRandom(seed), now: () => clock.now() },
    advance: async (ms) => clock.advance(ms),
  });
  try {
    await world.run(STEPS);
    await world.settle();
  } catch (error) {
    throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
  } finally {
    await metadata.close();
  }
  return world.counts;
}

describe("a consumer group whose members do anything", () => {
  it("never lets two read one partition, refuses nobody's good commit, and shares all in the end", async () => {
    const total: Record<string, number> = {};
    for (let seed = 1; seed <= SEEDS; seed++) {
      for (const [what, count] of Object.entries(await play(seed))) {
        total[what] = (total[what] ?? 0) + count;
      }
    }
    for (const [what, count] of Object.entries(total)) assert.ok(count > 0, `${what} never was`);
  });
});
