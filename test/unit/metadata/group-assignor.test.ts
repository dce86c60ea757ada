import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  type AssignablePartition,
  assignPartitions,
  type Subscriber,
} from "../../../src/metadata/group-assignor.ts";

const TOPICS = ["t0", "t1", "t2", "t3"] as const;

interface Case {
  readonly members: readonly Subscriber[];
  readonly partitions: readonly AssignablePartition[];
}

/** Members of any subscriptions; partitions that anybody has so far, also somebody who is gone. */
function anyCase(max: {
  readonly members: number;
  readonly partitions: number;
}): fc.Arbitrary<Case> {
  const subscription = fc.subarray([...TOPICS]);
  const owner = fc.option(fc.nat(max.members), { nil: undefined });
  const partition = fc.record({ topic: fc.constantFrom(...TOPICS), owner, isTaken: fc.boolean() });
  return fc
    .record({
      subscriptions: fc.array(subscription, { maxLength: max.members }),
      partitions: fc.array(partition, { maxLength: max.partitions }),
    })
    .map(({ subscriptions, partitions }) => ({
      members: subscriptions.map((topics, i) => ({ memberId: `m${i}`, topics })),
      partitions: numbered(partitions),
    }));
}

function numbered(
  partitions: readonly {
    readonly topic: string;
    readonly owner: number | undefined;
    readonly isTaken: boolean;
  }[],
): AssignablePartition[] {
  const next = new Map<string, number>();
  return partitions.map(({ topic, owner, isTaken }) => {
    const partition = next.get(topic) ?? 0;
    next.set(topic, partition + 1);
    const name = owner === undefined ? undefined : `m${owner}`;
    return { topic, partition, owner: name, isTaken: isTaken && name !== undefined };
  });
}

/** Everybody subscribes to the same. */
const equalCase: fc.Arbitrary<Case> = anyCase({ members: 8, partitions: 40 }).map((it) => ({
  ...it,
  members: it.members.map(({ memberId }) => ({ memberId, topics: TOPICS })),
}));

function loadsOf(
  members: readonly Subscriber[],
  owners: readonly (string | undefined)[],
): Map<string, number> {
  const loads = new Map(members.map((it) => [it.memberId, 0]));
  for (const it of owners) if (it !== undefined) loads.set(it, (loads.get(it) ?? 0) + 1);
  return loads;
}

const squares = (loads: Iterable<number>) => [...loads].reduce((sum, it) => sum + it * it, 0);

/** The most even loads that there are, by trying everything. */
function evenest({ members, partitions }: Case): number {
  const loads = members.map(() => 0);
  const choices = partitions
    .map(({ topic }) => members.flatMap((it, m) => (it.topics.includes(topic) ? [m] : [])))
    .filter((it) => it.length > 0);
  const tryFrom = (p: number): number => {
    const its = choices[p];
    if (its === undefined) return squares(loads);
    return Math.min(
      ...its.map((m) => {
        loads[m] = (loads[m] ?? 0) + 1;
        const best = tryFrom(p + 1);
        loads[m] = (loads[m] ?? 0) - 1;
        return best;
      }),
    );
  };
  return tryFrom(0);
}

/** How many have to leave the member they are with, with equal subscriptions: all beyond the shares that are possible. */
function leastMoves({ members, partitions }: Case): number {
  const counts = members.map(
    ({ memberId }) => partitions.filter((it) => it.owner === memberId).length,
  );
  const share = Math.floor(partitions.length / members.length);
  const larger = partitions.length % members.length;
  const kept = counts.reduce((sum, it) => sum + Math.min(it, share), 0);
  const keepMore = Math.min(larger, counts.filter((it) => it > share).length);
  return counts.reduce((sum, it) => sum + it, 0) - kept - keepMore;
}

const isMember = (members: readonly Subscriber[], id: string | undefined) =>
  members.some((it) => it.memberId === id);

const moved = (it: Case, owners: readonly (string | undefined)[]) =>
  it.partitions.filter((p, i) => isMember(it.members, p.owner) && p.owner !== owners[i]).length;

describe("the assignor", () => {
  it("gives every partition to somebody who subscribes to its topic, if there is one", () => {
    fc.assert(
      fc.property(anyCase({ members: 8, partitions: 40 }), (it) => {
        const owners = assignPartitions(it.members, it.partitions);
        assert.equal(owners.length, it.partitions.length);
        for (const [i, { topic }] of it.partitions.entries()) {
          const may = it.members.filter((m) => m.topics.includes(topic)).map((m) => m.memberId);
          assert.equal(may.length === 0, owners[i] === undefined);
          assert.ok(may.length === 0 || may.includes(owners[i] ?? ""));
        }
      }),
    );
  });

  it("is as even as the subscriptions allow", () => {
    fc.assert(
      fc.property(anyCase({ members: 4, partitions: 5 }), (it) => {
        const owners = assignPartitions(it.members, it.partitions);
        assert.equal(squares(loadsOf(it.members, owners).values()), evenest(it));
      }),
      { numRuns: 150 },
    );
  });

  it("gives members with equal subscriptions shares that differ by one at most", () => {
    fc.assert(
      fc.property(anyCase({ members: 8, partitions: 40 }), (it) => {
        const loads = loadsOf(it.members, assignPartitions(it.members, it.partitions));
        for (const a of it.members) {
          for (const b of it.members) {
            if (a.topics.join() !== b.topics.join()) continue;
            const apart = (loads.get(a.memberId) ?? 0) - (loads.get(b.memberId) ?? 0);
            assert.ok(apart <= 1, `${a.memberId} has ${apart} more than ${b.memberId}`);
          }
        }
      }),
    );
  });

  it("moves nothing that need not move where subscriptions are equal", () => {
    fc.assert(
      fc.property(equalCase, (it) => {
        fc.pre(it.members.length > 0);
        assert.equal(moved(it, assignPartitions(it.members, it.partitions)), leastMoves(it));
      }),
    );
  });

  it("moves nothing when nothing has changed, whatever the subscriptions", () => {
    fc.assert(
      fc.property(anyCase({ members: 8, partitions: 40 }), (it) => {
        const owners = assignPartitions(it.members, it.partitions);
        const settled = it.partitions.map((p, i) => ({ ...p, owner: owners[i] }));
        assert.deepEqual(assignPartitions(it.members, settled), owners);
      }),
    );
  });

  it("takes from a member what it does not read yet before what it reads", () => {
    const members = ["a", "b"].map((memberId) => ({ memberId, topics: ["t0"] }));
    const partitions = [false, true, true, true].map((isTaken, partition) => ({
      ...{ topic: "t0", partition, owner: "a", isTaken },
    }));
    const owners = assignPartitions(members, partitions);
    assert.equal(owners[0], "b");
  });

  it("moves the least possible when 500 members with 1,000 partitions gain or lose one", () => {
    const members = Array.from({ length: 500 }, (_, i) => ({
      ...{ memberId: `m${i}`, topics: ["t0"] },
    }));
    const none = Array.from({ length: 1_000 }, (_, partition) => ({
      ...{ topic: "t0", partition, owner: undefined, isTaken: false },
    }));
    let owners = assignPartitions(members, none);
    for (const now of [members.slice(1), members, members.slice(0, 333), members]) {
      const partitions = none.map((it, i) => ({ ...it, owner: owners[i], isTaken: true }));
      owners = assignPartitions(now, partitions);
      const it_ = { members: now, partitions };
      assert.equal(moved(it_, owners), leastMoves(it_));
      const loads = [...loadsOf(now, owners).values()];
      assert.ok(Math.max(...loads) - Math.min(...loads) <= 1);
    }
  });
});
