/** The judge of chaos runs sees each defect that it is there for, and nothing where nothing is wrong. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkRun, type RunEvidence, type Verdict } from "../../../scripts/chaos/checker.ts";
import {
  commit,
  goodCommits,
  goodLog,
  goodRun,
  goodSenders,
  goodShared,
  group,
  hold,
  journalOf,
  read,
  senders,
  withEntry,
} from "./evidence.ts";

const clean = {
  ...{ lost: 0, duplicated: 0, reordered: 0, fencedWritesAccepted: 0 },
  ...{ doubleOwned: 0, unprocessed: 0 },
};

function counts(verdict: Verdict): typeof clean {
  const { lost, duplicated, reordered, fencedWritesAccepted, doubleOwned, unprocessed } = verdict;
  return { lost, duplicated, reordered, fencedWritesAccepted, doubleOwned, unprocessed };
}

/** The verdict over a good run that was changed in one place; not ok, with these counts. */
function assertSeen(change: Partial<RunEvidence>, expected: Partial<typeof clean>): void {
  const verdict = checkRun(goodRun(change));
  assert.deepEqual(counts(verdict), { ...clean, ...expected }, verdict.findings.join("\n"));
  assert.equal(verdict.ok, false);
}

/** As if everybody read this log, and every reader had it so. */
function everybodyReads(log: Parameters<typeof read>[0]): Partial<RunEvidence> {
  const groups = [group(journalOf(log))];
  return {
    logs: [read(log), read(log, "a2")],
    groups,
    shared: { ...goodShared, groups: [], booked: undefined },
  };
}

/** A good run with this changed about its shared groups. */
function shared(change: Partial<typeof goodShared>): Partial<RunEvidence> {
  return { shared: { ...goodShared, ...change } };
}

describe("the checker of a chaos run", () => {
  it("finds nothing where everything held", () => {
    const verdict = checkRun(goodRun());
    assert.deepEqual(verdict.findings, []);
    assert.equal(verdict.ok, true);
    assert.equal(verdict.acknowledged, 6);
    assert.equal(verdict.consumed, 7);
  });

  it("leaves open what the API did not know: such a record may be there", () => {
    assert.deepEqual(checkRun(goodRun()).unknown, { there: 1, absent: 0 });
    const without = goodLog.map((it, partition) => (partition === 1 ? it.slice(0, 2) : it));
    const verdict = checkRun(goodRun(everybodyReads(without)));
    assert.deepEqual(verdict.findings, []);
    assert.deepEqual(verdict.unknown, { there: 0, absent: 1 });
  });

  it("allows what the application sent again after an unknown outcome to be there twice, and later", () => {
    const journal = goodSenders[0].replace("a 0 0 0 0", "f 0 0 unknown X\ns 0 1 1\na 0 1 0 4");
    const log = [[...(goodLog[0] ?? []), ["p1.0:0:1", 2] as const], goodLog[1] ?? []];
    const verdict = checkRun(goodRun({ ...everybodyReads(log), senders: senders(journal) }));
    assert.deepEqual(verdict.findings, []);
  });
});

describe("the checker sees as lost", () => {
  it("an acknowledged record that is not in the log", () => {
    const log = withEntry(0, 3);
    assertSeen(everybodyReads(log), { lost: 1 });
  });

  it("an acknowledged record that is at another offset", () => {
    const journal = goodSenders[0].replace("a 4 0 0 3", "a 4 0 0 2");
    assertSeen({ senders: senders(journal) }, { lost: 1 });
  });

  it("offsets that nobody has", () => {
    const [first, second] = read(goodLog).partitions;
    assert.ok(first && second);
    const gap = { ...second, end: 5, offsets: [0, 1, 4] };
    const logs = [{ reader: "a1", partitions: [first, gap] }];
    const verdict = checkRun(goodRun({ logs, groups: [] }));
    assert.equal(verdict.lost, 2, verdict.findings.join("\n"));
  });

  it("a log that begins later, or ends before its watermark", () => {
    const [first, second] = read(goodLog).partitions;
    assert.ok(first && second);
    const short = { reader: "a1", partitions: [first, { ...second, end: 4 }] };
    assertSeen(
      { logs: [short], groups: [], shared: { ...goodShared, groups: [], booked: undefined } },
      { lost: 1 },
    );
    const late = { ...first, logStart: 1, offsets: [1, 2, 3, 4], end: 5 };
    const verdict = checkRun(goodRun({ logs: [{ reader: "a1", partitions: [late, second] }] }));
    assert.ok(verdict.lost > 0);
  });

  it("a record that one agent does not serve", () => {
    const short = [goodLog[0] ?? [], (goodLog[1] ?? []).slice(0, 2)];
    assertSeen({ logs: [read(goodLog), read(short, "a2")] }, { lost: 1 });
  });

  it("a record that a group never got, over all starts of its consumer", () => {
    const lines = journalOf(goodLog).split("\n");
    const missed = group(lines.slice(0, 2).join("\n"), `${lines.slice(3).join("\n")}`);
    assertSeen({ groups: [missed] }, { lost: 2 });
  });

  it("a record that was served once and is not there any more", () => {
    assertSeen({ groups: [group(`r 1 3 p2.0:1:0\n${journalOf(goodLog)}`)] }, { lost: 1 });
  });

  it("a record that came damaged, to a reader of the log or to a consumer", () => {
    const [first, second] = read(goodLog).partitions;
    assert.ok(first && second);
    const damaged = { reader: "a1", partitions: [first, { ...second, damaged: [1] }] };
    assertSeen({ logs: [damaged] }, { lost: 1 });
    assertSeen({ groups: [group(journalOf(goodLog).replace("r 0 0", "x 0 0"))] }, { lost: 1 });
  });

  it("a send of a closed producer that never had an outcome", () => {
    assertSeen({ senders: senders(goodSenders[0].replace("a 4 0 0 3\n", "")) }, { lost: 1 });
  });
});

