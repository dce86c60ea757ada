import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { partitionsOf } from "../../../src/agent/assigner.ts";

const runs = (n: number) =>
  Array.from({ length: n }, (_, i) => ({
    runId: `run-${i}`,
    agentId: `agent-${i}`,
    startedAtMs: 1_000,
  }));
const partitions = Array.from({ length: 300 }, (_, i) => ({
  topicId: `00000000-0000-4000-8000-00000000000${i % 3}`,
  partition: Math.floor(i / 3),
}));
const owners = (live: ReturnType<typeof runs>) => {
  const owner = new Map<string, string>();
  for (const { runId } of live) {
    for (const it of partitionsOf(runId, live, partitions)) {
      const key = `${it.topicId}/${it.partition}`;
      assert.ok(!owner.has(key), "two runs think it is theirs");
      owner.set(key, runId);
    }
  }
  return owner;
};

describe("the assigner", () => {
  it("gives every partition to exactly one live run", () => {
    for (const n of [1, 2, 3, 7]) assert.equal(owners(runs(n)).size, partitions.length);
  });

  it("spreads them evenly enough", () => {
    const counts = new Map<string, number>();
    for (const runId of owners(runs(3)).values()) counts.set(runId, (counts.get(runId) ?? 0) + 1);
    for (const count of counts.values()) assert.ok(count > 60 && count < 140, String(count));
  });

  it("moves only the partitions of the run that comes or goes", () => {
    const three = owners(runs(3));
    const two = owners(runs(2));
    for (const [key, runId] of three) {
      if (runId !== "run-2") assert.equal(two.get(key), runId);
    }
  });

  it("gives a restarted agent its old partitions, and the later of two runs with one agent id all of theirs", () => {
    const before = owners(runs(3));
    const restarted = runs(3).map((it, i) => (i === 1 ? { ...it, runId: "run-9" } : it));
    for (const [key, runId] of owners(restarted)) {
      assert.equal(before.get(key), runId === "run-9" ? "run-1" : runId);
    }
    const twins = [...runs(1), { runId: "run-1", agentId: "agent-0", startedAtMs: 1_000 }];
    assert.equal(partitionsOf("run-1", twins, partitions).length, partitions.length);
  });

  it("does not depend on the order in which runs are listed", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(runs(5), { minLength: 5 }), (shuffled) => {
        assert.deepEqual([...owners(shuffled)].sort(), [...owners(runs(5))].sort());
      }),
      { numRuns: 20 },
    );
  });
});
