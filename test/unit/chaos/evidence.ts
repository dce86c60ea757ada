/** A small run in which everything held, for the checker's tests to break in one place each. */
import type {
  GroupRead,
  LogRead,
  PartitionRead,
  RunEvidence,
  SharedEvidence,
} from "../../../scripts/chaos/checker.ts";
import type { CommittedShare } from "../../../scripts/chaos/fence-check.ts";
import type { Hold } from "../../../scripts/chaos/group-check.ts";
import {
  parseReadJournal,
  parseSenderJournal,
  type SenderJournal,
} from "../../../scripts/chaos/journal.ts";
import { keyOf, parseId } from "../../../scripts/chaos/record-content.ts";

/** One record of the log, and the lease epoch that it was written under. */
export type LogEntry = readonly [id: string, epoch: number];

/** Where keys go: a record's partition is its sequence's remainder. Keys repeat after an even number of sequences. */
export const partitions = 2;

export function read(entries: readonly (readonly LogEntry[])[], reader = "a1"): LogRead {
  return { reader, partitions: entries.map(partitionRead) };
}

function partitionRead(entries: readonly LogEntry[]): PartitionRead {
  return {
    logStart: 0,
    end: entries.length,
    offsets: entries.map((_, offset) => offset),
    ids: entries.map(([id]) => id),
    keys: entries.map(([id]) => keyOf(parseId(id)?.sequence ?? 0)),
    epochs: entries.map(([, epoch]) => epoch),
    damaged: [],
  };
}

/** Two senders; the second one was killed before it heard of its last record, which is in the log. */
export const goodLog: readonly (readonly LogEntry[])[] = [
  [
    ["p1.0:0:0", 1],
    ["p2.0:0:0", 1],
    ["p1.0:2:0", 2],
    ["p1.0:4:0", 2],
  ],
  [
    ["p1.0:1:0", 1],
    ["p1.0:3:0", 3],
    ["p2.0:1:0", 3],
  ],
];

export const goodSenders = [
  "s 0 5 0\na 0 0 0 0\na 1 0 1 0\na 2 0 0 2\na 3 0 1 1\na 4 0 0 3\ne\n",
  "s 0 2 0\na 0 0 0 1\na 1 0",
] as const;

export function senders(first: string = goodSenders[0]): readonly SenderJournal[] {
  return [parseSenderJournal("p1.0", first), parseSenderJournal("p2.0", goodSenders[1])];
}

/** What a group's member journals that read everything. */
export function journalOf(log: readonly (readonly LogEntry[])[]): string {
  const lines = log.flatMap((entries, partition) =>
    entries.map(([id], offset) => `r ${partition} ${offset} ${id}\n`),
  );
  return `${lines.join("")}e\n`;
}

export function group(...journals: readonly string[]): GroupRead {
  return { group: "c1", journals: journals.map((it, i) => parseReadJournal(`c1.${i}`, it)) };
}

export const goodCommits: readonly CommittedShare[] = [
  commit({ flushId: 1, runId: "R1", partition: 0, baseOffset: 0, epoch: 1 }),
  commit({ flushId: 1, runId: "R1", partition: 1, baseOffset: 0, epoch: 1 }),
  commit({ flushId: 2, runId: "R2", partition: 0, baseOffset: 2, epoch: 2 }),
  commit({ flushId: 3, runId: "R3", partition: 1, baseOffset: 1, epoch: 3 }),
];

/** A share that its lease's holder wrote. */
export function commit(share: Omit<CommittedShare, "holder" | "expired">): CommittedShare {
  const { epoch, runId } = share;
  return { ...share, holder: { runId, epoch }, expired: false };
}

/** The group that journals: m1 processed partition 0, m2 partition 1 after m3 had let go of it. */
export const goodShared: SharedEvidence = {
  groups: [
    {
      ...{ group: "team", books: false },
      journals: [parseReadJournal("m1.0", journalOf(goodLog))],
      handouts: [
        [{ at: 1_000, memberId: "M1", partition: 0, from: 0, to: 4 }],
        [{ at: 2_000, memberId: "M3", partition: 1, from: 0, to: 1 }],
        [{ at: 9_000, memberId: "M2", partition: 1, from: 1, to: 3 }],
      ],
    },
    { group: "books", books: true, journals: [], handouts: [] },
  ],
  holds: [
    hold({ at: 500, partition: 0, memberId: "M1", before: "" }),
    hold({ at: 600, partition: 1, memberId: "M3", before: "" }),
    hold({ at: 5_000, partition: 1, memberId: "", before: "M3", beforeLives: true }),
    hold({ at: 6_000, partition: 1, memberId: "M2", before: "" }),
  ],
  backwards: [],
  staleAccepted: [],
  booked: goodLog.flatMap((entries, partition) =>
    entries.map(([id], offset) => ({ partition, offset, id })),
  ),
};

export function hold(of: Omit<Hold, "group" | "beforeLives"> & Partial<Hold>): Hold {
  return { group: "team", beforeLives: false, ...of };
}

export function goodRun(change: Partial<RunEvidence> = {}): RunEvidence {
  return {
    senders: senders(),
    logs: [read(goodLog), read(goodLog, "a2")],
    groups: [group(journalOf(goodLog))],
    commits: goodCommits,
    overtaken: [{ agent: "a1", runId: "R1", newestFlushId: 1 }],
    shared: goodShared,
    ...change,
  };
}

/** The log with one entry changed; undefined takes it away. */
export function withEntry(
  partition: number,
  offset: number,
  ...entries: readonly LogEntry[]
): readonly (readonly LogEntry[])[] {
  return goodLog.map((it, i) => (i === partition ? it.toSpliced(offset, 1, ...entries) : it));
}
