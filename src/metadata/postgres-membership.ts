/**
 * Members of consumer groups and their assignment, in PostgreSQL: the same rules as `sqlite-membership.ts`, where they are
 * explained. Called by `postgres-groups.ts`, inside a transaction that has locked the group's row, so that a group's calls come one
 * after another.
 */
import { limits } from "../core/limits.ts";
import { partitionKey } from "../core/topic.ts";
import { memberFenced, tooManyGroups, tooManyMembers, unknownMember } from "./group-rules.ts";
import type {
  GroupAssignment,
  HeartbeatInput,
  HeartbeatResult,
  MemberPartition,
} from "./metadata-store.ts";
import { arrayOf } from "./postgres-lane.ts";
import { numbersOf, partitionOf, topicsOf } from "./postgres-partitions.ts";
import type { PostgresTransaction } from "./postgres-pool.ts";
import { numberOf, type SqlRow, textOf } from "./sql-rows.ts";

export interface Member {
  readonly memberId: string;
  readonly clientId: string;
  readonly topics: readonly string[];
  readonly memberEpoch: number;
  /** The one before: a member that missed the last answer still shows it. */
  readonly previousEpoch: number;
}

export async function heartbeat(
  tx: PostgresTransaction,
  input: HeartbeatInput,
): Promise<HeartbeatResult> {
  const { group, memberId } = input;
  const groupEpoch = await lockGroup(tx, group);
  let changed = await removeExpired(tx, group);
  const topics = [...new Set(input.topics)].sort();
  const known = await findMember(tx, group, memberId);
  if (input.memberEpoch === 0 && known === undefined) {
    await addMember(tx, input, topics, groupEpoch);
    changed = true;
  } else {
    checkEpoch(input, known);
    changed ||= known?.topics.join() !== topics.join();
  }
  await tx.all(
    "UPDATE members SET expires_at_ms = now_ms() + $3::int8, topics = $4, client_id = $5 " +
      "WHERE group_name = $1 AND member_id = $2",
    group,
    memberId,
    input.sessionTimeoutMs,
    JSON.stringify(topics),
    input.clientId,
  );
  const epoch = await reconcile(tx, group, groupEpoch, changed);
  const before = known?.memberEpoch ?? 0;
  if (before !== epoch) {
    await tx.all(
      "UPDATE members SET member_epoch = $3, previous_epoch = $4 WHERE group_name = $1 AND member_id = $2",
      group,
      memberId,
      epoch,
      before,
    );
  }
  const assigned = await assignmentOf(tx, group, memberId);
  return { memberEpoch: epoch, assigned, revoking: [] };
}

export async function leave(
  tx: PostgresTransaction,
  group: string,
  memberId: string,
): Promise<void> {
  const locked = await tx.get(LOCK_GROUP, group);
  if (locked === undefined) return;
  const expired = await removeExpired(tx, group);
  const left = await tx.get(
    "DELETE FROM members WHERE group_name = $1 AND member_id = $2 RETURNING true",
    group,
    memberId,
  );
  if (expired || left !== undefined) await reconcile(tx, group, numberOf(locked, "epoch"), true);
}

const LOCK_GROUP = "SELECT epoch FROM consumer_groups WHERE name = $1 FOR NO KEY UPDATE";

/** Makes the group if nobody used it yet; answers its epoch. Others' calls for the group wait from here on. */
export async function lockGroup(tx: PostgresTransaction, group: string): Promise<number> {
  const known = await tx.get(LOCK_GROUP, group);
  if (known !== undefined) return numberOf(known, "epoch");
  const made = await tx.get(
    "INSERT INTO consumer_groups (name, epoch) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING RETURNING epoch",
    group,
  );
  // Somebody else made it just now.
  if (made === undefined) return numberOf((await tx.get(LOCK_GROUP, group)) ?? {}, "epoch");
  const count = await tx.get("SELECT count(*) AS known FROM consumer_groups");
  if (numberOf(count ?? {}, "known") > limits.groupsMax) throw tooManyGroups();
  return 0;
}

/** In the order of joining. */
export async function liveMembers(tx: PostgresTransaction, group: string): Promise<Member[]> {
  const rows = await tx.all(
    "SELECT * FROM members WHERE group_name = $1 AND expires_at_ms > (SELECT now_ms()) " +
      "ORDER BY joined_epoch, member_id",
    group,
  );
  return rows.map(memberOf);
}

export async function assignmentOf(
  tx: PostgresTransaction,
  group: string,
  memberId: string,
): Promise<MemberPartition[]> {
  const rows = await tx.all(
    "SELECT a.topic_id, t.name, a.partition, a.epoch FROM assignments a JOIN topics t ON t.topic_id = a.topic_id " +
      "WHERE a.group_name = $1 AND a.member_id = $2 ORDER BY t.name, a.partition",
    group,
    memberId,
  );
  return rows.map((row) => ({ ...assignmentRow(row), epoch: numberOf(row, "epoch") }));
}

