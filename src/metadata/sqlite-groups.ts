/** Consumer groups' calls in SQLite: heartbeats, offsets, descriptions. Part of `createSqliteMetadata`. */
import type { TopicPartition } from "../core/topic.ts";
import {
  checkGroup,
  checkOffset,
  groupBusy,
  groupInUse,
  groupNotFound,
  memberFenced,
  noSuchPartition,
  notAssigned,
  topicIsGone,
  unknownMember,
} from "./group-rules.ts";
import type {
  GroupState,
  MetadataStore,
  OffsetCommitInput,
  StoredOffset,
} from "./metadata-store.ts";
import { numberOf, type SqlRow, textOf } from "./sql-rows.ts";
import type { SqliteDatabase } from "./sqlite-database.ts";
import {
  assignmentOf,
  ensureGroup,
  groupEpoch,
  heartbeat,
  leave,
  liveMembers,
} from "./sqlite-membership.ts";

type GroupStore = Pick<
  MetadataStore,
  | "heartbeat"
  | "leaveGroup"
  | "commitOffsets"
  | "fetchOffsets"
  | "listGroups"
  | "describeGroup"
  | "deleteGroup"
  | "expireOffsets"
>;

interface MemberClaim {
  readonly memberId: string;
  readonly memberEpoch: number;
}

const SELECT_OFFSET =
  "SELECT topic_id, partition, committed_offset, metadata, committed_at_ms FROM offsets";

export function createGroupStore(db: SqliteDatabase): GroupStore {
  return {
    async heartbeat(input) {
      checkGroup(input.group);
      return db.write("taking a heartbeat", (nowMs) => heartbeat(db, input, nowMs));
    },
    async leaveGroup(group, memberId) {
      db.write("leaving a group", (nowMs) => leave(db, group, memberId, nowMs));
    },
    async commitOffsets(group, member, offsets) {
      checkGroup(group);
      db.write("committing offsets", (nowMs) => commitOffsets(db, group, member, offsets, nowMs));
    },
    async fetchOffsets(group, partitions) {
      return db.read("reading offsets", () => fetchOffsets(db, group, partitions));
    },
    async listGroups() {
      const sql =
        "SELECT g.name, g.epoch, (SELECT count(*) FROM members m WHERE m.group_name = g.name " +
        "AND m.expires_at_ms > ?) AS live FROM consumer_groups g ORDER BY g.name";
      return db.read("listing groups", (nowMs) =>
        db.all(sql, nowMs).map((row) => ({
          group: textOf(row, "name"),
          members: numberOf(row, "live"),
          groupEpoch: numberOf(row, "epoch"),
          state: numberOf(row, "live") > 0 ? ("stable" as const) : ("empty" as const),
        })),
      );
    },
    async describeGroup(group) {
      return db.read("describing a group", (nowMs) => describeGroup(db, group, nowMs));
    },
    async deleteGroup(group) {
      db.write("deleting a group", (nowMs) => {
        if (groupEpoch(db, group) === undefined) throw groupNotFound(group);
        const live = liveMembers(db, group, nowMs);
        if (live.length > 0) throw groupInUse(group, live.length);
        for (const table of ["members", "assignments", "offsets"]) {
          db.run(`DELETE FROM ${table} WHERE group_name = ?`, group);
        }
        db.run("DELETE FROM consumer_groups WHERE name = ?", group);
      });
    },
    async expireOffsets() {
      return 0;
    },
  };
}

function commitOffsets(
  db: SqliteDatabase,
  group: string,
  member: MemberClaim,
  offsets: readonly OffsetCommitInput[],
  nowMs: number,
): void {
  const epoch = ensureGroup(db, group);
  const live = liveMembers(db, group, nowMs);
  if (member.memberId === "") {
    if (live.length > 0) throw groupBusy(group, live.length);
  } else if (!live.some((it) => it.memberId === member.memberId)) {
    throw unknownMember(group, member.memberId);
  } else if (member.memberEpoch > epoch) {
    const why = `it shows epoch ${member.memberEpoch}, the group is at ${epoch}`;
    throw memberFenced(group, member.memberId, why);
  }
  for (const offset of offsets) {
    checkTarget(db, offset);
    if (member.memberId !== "") checkHolds(db, group, member, offset);
    db.run(
      "INSERT INTO offsets (group_name, topic_id, partition, committed_offset, metadata, committed_at_ms) " +
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (group_name, topic_id, partition) DO UPDATE SET " +
        "committed_offset = excluded.committed_offset, metadata = excluded.metadata, " +
        "committed_at_ms = excluded.committed_at_ms",
      group,
      offset.topicId,
      offset.partition,
      offset.offset,
      offset.metadata,
      nowMs,
    );
  }
}

/** KIP-848 and KIP-1251: a rebalance elsewhere fences nobody, only the loss of the partition does. */
function checkHolds(
  db: SqliteDatabase,
  group: string,
  member: MemberClaim,
  it: TopicPartition,
): void {
  const row = db.get(
    "SELECT member_id, epoch FROM assignments WHERE group_name = ? AND topic_id = ? AND partition = ?",
    group,
    it.topicId,
    it.partition,
  );
  const name = `partition ${it.topicId}/${it.partition}`;
  if (row?.member_id !== member.memberId) {
    throw notAssigned(group, member.memberId, it);
  }
  if (numberOf(row, "epoch") <= member.memberEpoch) return;
  const why = `${name} was assigned at epoch ${row.epoch}, after its epoch ${member.memberEpoch}`;
  throw memberFenced(group, member.memberId, why);
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

function describeGroup(db: SqliteDatabase, group: string, nowMs: number): GroupState | undefined {
  const epoch = groupEpoch(db, group);
  if (epoch === undefined) return undefined;
  const members = liveMembers(db, group, nowMs).map((it) => ({
    memberId: it.memberId,
    clientId: it.clientId,
    memberEpoch: it.memberEpoch,
    ...{ instanceId: "", topics: it.topics, expiresInMs: 0, revoking: [] },
    assigned: assignmentOf(db, group, it.memberId),
  }));
  return { group, groupEpoch: epoch, state: members.length > 0 ? "stable" : "empty", members };
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
