/**
 * The judge of a chaos run: compares what was acknowledged with what the log holds and with what was consumed. Pure, so that tests
 * can show it every defect that it must see. It knows no time: what counts is only what is there.
 *
 * `lost`: an acknowledged record that is not at its offset, whole; an offset that nobody has; a record that a reader did not get, or
 * that was served once and is gone. `duplicated`: one send that is in the log twice, or although its failure said that it is not; a
 * record that nobody sent. `reordered`: a producer's records of one partition, or a key's, out of order; another record at an offset
 * than before; a group's offset that went back. `fencedWritesAccepted`: a commit of a run, or a commit or fetch of a member, whose place
 * was another's. `doubleOwned`: two members of a group that had one partition. `unprocessed`: a record that no member of a shared
 * group processed. What the API reported as `unknown`, and what a killed producer had not heard of, may be there or not.
 */
import { type CommittedShare, fencedShares, type Overtaken, staleEpochs } from "./fence-check.ts";
import {
  type Booked,
  checkSink,
  doubleOwned,
  type Hold,
  type MembersRecord,
} from "./group-check.ts";
import { type Attempt, attemptKey, type ReadJournal, type SenderJournal } from "./journal.ts";
import { parseId } from "./record-content.ts";

/** One partition from its log start to its end, in the order in which it was served; arrays of one length. */
export interface PartitionRead {
  readonly logStart: number;
  /** The high watermark. */
  readonly end: number;
  readonly offsets: number[];
  readonly ids: string[];
  readonly keys: string[];
  /** Lease epoch in the batch's header. */
  readonly epochs: number[];
  /** Offsets of records that are not what their sender sent. */
  readonly damaged: number[];
}

/** The whole log as one agent serves it. */
export interface LogRead {
  readonly reader: string;
  readonly partitions: readonly PartitionRead[];
}

/** All starts of one consumer group's member: together they must have read everything. */
export interface GroupRead {
  readonly group: string;
  readonly journals: readonly ReadJournal[];
}

/** A group whose members share the partitions. */
export interface SharedGroup extends GroupRead, MembersRecord {
  /** What it processed is what it booked: its members may have been handed out records that they had to give back. */
  readonly books: boolean;
}

/** What is known of the shared groups. */
export interface SharedEvidence {
  readonly groups: readonly SharedGroup[];
  /** Who held which partition, as the database wrote down. */
  readonly holds: readonly Hold[];
  /** Committed offsets that became smaller, in words. */
  readonly backwards: readonly string[];
  /** Calls with the identity of a member that had lost its partitions, which were not refused, in words. */
  readonly staleAccepted: readonly string[];
  /** What the group that books has booked; undefined: there is none. */
  readonly booked?: readonly Booked[] | undefined;
}

export interface RunEvidence {
  readonly senders: readonly SenderJournal[];
  /** One for each agent; at least one. */
  readonly logs: readonly LogRead[];
  readonly groups: readonly GroupRead[];
  readonly commits: readonly CommittedShare[];
  readonly overtaken: readonly Overtaken[];
  readonly shared: SharedEvidence;
}

export interface Verdict {
  readonly ok: boolean;
  readonly acknowledged: number;
  readonly consumed: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly reordered: number;
  readonly fencedWritesAccepted: number;
  readonly doubleOwned: number;
  readonly unprocessed: number;
  /** Reported by the API as unknown, or never heard of: how many of them are in the log, and how many are not. */
  readonly unknown: { readonly there: number; readonly absent: number };
  /** What is wrong, in words; the first hundred. */
  readonly findings: readonly string[];
}

const FINDINGS_MAX = 100;

export function checkRun(evidence: RunEvidence): Verdict {
  const tally = new Tally();
  const [first, ...others] = evidence.logs;
  if (first === undefined) throw new Error("the log was read through no agent");
  const senders = new Map(evidence.senders.map((it) => [it.sender, it]));
  for (const { contradictions } of evidence.senders) {
    for (const text of contradictions) tally.add("duplicated", `outcome told twice: ${text}`);
  }
  const seen = scanLog(first, senders, tally);
  for (const other of others) compareLogs(first, other, tally);
  for (const group of evidence.groups) checkGroup(first, group, "lost", tally);
  checkShared(first, evidence.shared, tally);
  const sums = checkSends(evidence.senders, seen, tally);
  const commits = [
    ...fencedShares(evidence.commits, evidence.overtaken),
    ...staleEpochs(first.partitions.map((it) => it.epochs)),
  ];
  for (const text of commits) tally.add("fencedWritesAccepted", text);
  const consumed = first.partitions.reduce((sum, it) => sum + it.ids.length, 0);
  return { ok: tally.clean, ...sums, consumed, ...tally.counts, findings: tally.findings };
}

