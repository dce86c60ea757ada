/** Leases that metadata has given to a run without the agent's knowing: they must not keep a partition from whoever is to have it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createTopic, failureOf, send, sendAndWait } from "../unit/agent/bench-agent.ts";
import { Fleet, type Member } from "./fleet.ts";

const PARTITIONS = 20;

const held = ({ agent }: Member) => agent.leaseManager.activeLeaseCount();

async function assertAllAreServed(fleet: Fleet, ...members: readonly Member[]): Promise<void> {
  // Two rounds of each agent.
  await fleet.clock.run(7_000);
  const counts = members.map(held);
  assert.equal(
    counts.reduce((sum, it) => sum + it, 0),
    PARTITIONS,
    `every partition is held by somebody who knows it: ${counts.join(" + ")}`,
  );
  const leases = await fleet.metadata.listLeases();
  for (const { partition, runId } of leases) {
    const holder = members.find((it) => it.agent.runId === runId);
    assert.ok(holder, `partition ${partition} is a live agent's`);
    await sendAndWait(holder, "t", ["x"], { partition });
  }
}

describe("leases that were granted and whose answer was lost", () => {
  it("are given to the agent that comes meanwhile", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    a.faults.next.acquireLeases = ["applied"];
    await createTopic(a, "t", { partitions: PARTITIONS });
    assert.equal(held(a), 0, "it does not know of them");
    assert.equal((await fleet.metadata.listLeases()).length, PARTITIONS, "metadata does");
    const b = await fleet.start("b");
    await assertAllAreServed(fleet, a, b);
    assert.ok(held(b) > 0, "the newcomer has its share");
    await fleet.stop();
  });
});

describe("leases that the agent dropped because a commit came too late", () => {
  it("are given to the agent that came meanwhile", async () => {
    const fleet = new Fleet();
    const a = await fleet.start("a");
    await createTopic(a, "t", { partitions: PARTITIONS });
    await fleet.clock.run(100);
    assert.equal(held(a), PARTITIONS);
    // All partitions in one flush, whose commit arrives when the run's time is over, and nobody has taken anything.
    a.faults.next.commitFlush = ["hold"];
    const sent = Array.from({ length: PARTITIONS }, (_, partition) =>
      failureOf(send(a, "t", ["late"], { partition, timeoutMs: 60_000 })),
    );
    await fleet.clock.run(1_000);
    assert.equal(a.faults.held, 1, "the commit is on its way");
    await fleet.metadata.renewRun(a.agent.runId, 1);
    await fleet.clock.run(5);
    a.faults.release();
    for (const error of await Promise.all(sent)) assert.equal(error.code, "LEASE_LOST");
    const b = await fleet.start("b");
    await assertAllAreServed(fleet, a, b);
    assert.ok(held(b) > 0);
    await fleet.stop();
  });
});
