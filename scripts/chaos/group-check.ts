/**
 * Whether members of a shared group kept to its rules. Pure; called by the checker.
 *
 * `doubleOwned` has two witnesses. The database: a trigger of ours writes down, by the database's clock, who held a partition from when
 * on, and whether whoever had it before was still a live member at that moment, which nobody may be whose partition is given away.
 * And the members' own journals: what one was handed out after the database had given the partition to another one. Members and
 * database run on one machine, and read one clock; a process that was not run between its consumer's answer and its look at the clock is
 * late by as much, so a little is allowed, and so is the one thing that it was being handed when it was stopped: the first after a
 * silence.
 */
import type { Handout } from "./member-journal.ts";

/** From then on a partition was this member's; nobody's: empty. */
export interface Hold {
  /** ms since 1970, by the database's clock, within the transaction that gave it. */
  readonly at: number;
  readonly group: string;
  readonly partition: number;
  readonly memberId: string;
  /** Who had it right before; empty: nobody. */
  readonly before: string;
  /** That one's session had not ended, it was still in the group, and it had time left to let go. */
  readonly beforeLives: boolean;
}

export interface MembersRecord {
  readonly group: string;
  /** Of each start of each member, in its order. */
  readonly handouts: readonly (readonly Handout[])[];
}

/** What is allowed between a record's being handed out and the program's look at the clock, on a crowded machine. */
export const lateMsMax = 700;

/** Each time that two members had one partition, in words. `holds` are in the order in which the database made them. */
export function doubleOwned(holds: readonly Hold[], groups: readonly MembersRecord[]): string[] {
  const given = holds
    .filter((it) => it.beforeLives && it.before !== "" && it.memberId !== "")
    .filter((it) => it.before !== it.memberId)
    .map(
      ({ before, group, memberId, partition }) =>
        `${group}: partition ${partition} was given to ${memberId} while ${before} lived and had it`,
    );
  const used = groups.flatMap(({ group, handouts }) => {
    const byPartition = Map.groupBy(
      holds.filter((it) => it.group === group),
      (it) => it.partition,
    );
    return handouts.flatMap(judged).flatMap((handout) => {
      const why = whyNotIts(handout, byPartition.get(handout.partition) ?? []);
      if (why === undefined) return [];
      const { from, memberId, partition, to } = handout;
      return [`${group}: ${memberId} handed out ${partition}@${from} to ${to - 1} ${why}`];
    });
  });
  return [...given, ...used];
}

/** Without those of the first moment after a silence. */
function judged(handouts: readonly Handout[]): readonly Handout[] {
  let [silentUntil, before] = [0, Number.POSITIVE_INFINITY];
  return handouts.filter(({ at }) => {
    if (at > before + lateMsMax) silentUntil = at;
    before = at;
    return at !== silentUntil;
  });
}

function whyNotIts(handout: Handout, holds: readonly Hold[]): string | undefined {
  const { at, memberId } = handout;
  const mine = holds.findLastIndex((it) => it.memberId === memberId && it.at <= at + lateMsMax);
  if (mine < 0) return "which it never had";
  const next = holds.find((it, i) => i > mine && it.memberId !== "" && it.memberId !== memberId);
  if (next === undefined || at <= next.at + lateMsMax) return undefined;
  return `${at - next.at} ms after that was ${next.memberId}'s`;
}

/** A record that the transactional sink has booked. */
export interface Booked {
  readonly partition: number;
  readonly offset: number;
  readonly id: string;
}

/** What the sink has twice, not at all, or otherwise than the log, in words. `ids[partition][offset]` is the log. */
export function checkSink(
  booked: readonly Booked[],
  ids: readonly (readonly string[])[],
): { readonly twice: string[]; readonly missing: string[]; readonly wrong: string[] } {
  const times = ids.map((it) => new Uint8Array(it.length));
  const [twice, missing, wrong]: string[][] = [[], [], []];
  for (const { id, offset, partition } of booked) {
    const of = times[partition];
    const where = `${partition}@${offset}`;
    if (of === undefined || ids[partition]?.[offset] !== id) {
      wrong?.push(`the sink has ${id} of ${where}, where ${ids[partition]?.[offset]} is`);
      continue;
    }
    of[offset] = (of[offset] ?? 0) + 1;
    if (of[offset] > 1) twice?.push(`the sink has ${id} of ${where} twice`);
  }
  times.forEach((of, partition) => {
    of.forEach((n, offset) => {
      if (n === 0) missing?.push(`the sink has nothing of ${partition}@${offset}`);
    });
  });
  return { twice: twice ?? [], missing: missing ?? [], wrong: wrong ?? [] };
}