type Count =
  | "lost"
  | "duplicated"
  | "reordered"
  | "fencedWritesAccepted"
  | "doubleOwned"
  | "unprocessed";

class Tally {
  readonly counts: Record<Count, number> = {
    lost: 0,
    duplicated: 0,
    reordered: 0,
    fencedWritesAccepted: 0,
    doubleOwned: 0,
    unprocessed: 0,
  };
  readonly findings: string[] = [];

  add(count: Count, finding: string, n = 1): void {
    this.counts[count] += n;
    if (this.findings.length < FINDINGS_MAX) this.findings.push(`${count}: ${finding}`);
  }

  get clean(): boolean {
    return Object.values(this.counts).every((n) => n === 0);
  }
}

/** Where each attempt was first met in the log. */
type Seen = Map<Attempt, { readonly partition: number; readonly offset: number }>;

function scanLog(log: LogRead, senders: ReadonlyMap<string, SenderJournal>, tally: Tally): Seen {
  const seen: Seen = new Map();
  const partitionOfKey = new Map<string, number>();
  log.partitions.forEach((read, partition) => {
    checkOffsets(read, partition, tally);
    const last = new Map<string, number>();
    read.ids.forEach((text, i) => {
      const offset = read.offsets[i] as number;
      const where = `${partition}@${offset}`;
      const key = read.keys[i] as string;
      if ((partitionOfKey.get(key) ?? partition) !== partition) {
        tally.add("reordered", `${key} is in partition ${partitionOfKey.get(key)} and at ${where}`);
      }
      partitionOfKey.set(key, partition);
      const id = parseId(text);
      const attempt =
        id && senders.get(id.sender)?.attempts.get(attemptKey(id.sequence, id.attempt));
      if (id === undefined || attempt === undefined) {
        tally.add("duplicated", `${text} at ${where} was sent by nobody`);
        return;
      }
      const before = seen.get(attempt);
      if (before !== undefined) {
        tally.add(
          "duplicated",
          `${text} is at ${before.partition}@${before.offset} and at ${where}`,
        );
        return;
      }
      seen.set(attempt, { partition, offset });
      // What the application sent again, by itself, comes later than it was; a first attempt never does.
      if (id.attempt > 0) return;
      const newest = last.get(id.sender) ?? -1;
      if (id.sequence < newest) {
        tally.add("reordered", `${text} at ${where} comes after sequence ${newest}`);
      } else last.set(id.sender, id.sequence);
    });
  });
  return seen;
}

function checkOffsets(read: PartitionRead, partition: number, tally: Tally): void {
  if (read.logStart !== 0) {
    tally.add("lost", `partition ${partition} begins at offset ${read.logStart}`, read.logStart);
  }
  let next = read.logStart;
  for (const offset of read.offsets) {
    if (offset > next) {
      tally.add(
        "lost",
        `nothing at offsets ${next} to ${offset - 1} of partition ${partition}`,
        offset - next,
      );
    } else if (offset < next) {
      tally.add("duplicated", `offset ${offset} of partition ${partition} is there twice`);
    }
    next = Math.max(next, offset + 1);
  }
  if (next !== read.end) {
    const missing = Math.abs(read.end - next);
    tally.add(
      "lost",
      `partition ${partition} ends at ${next}, its watermark is ${read.end}`,
      missing,
    );
  }
  for (const offset of read.damaged) tally.add("lost", `${partition}@${offset} is damaged`);
}

