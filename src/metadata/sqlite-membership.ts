/**
 * Loading and saving consumer groups in SQLite, for `group-machine.ts`, which decides. Called by `sqlite-groups.ts`, inside a
 * transaction.
 */
import { limits } from "../core/limits.ts";
import { heartbeat as decide, leave as decideLeave, subscriptionOf } from "./group-machine.ts";
import { tooManyGroups } from "./group-rules.ts";
import {
  type GroupChange,
  type GroupMember,
  type GroupSnapshot,
  type GroupTopic,
  isLive,
  type Placement,
} from "./group-snapshot.ts";
import type {
  HeartbeatInput,
  HeartbeatResult,
  MemberPartition,
  MetadataStore,
} from "./metadata-store.ts";
import { numberOf, type SqlRow, textOf } from "./sql-rows.ts";
import type { SqliteDatabase, SqlReader } from "./sqlite-database.ts";

export function heartbeat(
  db: SqliteDatabase,
  input: HeartbeatInput,
  nowMs: number,
): HeartbeatResult {
  const unchanged = stay(db, input, nowMs);
  if (unchanged !== undefined) return unchanged;
  ensureGroup(db, input.group);
  const snapshot = readGroup(db, input.group, input.topics);
  if (snapshot === undefined) throw new Error(`group ${input.group} was not made`);
  const { result, change } = decide(snapshot, input, nowMs);
  saveGroup(db, input.group, change, nowMs);
  return result;
}

export function leave(
  db: SqliteDatabase,
  group: string,
  memberId: string,
  options: Parameters<MetadataStore["leaveGroup"]>[2],
  nowMs: number,
): void {
  const snapshot = readGroup(db, group);
  const change = snapshot && decideLeave(snapshot, memberId, options, nowMs);
  if (change !== undefined) saveGroup(db, group, change, nowMs);
}

/** Makes the group if nobody used it yet. */
export function ensureGroup(db: SqliteDatabase, group: string): void {
  if (db.get("SELECT 1 FROM consumer_groups WHERE name = ?", group) !== undefined) return;
  const row = db.get("SELECT count(*) AS known FROM consumer_groups") ?? {};
  if (numberOf(row, "known") >= limits.groupsMax) throw tooManyGroups();
  db.run("INSERT INTO consumer_groups (name, epoch) VALUES (?, 0)", group);
}

/** Undefined if nobody ever used the group. `names` are of topics that are wanted besides. */
export function readGroup(
  db: SqlReader,
  group: string,
  names: readonly string[] = [],
): GroupSnapshot | undefined {
  const row = db.get("SELECT epoch, topics_version FROM consumer_groups WHERE name = ?", group);
  if (row === undefined) return undefined;
  const members = db.all("SELECT * FROM members WHERE group_name = ?", group).map(memberOf);
  const placements = db
    .all("SELECT * FROM assignments WHERE group_name = ?", group)
    .map(placementOf);
  return {
    group,
    epoch: numberOf(row, "epoch"),
    topicsVersion: numberOf(row, "topics_version"),
    topicsVersionNow: topicsVersion(db),
    members,
    placements,
    topics: topicsOf(db, [...names, ...members.flatMap((it) => it.topics)], placements),
  };
}

export function findMember(
  db: SqlReader,
  group: string,
  memberId: string,
): GroupMember | undefined {
  const sql = "SELECT * FROM members WHERE group_name = ? AND member_id = ?";
  const row = db.get(sql, group, memberId);
  return row === undefined ? undefined : memberOf(row);
}

export function placementOf(row: SqlRow): Placement {
  return {
    topicId: textOf(row, "topic_id"),
    partition: numberOf(row, "partition"),
    holder: textOf(row, "member_id"),
    epoch: numberOf(row, "epoch"),
    target: textOf(row, "target_id"),
    revokeByMs: numberOf(row, "revoke_by_ms"),
  };
}

/** Nothing changed: the same conditions as in `postgres-membership.ts`, and nothing else of the group is read. */
function stay(
  db: SqliteDatabase,
  input: HeartbeatInput,
  nowMs: number,
): HeartbeatResult | undefined {
  const { group, memberId, sessionTimeoutMs } = input;
  const known = input.memberEpoch > 0 ? findMember(db, group, memberId) : undefined;
  const row = db.get("SELECT * FROM consumer_groups WHERE name = ?", group);
  if (known === undefined || row === undefined) return undefined;
  const isSame =
    known.memberEpoch === input.memberEpoch &&
    known.sessionTimeoutMs === sessionTimeoutMs &&
    known.rebalanceTimeoutMs === input.rebalanceTimeoutMs &&
    known.clientId === input.clientId &&
    known.topics.join() === subscriptionOf(input.topics).join();
  const isQuiet =
    numberOf(row, "check_at_ms") > nowMs && numberOf(row, "topics_version") === topicsVersion(db);
  const isIdle = !known.isPending && !known.isAway && isLive(known, nowMs);
  if (!isSame || !isQuiet || !isIdle) return undefined;
  const epoch = numberOf(row, "epoch");
  const previous = known.memberEpoch < epoch ? known.memberEpoch : known.previousEpoch;
  db.run(
    "UPDATE members SET expires_at_ms = ?, member_epoch = ?, previous_epoch = ? " +
      "WHERE group_name = ? AND member_id = ?",
    ...[nowMs + sessionTimeoutMs, epoch, previous, group, memberId],
  );
  const awaited = db.get(
    "SELECT count(*) AS awaited FROM assignments WHERE group_name = ? AND target_id = ? AND member_id <> ?",
    ...[group, memberId, memberId],
  );
  return {
    memberEpoch: epoch,
    assigned: assignmentOf(db, group, memberId),
    revoking: [],
    letGoWithinMs: 0,
    awaited: numberOf(awaited ?? {}, "awaited"),
  };
}