async function addMember(
  tx: PostgresTransaction,
  input: HeartbeatInput,
  topics: readonly string[],
  groupEpoch: number,
): Promise<void> {
  const { group } = input;
  const row = await tx.get("SELECT count(*) AS known FROM members WHERE group_name = $1", group);
  if (numberOf(row ?? {}, "known") >= limits.membersPerGroupMax) throw tooManyMembers(group);
  // The epoch that its joining makes: the order of joining is the order of these.
  await tx.all(
    "INSERT INTO members (group_name, member_id, client_id, topics, joined_epoch, member_epoch, " +
      "previous_epoch, expires_at_ms) VALUES ($1, $2, $3, $4, $5, 0, 0, 0)",
    group,
    input.memberId,
    input.clientId,
    JSON.stringify(topics),
    groupEpoch + 1,
  );
}

/** Epoch 0 from a member that is there: its first answer was lost. */
function checkEpoch(input: HeartbeatInput, known: Member | undefined): void {
  const { group, memberId, memberEpoch } = input;
  if (known === undefined) throw unknownMember(group, memberId);
  const ok =
    memberEpoch === 0 || memberEpoch === known.memberEpoch || memberEpoch === known.previousEpoch;
  if (ok) return;
  const why = `it is at epoch ${memberEpoch}, the group knows ${known.memberEpoch}`;
  throw memberFenced(group, memberId, why);
}

async function removeExpired(tx: PostgresTransaction, group: string): Promise<boolean> {
  const sql =
    "DELETE FROM members WHERE group_name = $1 AND expires_at_ms <= (SELECT now_ms()) RETURNING true";
  return (await tx.all(sql, group)).length > 0;
}

/**
 * Makes the assignment what it should be: everything of the first member's topics that exists. The epoch rises if `changed`, or if
 * the assignment does. What a member keeps, it keeps at its old epoch. Answers the group's epoch.
 */
async function reconcile(
  tx: PostgresTransaction,
  group: string,
  before: number,
  changed: boolean,
): Promise<number> {
  const owner = await tx.get(
    "SELECT * FROM members WHERE group_name = $1 ORDER BY joined_epoch, member_id LIMIT 1",
    group,
  );
  const ownerId = owner === undefined ? "" : textOf(owner, "member_id");
  const wanted = owner === undefined ? [] : await partitionsOf(tx, memberOf(owner).topics);
  const stale = new Map<string, SqlRow>();
  const sql = "SELECT topic_id, partition, member_id FROM assignments WHERE group_name = $1";
  for (const row of await tx.all(sql, group)) {
    stale.set(partitionKey(textOf(row, "topic_id"), numberOf(row, "partition")), row);
  }
  const missing = wanted.filter((it) => {
    const key = partitionKey(it.topicId, it.partition);
    const kept = stale.get(key)?.member_id === ownerId;
    if (kept) stale.delete(key);
    return !kept;
  });
  if (!changed && missing.length === 0 && stale.size === 0) return before;
  const epoch = before + 1;
  await tx.all("UPDATE consumer_groups SET epoch = $2 WHERE name = $1", group, epoch);
  if (stale.size > 0) {
    const gone = [...stale.values()].map(partitionOf);
    await tx.all(
      "DELETE FROM assignments WHERE group_name = $1 AND (topic_id, partition) IN " +
        "(SELECT * FROM unnest($2::uuid[], $3::int4[]))",
      group,
      topicsOf(gone),
      numbersOf(gone),
    );
  }
  if (missing.length > 0) {
    await tx.all(
      "INSERT INTO assignments (group_name, topic_id, partition, member_id, epoch) " +
        "SELECT $1, i.topic_id, i.partition, $4, $5 " +
        "FROM unnest($2::uuid[], $3::int4[]) i (topic_id, partition)",
      group,
      topicsOf(missing),
      numbersOf(missing),
      ownerId,
      epoch,
    );
  }
  return epoch;
}

/**
 * Topics that do not exist (yet) are just not there. Those that do are kept from being deleted until the assignment is written:
 * deleting one takes its assignments along.
 */
async function partitionsOf(
  tx: PostgresTransaction,
  topics: readonly string[],
): Promise<GroupAssignment[]> {
  const names = arrayOf(topics);
  await tx.all(
    "SELECT 1 FROM topics WHERE name = ANY ($1::text[]) ORDER BY topic_id FOR KEY SHARE",
    names,
  );
  const rows = await tx.all(
    "SELECT p.topic_id, t.name, p.partition FROM topics t JOIN partitions p ON p.topic_id = t.topic_id " +
      "WHERE t.name = ANY ($1::text[])",
    names,
  );
  return rows.map(assignmentRow);
}

function assignmentRow(row: SqlRow): GroupAssignment {
  return { ...partitionOf(row), topic: textOf(row, "name") };
}

export async function findMember(
  tx: PostgresTransaction,
  group: string,
  memberId: string,
): Promise<Member | undefined> {
  const sql = "SELECT * FROM members WHERE group_name = $1 AND member_id = $2";
  const row = await tx.get(sql, group, memberId);
  return row === undefined ? undefined : memberOf(row);
}

function memberOf(row: SqlRow): Member {
  return {
    memberId: textOf(row, "member_id"),
    clientId: textOf(row, "client_id"),
    topics: JSON.parse(textOf(row, "topics")) as readonly string[],
    memberEpoch: numberOf(row, "member_epoch"),
    previousEpoch: numberOf(row, "previous_epoch"),
  };
}
