/** Consumer groups' calls in SQLite: heartbeats, offsets, descriptions. Part of `createSqliteMetadata`. */
import type { TopicPartition } from "../core/topic.ts";
import {
  type CommitInput,
  checkClaim,
  checkGroup,
  checkHolds,
  checkOffset,
  type GroupStore,
  groupBusy,
  groupInUse,
  groupNotFound,
  type MemberClaim,
  noSuchPartition,
  topicIsGone,
} from "./group-rules.ts";
import { describeSnapshot } from "./group-view.ts";
import type { GroupSummary, OffsetCommitInput, StoredOffset } from "./metadata-store.ts";
import { numberOf, type SqlRow, textOf } from "./sql-rows.ts";
import type { SqliteDatabase } from "./sqlite-database.ts";
import {
  ensureGroup,
  findMember,
  heartbeat,
  leave,
  placementOf,
  readGroup,
} from "./sqlite-membership.ts";

const SELECT_OFFSET =
  "SELECT topic_id, partition, committed_offset, metadata, committed_at_ms FROM offsets";

export function createGroupStore(db: SqliteDatabase): GroupStore {
  return {
    async heartbeat(input) {
      checkGroup(input.group);
      return db.write("taking a heartbeat", (nowMs) => heartbeat(db, input, nowMs));
    },
    async leaveGroup(group, memberId, options) {
      db.write("leaving a group", (nowMs) => leave(db, group, memberId, options, nowMs));
    },
    async commitOffsets(group, member, offsets, { forwardOnly = false } = {}) {
      checkGroup(group);
      db.write("committing offsets", (nowMs) =>
        commitOffsets(db, group, member, { offsets, forwardOnly }, nowMs),
      );
    },
    async fetchOffsets(group, partitions) {
      return db.read("reading offsets", () => fetchOffsets(db, group, partitions));
    },
    async listGroups() {
      return db.read("listing groups", (nowMs) =>
        db.all(SUMMARIES, nowMs, nowMs).map((row) => summaryOf(row)),
      );
    },
    async describeGroup(group) {
      return db.read("describing a group", (nowMs) => {
        const snapshot = readGroup(db, group);
        return snapshot === undefined ? undefined : describeSnapshot(snapshot, nowMs);
      });
    },
    async deleteGroup(group) {
      db.write("deleting a group", (nowMs) => {
        if (readGroup(db, group) === undefined) throw groupNotFound(group);
        const live = liveMembers(db, group, nowMs);
        if (live > 0) throw groupInUse(group, live);
        forget(db, group);
      });
    },
    async expireOffsets(retentionMs, max) {
      return db.write("forgetting unused groups", (nowMs) => {
        const before = nowMs - retentionMs;
        const old = db.all(UNUSED, before, before, before, max);
        for (const row of old) forget(db, textOf(row, "name"));
        return old.length;
      });
    },
  };
}

/** The phase is as `group-view.ts` has it. */
const SUMMARIES =
  "SELECT g.name, g.epoch, (SELECT count(*) FROM members m WHERE m.group_name = g.name " +
  "AND m.expires_at_ms > ?) AS live, EXISTS (SELECT 1 FROM assignments a LEFT JOIN members h " +
  "ON h.group_name = a.group_name AND h.member_id = a.member_id AND h.expires_at_ms > ? " +
  "WHERE a.group_name = g.name AND (a.target_id <> a.member_id OR h.member_id IS NULL)) AS moving " +
  "FROM consumer_groups g ORDER BY g.name";

function summaryOf(row: SqlRow): GroupSummary {
  const members = numberOf(row, "live");
  const phase = numberOf(row, "moving") === 1 ? "reconciling" : "stable";
  const state = members === 0 ? "empty" : phase;
  return { group: textOf(row, "name"), members, groupEpoch: numberOf(row, "epoch"), state };
}