/** Every agent serves the same. */
function compareLogs(first: LogRead, other: LogRead, tally: Tally): void {
  first.partitions.forEach((expected, partition) => {
    const found = other.partitions[partition];
    const ids = found?.ids ?? [];
    if (found?.end !== expected.end || ids.length !== expected.ids.length) {
      const text = `${other.reader} serves ${ids.length} records up to ${found?.end} of partition ${partition}, ${first.reader} ${expected.ids.length} up to ${expected.end}`;
      tally.add("lost", text, Math.max(1, Math.abs(expected.ids.length - ids.length)));
      return;
    }
    ids.forEach((id, i) => {
      if (id === expected.ids[i] && found.offsets[i] === expected.offsets[i]) return;
      const where = `${partition}@${expected.offsets[i]}`;
      tally.add(
        "reordered",
        `${other.reader} serves ${id} at ${where}, ${first.reader} ${expected.ids[i]}`,
      );
    });
  });
}

function checkShared(log: LogRead, shared: SharedEvidence, tally: Tally): void {
  const { backwards, booked, groups, holds, staleAccepted } = shared;
  for (const text of doubleOwned(holds, groups)) tally.add("doubleOwned", text);
  for (const text of staleAccepted) tally.add("fencedWritesAccepted", text);
  for (const text of backwards) tally.add("reordered", text);
  for (const group of groups.filter((it) => !it.books))
    checkGroup(log, group, "unprocessed", tally);
  if (booked === undefined) return;
  const { missing, twice, wrong } = checkSink(
    booked,
    log.partitions.map((it) => it.ids),
  );
  for (const text of twice) tally.add("duplicated", text);
  for (const text of missing) tally.add("unprocessed", text);
  for (const text of wrong) tally.add("reordered", text);
}

/** A group got every record at least once, and each as it is in the log. What it did not get counts as `missing`. */
function checkGroup(
  log: LogRead,
  { group, journals }: GroupRead,
  missing: "lost" | "unprocessed",
  tally: Tally,
): void {
  const got = log.partitions.map((it) => new Uint8Array(it.end));
  for (const { damaged, ids, offsets, partitions, reader } of journals) {
    for (const text of damaged) tally.add("lost", `${reader} got ${text} damaged`);
    ids.forEach((id, i) => {
      const partition = partitions[i] as number;
      const offset = offsets[i] as number;
      const read = log.partitions[partition];
      if (read === undefined || offset >= read.end) {
        tally.add(
          "lost",
          `${reader} got ${id} at ${partition}@${offset}, where nothing is any more`,
        );
        return;
      }
      const expected = read.ids[offset - read.logStart];
      if (expected !== id) {
        tally.add(
          "reordered",
          `${reader} got ${id} at ${partition}@${offset}, where ${expected} is`,
        );
      }
      (got[partition] as Uint8Array)[offset] = 1;
    });
  }
  got.forEach((flags, partition) => {
    const missed = flags.filter((it) => it === 0).length;
    if (missed === 0) return;
    const at = flags.indexOf(0);
    tally.add(
      missing,
      `group ${group} never got ${missed} records of partition ${partition}, the first at ${at}`,
      missed,
    );
  });
}

function checkSends(
  senders: readonly SenderJournal[],
  seen: Seen,
  tally: Tally,
): Pick<Verdict, "acknowledged" | "unknown"> {
  let acknowledged = 0;
  const unknown = { there: 0, absent: 0 };
  for (const { attempts, ended, sender } of senders) {
    for (const [key, attempt] of attempts) {
      const at = seen.get(attempt);
      const { offset, partition, state } = attempt;
      if (state === "acknowledged") {
        acknowledged += 1;
        if (at?.partition === partition && at.offset === offset) continue;
        const where = at === undefined ? "nowhere" : `at ${at.partition}@${at.offset}`;
        tally.add("lost", `${sender}:${key}, acknowledged at ${partition}@${offset}, is ${where}`);
      } else if (state === "none") {
        if (at === undefined) continue;
        const where = `${at.partition}@${at.offset}`;
        tally.add(
          "duplicated",
          `${sender}:${key} failed as certainly not written, and is at ${where}`,
        );
      } else {
        unknown[at === undefined ? "absent" : "there"] += 1;
        if (ended && state === "open") {
          tally.add("lost", `${sender}:${key} was never settled, although its producer was closed`);
        }
      }
    }
  }
  return { acknowledged, unknown };
}
