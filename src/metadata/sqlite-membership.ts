/**
 * Members of consumer groups and their assignment, in SQLite. For now one live member, the one that joined first, has all
 * partitions of its topics; the others wait. Epochs are KIP-848's
 * (https://cwiki.apache.org/confluence/x/HhD1D): the group's rises with every change of members, subscriptions or partitions, a
 * member's is the group's that it last heard of, and each assignment keeps the epoch at which it was made. Called by
 * `sqlite-groups.ts`, inside a transaction.
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
import { numberOf, type SqlRow, textOf } from "./sql-rows.ts";
import type { SqliteDatabase } from "./sqlite-database.ts";

export interface Member {
  readonly memberId: string;
  readonly clientId: string;
  readonly topics: readonly string[];
  readonly memberEpoch: number;
  /** The one before: a member that missed the last answer still shows it. */
  readonly previousEpoch: number;
}

export function heartbeat(
  db: SqliteDatabase,
  input: HeartbeatInput,
  nowMs: number,
): HeartbeatResult {
  const { group, memberId } = input;
  ensureGroup(db, group);
  let changed = removeExpired(db, group, nowMs);
  const topics = [...new Set(input.topics)].sort();
  const known = findMember(db, group, memberId);
  if (input.memberEpoch === 0 && known === undefined) {
    addMember(db, input, topics);
    changed = true;
  } else {
    checkEpoch(input, known);
    changed ||= known?.topics.join() !== topics.join();
  }
  db.run(
    "UPDATE members SET expires_at_ms = ?, topics = ?, client_id = ? WHERE group_name = ? AND member_id = ?",
    nowMs + input.sessionTimeoutMs,
    JSON.stringify(topics),
    input.clientId,
    group,
    memberId,
  );
  const epoch = reconcile(db, group, changed);
  const before = known?.memberEpoch ?? 0;
  if (before !== epoch) {
    db.run(
      "UPDATE members SET member_epoch = ?, previous_epoch = ? WHERE group_name = ? AND member_id = ?",
      epoch,
      before,
      group,
      memberId,
    );
  }
  const assigned = assignmentOf(db, group, memberId);
  return { memberEpoch: epoch, assigned, revoking: [] };
}

export function leave(db: SqliteDatabase, group: string, memberId: string, nowMs: number): void {
  const expired = removeExpired(db, group, nowMs);
  const sql = "DELETE FROM members WHERE group_name = ? AND member_id = ?";
  const left = db.run(sql, group, memberId).changes > 0;
  if (expired || left) reconcile(db, group, true);
}

/** Makes the group if nobody used it yet; answers its epoch. */
export function ensureGroup(db: SqliteDatabase, group: string): number {
  const epoch = groupEpoch(db, group);
  if (epoch !== undefined) return epoch;
  const row = db.get("SELECT count(*) AS known FROM consumer_groups") ?? {};
  if (numberOf(row, "known") >= limits.groupsMax) {
    throw tooManyGroups();
  }
  db.run("INSERT INTO consumer_groups (name, epoch) VALUES (?, 0)", group);
  return 0;
}

export function groupEpoch(db: SqliteDatabase, group: string): number | undefined {
  const row = db.get("SELECT epoch FROM consumer_groups WHERE name = ?", group);
  return row === undefined ? undefined : numberOf(row, "epoch");
}

/** In the order of joining. */
export function liveMembers(db: SqliteDatabase, group: string, nowMs: number): Member[] {
  return db
    .all(
      "SELECT * FROM members WHERE group_name = ? AND expires_at_ms > ? ORDER BY joined_epoch, member_id",
      group,
      nowMs,
    )
    .map(memberOf);
}

export function assignmentOf(
  db: SqliteDatabase,
  group: string,
  memberId: string,
): MemberPartition[] {
  return db
    .all(
      "SELECT a.topic_id, t.name, a.partition, a.epoch FROM assignments a JOIN topics t ON t.topic_id = a.topic_id " +
        "WHERE a.group_name = ? AND a.member_id = ? ORDER BY t.name, a.partition",
      group,
      memberId,
    )
    .map((row) => ({ ...assignmentRow(row), epoch: numberOf(row, "epoch") }));
}

