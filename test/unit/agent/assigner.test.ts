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

  it("moves nothing else for any set of agents, whoever comes or goes", () => {
    const ids = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), {
      minLength: 2,
      maxLength: 8,
    });
    fc.assert(
      fc.property(ids, fc.nat(), (agents, which) => {
        const all = agents.map((agentId, i) => ({ runId: `r${i}`, agentId, startedAtMs: i }));
        const gone = all[which % all.length];
        const few = all.filter((it) => it !== gone);
        const before = owners(all);
        const after = owners(few);
        assert.equal(after.size, partitions.length);
        for (const [key, runId] of before) {
          if (runId !== gone?.runId) assert.equal(after.get(key), runId);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("lets of several runs with one agent id the one win that started last by the store's clock, whatever the ids of the runs", () => {
    const twins = [
      { runId: "run-z", agentId: "a", startedAtMs: 1_000 },
      { runId: "run-b", agentId: "a", startedAtMs: 1_001 },
      { runId: "run-c", agentId: "a", startedAtMs: 1_001 },
      { runId: "run-d", agentId: "d", startedAtMs: 500 },
    ];
    const alone = owners([twins[2], twins[3]].flatMap((it) => it ?? []));
    assert.deepEqual([...owners(twins)], [...alone]);
    assert.equal(partitionsOf("run-c", twins.slice(0, 3), partitions).length, partitions.length);
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