/** Nothing happened in them for so long: no change, no session, no commit. */
const UNUSED =
  "SELECT g.name FROM consumer_groups g WHERE g.active_at_ms <= ? AND NOT EXISTS (SELECT 1 FROM members m " +
  "WHERE m.group_name = g.name AND m.expires_at_ms > ?) AND NOT EXISTS (SELECT 1 FROM offsets o " +
  "WHERE o.group_name = g.name AND o.committed_at_ms > ?) ORDER BY g.name LIMIT ?";

function forget(db: SqliteDatabase, group: string): void {
  for (const table of ["members", "assignments", "offsets"]) {
    db.run(`DELETE FROM ${table} WHERE group_name = ?`, group);
  }
  db.run("DELETE FROM consumer_groups WHERE name = ?", group);
}

function liveMembers(db: SqliteDatabase, group: string, nowMs: number): number {
  const sql = "SELECT count(*) AS live FROM members WHERE group_name = ? AND expires_at_ms > ?";
  return numberOf(db.get(sql, group, nowMs) ?? {}, "live");
}

function commitOffsets(
  db: SqliteDatabase,
  group: string,
  claim: MemberClaim,
  { offsets, forwardOnly }: CommitInput,
  nowMs: number,
): void {
  if (claim.memberId === "") {
    ensureGroup(db, group);
    const live = liveMembers(db, group, nowMs);
    if (live > 0) throw groupBusy(group, live);
  } else {
    checkClaim(group, claim, findMember(db, group, claim.memberId), nowMs);
  }
  for (const offset of offsets) {
    checkTarget(db, offset);
    if (claim.memberId !== "") {
      const row = db.get(
        "SELECT * FROM assignments WHERE group_name = ? AND topic_id = ? AND partition = ?",
        ...[group, offset.topicId, offset.partition],
      );
      checkHolds(group, claim, offset, row && placementOf(row));
    }
    db.run(
      "INSERT INTO offsets (group_name, topic_id, partition, committed_offset, metadata, committed_at_ms) " +
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (group_name, topic_id, partition) DO UPDATE SET " +
        "committed_offset = excluded.committed_offset, metadata = excluded.metadata, " +
        "committed_at_ms = excluded.committed_at_ms " +
        "WHERE ? = 0 OR excluded.committed_offset >= offsets.committed_offset",
      ...[group, offset.topicId, offset.partition, offset.offset, offset.metadata, nowMs],
      forwardOnly ? 1 : 0,
    );
  }
}

function checkTarget(db: SqliteDatabase, it: OffsetCommitInput): void {
  checkOffset(it.offset);
  const sql = "SELECT 1 FROM partitions WHERE topic_id = ? AND partition = ?";
  if (db.get(sql, it.topicId, it.partition) !== undefined) return;
  const topic = db.get("SELECT name, partitions FROM topics WHERE topic_id = ?", it.topicId);
  if (topic === undefined) throw topicIsGone(it.topicId);
  const [name, partitions] = [textOf(topic, "name"), numberOf(topic, "partitions")];
  throw noSuchPartition(it.partition, { name, partitions });
}

function fetchOffsets(
  db: SqliteDatabase,
  group: string,
  partitions: readonly TopicPartition[] | undefined,
): StoredOffset[] {
  if (partitions === undefined) {
    const sql = `${SELECT_OFFSET} WHERE group_name = ? ORDER BY topic_id, partition`;
    return db.all(sql, group).map(offsetOf);
  }
  const sql = `${SELECT_OFFSET} WHERE group_name = ? AND topic_id = ? AND partition = ?`;
  return partitions.flatMap((it) => db.all(sql, group, it.topicId, it.partition).map(offsetOf));
}

function offsetOf(row: SqlRow): StoredOffset {
  return {
    topicId: textOf(row, "topic_id"),
    partition: numberOf(row, "partition"),
    offset: numberOf(row, "committed_offset"),
    metadata: textOf(row, "metadata"),
    committedAtMs: numberOf(row, "committed_at_ms"),
  };
}