function assignmentOf(db: SqlReader, group: string, memberId: string): MemberPartition[] {
  const rows = db.all(
    "SELECT a.topic_id, t.name, a.partition, a.epoch FROM assignments a " +
      "JOIN topics t ON t.topic_id = a.topic_id " +
      "WHERE a.group_name = ? AND a.member_id = ? AND a.target_id = ? ORDER BY t.name, a.partition",
    ...[group, memberId, memberId],
  );
  return rows.map((row) => ({
    topicId: textOf(row, "topic_id"),
    topic: textOf(row, "name"),
    partition: numberOf(row, "partition"),
    epoch: numberOf(row, "epoch"),
  }));
}

function topicsVersion(db: SqlReader): number {
  return numberOf(db.get("SELECT value FROM counters WHERE name = 'topics'") ?? {}, "value");
}

function topicsOf(
  db: SqlReader,
  names: readonly string[],
  placements: readonly Placement[],
): GroupTopic[] {
  const columns = "SELECT topic_id, name, partitions FROM topics";
  const rows = [...new Set(names)].flatMap((name) => db.all(`${columns} WHERE name = ?`, name));
  const known = new Set(rows.map((row) => textOf(row, "topic_id")));
  const others = new Set(placements.map((it) => it.topicId).filter((id) => !known.has(id)));
  const more = [...others].flatMap((id) => db.all(`${columns} WHERE topic_id = ?`, id));
  return [...rows, ...more].map((row) => ({
    topicId: textOf(row, "topic_id"),
    name: textOf(row, "name"),
    partitions: numberOf(row, "partitions"),
  }));
}

function memberOf(row: SqlRow): GroupMember {
  return {
    memberId: textOf(row, "member_id"),
    instanceId: textOf(row, "instance_id"),
    clientId: textOf(row, "client_id"),
    topics: JSON.parse(textOf(row, "topics")) as readonly string[],
    joinedEpoch: numberOf(row, "joined_epoch"),
    memberEpoch: numberOf(row, "member_epoch"),
    previousEpoch: numberOf(row, "previous_epoch"),
    sessionTimeoutMs: numberOf(row, "session_timeout_ms"),
    rebalanceTimeoutMs: numberOf(row, "rebalance_timeout_ms"),
    expiresAtMs: numberOf(row, "expires_at_ms"),
    isAway: numberOf(row, "is_away") === 1,
    isPending: numberOf(row, "is_pending") === 1,
  };
}

function saveGroup(db: SqliteDatabase, group: string, change: GroupChange, nowMs: number): void {
  db.run(
    "UPDATE consumer_groups SET epoch = ?, topics_version = ?, check_at_ms = ?, active_at_ms = ? WHERE name = ?",
    ...[change.epoch, change.topicsVersion, change.checkAtMs, nowMs, group],
  );
  const its = "WHERE group_name = ? AND member_id = ?";
  for (const id of change.removedMembers) db.run(`DELETE FROM members ${its}`, group, id);
  for (const it of change.savedMembers) saveMember(db, group, it);
  for (const id of change.pendingMembers) {
    db.run(`UPDATE members SET is_pending = 1 ${its}`, group, id);
  }
  for (const { topicId, partition } of change.removedPlacements) {
    db.run(
      "DELETE FROM assignments WHERE group_name = ? AND topic_id = ? AND partition = ?",
      ...[group, topicId, partition],
    );
  }
  for (const it of change.savedPlacements) {
    db.run(
      "INSERT OR REPLACE INTO assignments (group_name, topic_id, partition, member_id, epoch, target_id, " +
        "revoke_by_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
      ...[group, it.topicId, it.partition, it.holder, it.epoch, it.target, it.revokeByMs],
    );
  }
}

function saveMember(db: SqliteDatabase, group: string, member: GroupMember): void {
  const { memberId, instanceId, clientId, joinedEpoch, memberEpoch, previousEpoch } = member;
  const { sessionTimeoutMs, rebalanceTimeoutMs, expiresAtMs } = member;
  db.run(
    "INSERT OR REPLACE INTO members (group_name, member_id, instance_id, client_id, topics, joined_epoch, " +
      "member_epoch, previous_epoch, session_timeout_ms, rebalance_timeout_ms, expires_at_ms, is_away, " +
      "is_pending) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    ...[group, memberId, instanceId, clientId, JSON.stringify(member.topics)],
    ...[joinedEpoch, memberEpoch, previousEpoch, sessionTimeoutMs, rebalanceTimeoutMs, expiresAtMs],
    ...[member.isAway ? 1 : 0, member.isPending ? 1 : 0],
  );
}