describe("the checker sees as duplicated", () => {
  it("one send that is in the log twice", () => {
    const log = [[...(goodLog[0] ?? []), ["p1.0:4:0", 2] as const], goodLog[1] ?? []];
    assertSeen(everybodyReads(log), { duplicated: 1 });
  });

  it("a record whose failure said that it was certainly not written", () => {
    const journal = goodSenders[0].replace("a 4 0 0 3", "f 4 0 none UNAVAILABLE");
    assertSeen({ senders: senders(journal) }, { duplicated: 1 });
  });

  it("a record that nobody sent", () => {
    const log = [[...(goodLog[0] ?? []), ["p9.0:4:0", 2] as const], goodLog[1] ?? []];
    assertSeen(everybodyReads(log), { duplicated: 1 });
  });

  it("an outcome that was told twice", () => {
    assertSeen({ senders: senders(`${goodSenders[0]}a 4 0 0 3\n`) }, { duplicated: 1 });
  });
});

describe("the checker sees as reordered", () => {
  it("two records of a producer that changed places", () => {
    const [first = [], second = []] = goodLog;
    const swapped = [[...first.slice(0, 2), ["p1.0:4:0", 2], ["p1.0:2:0", 2]] as const, second];
    const journal = goodSenders[0].replace("a 2 0 0 2", "a 2 0 0 3");
    const change = {
      ...everybodyReads(swapped),
      senders: senders(journal.replace("a 4 0 0 3", "a 4 0 0 2")),
    };
    assertSeen(change, { reordered: 1 });
  });

  it("a key whose records are in two partitions", () => {
    const [first, second] = read(goodLog).partitions;
    assert.ok(first && second);
    const keys = [first.keys[0] ?? "", ...second.keys.slice(1)];
    assertSeen(
      { logs: [{ reader: "a1", partitions: [first, { ...second, keys }] }] },
      { reordered: 1 },
    );
  });

  it("another record at an offset than another agent serves", () => {
    const other = withEntry(1, 1, ["p2.0:1:0", 3]);
    assertSeen({ logs: [read(goodLog), read(other, "a2")] }, { reordered: 1 });
  });

  it("another record at an offset than a consumer got before", () => {
    const journal = journalOf(goodLog).replace("r 1 1 p1.0:3:0", "r 1 1 p1.0:1:0");
    assertSeen({ groups: [group(journal)] }, { reordered: 1 });
  });
});

describe("the checker sees as accepted although it was fenced", () => {
  const share = { flushId: 4, runId: "R2", partition: 0, baseOffset: 4, epoch: 2 };

  it("a flush of a run that did not hold the lease", () => {
    const stray = { ...commit(share), holder: { runId: "R3", epoch: 3 } };
    assertSeen({ commits: [...goodCommits, stray] }, { fencedWritesAccepted: 1 });
  });

  it("a flush under an epoch that is over, of the run that took the lease anew", () => {
    const stray = { ...commit(share), holder: { runId: "R2", epoch: 4 } };
    assertSeen({ commits: [...goodCommits, stray] }, { fencedWritesAccepted: 1 });
  });

  it("a flush of a run whose time was over", () => {
    const stray = { ...commit(share), expired: true };
    assertSeen({ commits: [...goodCommits, stray] }, { fencedWritesAccepted: 1 });
  });

  it("a flush of a run that was overtaken before", () => {
    const overtaken = [{ agent: "a1", runId: "R1", newestFlushId: 0 }];
    assertSeen({ overtaken }, { fencedWritesAccepted: 2 });
  });

  it("a batch with a lower lease epoch than one before it", () => {
    assertSeen(everybodyReads(withEntry(1, 2, ["p2.0:1:0", 2])), { fencedWritesAccepted: 1 });
  });
});