function addMember(db: SqliteDatabase, input: HeartbeatInput, topics: readonly string[]): void {
  const { group } = input;
  const row = db.get("SELECT count(*) AS known FROM members WHERE group_name = ?", group) ?? {};
  if (numberOf(row, "known") >= limits.membersPerGroupMax) {
    throw tooManyMembers(group);
  }
  // The epoch that its joining makes: the order of joining is the order of these.
  const joinedEpoch = (groupEpoch(db, group) ?? 0) + 1;
  db.run(
    "INSERT INTO members (group_name, member_id, client_id, topics, joined_epoch, member_epoch, " +
      "previous_epoch, expires_at_ms) VALUES (?, ?, ?, ?, ?, 0, 0, 0)",
    group,
    input.memberId,
    input.clientId,
    JSON.stringify(topics),
    joinedEpoch,
  );
}

/** Epoch 0 from a member that is there: its first answer was lost. */
function checkEpoch(input: HeartbeatInput, known: Member | undefined): void {
  const { group, memberId, memberEpoch } = input;
  if (known === undefined) throw unknownMember(group, memberId);
  const ok =
    memberEpoch === 0 || memberEpoch === known.memberEpoch || memberEpoch === known.previousEpoch;
  if (ok) return;
  throw memberFenced(
    group,
    memberId,
    `it is at epoch ${memberEpoch}, the group knows ${known.memberEpoch}`,
  );
}

function removeExpired(db: SqliteDatabase, group: string, nowMs: number): boolean {
  const sql = "DELETE FROM members WHERE group_name = ? AND expires_at_ms <= ?";
  return db.run(sql, group, nowMs).changes > 0;
}

/**
 * Makes the assignment what it should be: everything of the first member's topics that exists. The epoch rises if `changed`, or if
 * the assignment does. What a member keeps, it keeps at its old epoch. Answers the group's epoch.
 */
function reconcile(db: SqliteDatabase, group: string, changed: boolean): number {
  const before = groupEpoch(db, group) ?? 0;
  const owner = db.get(
    "SELECT * FROM members WHERE group_name = ? ORDER BY joined_epoch, member_id LIMIT 1",
    group,
  );
  const wanted = owner === undefined ? [] : partitionsOf(db, memberOf(owner).topics);
  const ownerId = owner === undefined ? "" : textOf(owner, "member_id");
  const stale = new Map<string, SqlRow>();
  for (const row of db.all("SELECT * FROM assignments WHERE group_name = ?", group)) {
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
  db.run("UPDATE consumer_groups SET epoch = ? WHERE name = ?", epoch, group);
  for (const row of stale.values()) {
    db.run(
      "DELETE FROM assignments WHERE group_name = ? AND topic_id = ? AND partition = ?",
      group,
      textOf(row, "topic_id"),
      numberOf(row, "partition"),
    );
  }
  for (const { topicId, partition } of missing) {
    db.run(
      "INSERT INTO assignments (group_name, topic_id, partition, member_id, epoch) VALUES (?, ?, ?, ?, ?)",
      group,
      topicId,
      partition,
      ownerId,
      epoch,
    );
  }
  return epoch;
}

/** Topics that do not exist (yet) are just not there. */
function partitionsOf(db: SqliteDatabase, topics: readonly string[]): GroupAssignment[] {
  return topics.flatMap((name) =>
    db
      .all(
        "SELECT p.topic_id, t.name, p.partition FROM topics t JOIN partitions p ON p.topic_id = t.topic_id " +
          "WHERE t.name = ?",
        name,
      )
      .map(assignmentRow),
  );
}

function assignmentRow(row: SqlRow): GroupAssignment {
  return {
    topicId: textOf(row, "topic_id"),
    topic: textOf(row, "name"),
    partition: numberOf(row, "partition"),
  };
}

function findMember(db: SqliteDatabase, group: string, memberId: string): Member | undefined {
  const sql = "SELECT * FROM members WHERE group_name = ? AND member_id = ?";
  const row = db.get(sql, group, memberId);
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
