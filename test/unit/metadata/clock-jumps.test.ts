import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createSqliteMetadata } from "../../../src/metadata/sqlite.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";

const HOUR = 3_600_000;

async function open() {
  const clock = new ManualClock();
  const metadata = createSqliteMetadata({ path: ":memory:", clock });
  await metadata.createTopic({ name: "t", partitions: 1, retentionMs: 0 });
  const run = { agentId: "a", address: "", ttlMs: 10_000, predecessorsDead: false };
  await metadata.startRun({ ...run, runId: "r" });
  const join = {
    group: "g",
    memberId: "m",
    clientId: "c",
    topics: ["t"],
    sessionTimeoutMs: 10_000,
    ...{ instanceId: "", owned: [], rebalanceTimeoutMs: 60_000 },
  };
  await metadata.heartbeat({ ...join, memberEpoch: 0 });
  const liveMembers = async () => (await metadata.listGroups())[0]?.members;
  return { clock, metadata, liveMembers };
}

describe("leases and sessions when the wall clock is set", () => {
  for (const jump of [-HOUR, HOUR]) {
    it(`by ${jump / HOUR} h: they end when their time is over, not before and not later`, async () => {
      const { clock, metadata, liveMembers } = await open();
      clock.advance(5_000);
      clock.jump(jump);
      assert.equal(await liveMembers(), 1);
      assert.equal((await metadata.listRuns())[0]?.expiresAtMs, clock.now() + 5_000);
      assert.equal(await metadata.renewRun("r", 10_000), true);
      clock.advance(5_001);
      assert.equal(await liveMembers(), 0);
      await metadata.close();
    });
  }

  it("the time that a machine slept does not end them", async () => {
    const { clock, metadata, liveMembers } = await open();
    clock.jump(8 * HOUR);
    assert.equal(await liveMembers(), 1);
    await metadata.close();
  });
});