describe("the checker sees of shared groups", () => {
  const [team, books] = goodShared.groups;
  assert.ok(team && books);

  it("a partition that the database gives to one member while another one lives and has it", () => {
    const stolen = hold({
      at: 6_000,
      partition: 1,
      memberId: "M2",
      before: "M3",
      beforeLives: true,
    });
    assertSeen(shared({ holds: goodShared.holds.toSpliced(2, 2, stolen) }), { doubleOwned: 1 });
  });

  it("nothing in a partition that moves when its member's session has ended, or it is out", () => {
    const moved = hold({ at: 6_000, partition: 1, memberId: "M2", before: "M3" });
    const verdict = checkRun(goodRun(shared({ holds: goodShared.holds.toSpliced(2, 2, moved) })));
    assert.deepEqual(verdict.findings, []);
  });

  it("a member that hands out records after its partition was given to another, beyond the clock's error", () => {
    const late = (at: number) => {
      const handouts = [at - 10, at].map((it) => {
        return { at: it, memberId: "M3", partition: 1, from: 1, to: 2 };
      });
      return shared({ groups: [{ ...team, handouts: [...team.handouts, handouts] }, books] });
    };
    assertSeen(late(6_705), { doubleOwned: 1 });
    assertSeen(late(6_800), { doubleOwned: 2 });
    assert.deepEqual(checkRun(goodRun(late(6_500))).findings, []);
  });

  it("what a member that was stopped hands out after it woke, but for the one thing in its hand", () => {
    const asleep = (...ats: readonly number[]) => {
      const handouts = ats.map((at) => ({ at, memberId: "M3", partition: 1, from: 1, to: 2 }));
      return shared({ groups: [{ ...team, handouts: [handouts] }, books] });
    };
    assert.deepEqual(checkRun(goodRun(asleep(2_000, 9_000, 9_000))).findings, []);
    assertSeen(asleep(2_000, 9_000, 9_001), { doubleOwned: 1 });
  });

  it("a member that hands out records of a partition that it never had", () => {
    const stray = { at: 1_000, memberId: "M9", partition: 0, from: 0, to: 1 };
    assertSeen(shared({ groups: [{ ...team, handouts: [[stray]] }, books] }), { doubleOwned: 1 });
  });

  it("nothing in a member that gets a partition back and goes on", () => {
    const holds = [
      ...goodShared.holds,
      hold({ at: 10_000, partition: 1, memberId: "M3", before: "" }),
    ];
    const more = { at: 10_500, memberId: "M3", partition: 1, from: 2, to: 3 };
    const groups = [{ ...team, handouts: [...team.handouts, [more]] }, books];
    assert.deepEqual(checkRun(goodRun(shared({ groups, holds }))).findings, []);
  });

  it("a record that no member processed", () => {
    const journals = group(journalOf(goodLog).replace("r 0 1 p2.0:0:0\n", "")).journals;
    assertSeen(shared({ groups: [{ ...team, journals }, books] }), { unprocessed: 1 });
  });

  it("a group that processed nothing at all", () => {
    assertSeen(shared({ groups: [{ ...team, journals: [] }, books] }), { unprocessed: 7 });
  });

  it("a record that the transactional sink has twice, not at all, or as another one", () => {
    const { booked = [] } = goodShared;
    const [first] = booked;
    assert.ok(first);
    assertSeen(shared({ booked: [...booked, first] }), { duplicated: 1 });
    assertSeen(shared({ booked: booked.slice(1) }), { unprocessed: 1 });
    const other = { ...first, id: "p1.0:9:0" };
    assertSeen(shared({ booked: booked.with(0, other) }), { reordered: 1, unprocessed: 1 });
  });

  it("a commit that went back, and a stale member's call that was not refused", () => {
    assertSeen(shared({ backwards: ["team went back"] }), { reordered: 1 });
    assertSeen(shared({ staleAccepted: ["a commit of M3"] }), { fencedWritesAccepted: 1 });
  });
});
