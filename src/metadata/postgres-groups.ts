/** Consumer groups' calls in PostgreSQL: heartbeats, offsets, descriptions. Part of `createPostgresMetadata`. */
import { partitionKey } from "../core/topic.ts";
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
import { arrayOf } from "./postgres-lane.ts";
import { assignmentOf, heartbeat, leave, liveMembers, lockGroup } from "./postgres-membership.ts";
import { canExist, isTopicId, numbersOf, partitionOf, topicsOf } from "./postgres-partitions.ts";
import type { PostgresPool, PostgresTransaction } from "./postgres-pool.ts";
import { numberOf, type SqlRow, textOf } from "./sql-rows.ts";

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

const SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

export function createGroupStore(pool: PostgresPool): GroupStore {
  return {
    async heartbeat(input) {
      checkGroup(input.group);
      return pool.transaction({ doing: "taking a heartbeat" }, (tx) => heartbeat(tx, input));
    },
    async leaveGroup(group, memberId) {
      await pool.transaction({ doing: "leaving a group" }, (tx) => leave(tx, group, memberId));
    },
    async commitOffsets(group, member, offsets) {
      checkGroup(group);
      await pool.transaction({ doing: "committing offsets" }, (tx) =>
        commitOffsets(tx, group, member, offsets),
      );
    },
    async fetchOffsets(group, partitions) {
      const [sql, ...values]: readonly [sql: string, ...values: string[]] =
        partitions === undefined ? [ALL_OFFSETS, group] : asked(group, partitions);
      const rows = await pool.run({ doing: "reading offsets", reads: true }, sql, ...values);
      return rows.map(offsetOf);
    },
    async listGroups() {
      const rows = await pool.run(
        { doing: "listing groups", reads: true },
        "SELECT g.name, g.epoch, (SELECT count(*) FROM members m WHERE m.group_name = g.name " +
          "AND m.expires_at_ms > t.now) AS live FROM consumer_groups g, (SELECT now_ms() AS now) t " +
          "ORDER BY g.name",
      );
      return rows.map((row) => ({
        group: textOf(row, "name"),
        members: numberOf(row, "live"),
        groupEpoch: numberOf(row, "epoch"),
        state: numberOf(row, "live") > 0 ? ("stable" as const) : ("empty" as const),
      }));
    },
    async describeGroup(group) {
      return pool.transaction({ doing: "describing a group", reads: true, begin: SNAPSHOT }, (tx) =>
        describeGroup(tx, group),
      );
    },
    async deleteGroup(group) {
      await pool.transaction({ doing: "deleting a group" }, async (tx) => {
        const sql = "SELECT 1 FROM consumer_groups WHERE name = $1 FOR UPDATE";
        if ((await tx.get(sql, group)) === undefined) throw groupNotFound(group);
        const live = await liveMembers(tx, group);
        if (live.length > 0) throw groupInUse(group, live.length);
        for (const table of ["members", "assignments", "offsets"]) {
          await tx.all(`DELETE FROM ${table} WHERE group_name = $1`, group);
        }
        await tx.all("DELETE FROM consumer_groups WHERE name = $1", group);
      });
    },
    async expireOffsets() {
      return 0;
    },
  };
}

async function commitOffsets(
  tx: PostgresTransaction,
  group: string,
  member: MemberClaim,
  offsets: readonly OffsetCommitInput[],
): Promise<void> {
  const epoch = await lockGroup(tx, group);
  const live = await liveMembers(tx, group);
  if (member.memberId === "") {
    if (live.length > 0) throw groupBusy(group, live.length);
  } else if (!live.some((it) => it.memberId === member.memberId)) {
    throw unknownMember(group, member.memberId);
  } else if (member.memberEpoch > epoch) {
    const why = `it shows epoch ${member.memberEpoch}, the group is at ${epoch}`;
    throw memberFenced(group, member.memberId, why);
  }
  for (const { offset } of offsets) checkOffset(offset);
  await checkPartitions(tx, offsets);
  if (member.memberId !== "") await checkHolds(tx, group, member, offsets);
  // The last one for a partition counts; a statement cannot write a row twice.
  const last = new Map(offsets.map((it) => [partitionKey(it.topicId, it.partition), it]));
  const inputs = [...last.values()];
  await tx.all(
    "INSERT INTO offsets (group_name, topic_id, partition, committed_offset, metadata, committed_at_ms) " +
      "SELECT $1, i.topic_id, i.partition, i.committed, i.metadata, (SELECT now_ms()) " +
      "FROM unnest($2::uuid[], $3::int4[], $4::int8[], $5::text[]) " +
      "i (topic_id, partition, committed, metadata) " +
      "ON CONFLICT (group_name, topic_id, partition) DO UPDATE SET " +
      "committed_offset = excluded.committed_offset, metadata = excluded.metadata, " +
      "committed_at_ms = excluded.committed_at_ms",
    group,
    topicsOf(inputs),
    numbersOf(inputs),
    arrayOf(inputs.map((it) => it.offset)),
    arrayOf(inputs.map((it) => it.metadata)),
  );
}

/** KIP-848 and KIP-1251: a rebalance elsewhere fences nobody, only the loss of the partition does. */
async function checkHolds(
  tx: PostgresTransaction,
  group: string,
  member: MemberClaim,
  offsets: readonly OffsetCommitInput[],
): Promise<void> {
  const rows = await tx.all(
    "SELECT a.topic_id, a.partition, a.epoch FROM unnest($3::uuid[], $4::int4[]) i (topic_id, partition) " +
      "JOIN assignments a ON a.group_name = $1 AND a.topic_id = i.topic_id AND a.partition = i.partition " +
      "WHERE a.member_id = $2",
    group,
    member.memberId,
    topicsOf(offsets),
    numbersOf(offsets),
  );
  const epochs = new Map(
    rows.map((row) => [
      partitionKey(textOf(row, "topic_id"), numberOf(row, "partition")),
      numberOf(row, "epoch"),
    ]),
  );
  for (const it of offsets) {
    const epoch = epochs.get(partitionKey(it.topicId, it.partition));
    if (epoch === undefined) throw notAssigned(group, member.memberId, it);
    if (epoch <= member.memberEpoch) continue;
    const name = `partition ${it.topicId}/${it.partition}`;
    const why = `${name} was assigned at epoch ${epoch}, after its epoch ${member.memberEpoch}`;
    throw memberFenced(group, member.memberId, why);
  }
}

/** Also keeps them from being deleted until the offsets are there: deleting a topic takes its offsets along. */
async function checkPartitions(
  tx: PostgresTransaction,
  offsets: readonly OffsetCommitInput[],
): Promise<void> {
  const rows = await tx.all(
    "SELECT p.topic_id, p.partition FROM partitions p WHERE (p.topic_id, p.partition) IN " +
      "(SELECT * FROM unnest($1::uuid[], $2::int4[])) ORDER BY p.topic_id, p.partition FOR KEY SHARE",
    topicsOf(offsets.filter(canExist)),
    numbersOf(offsets.filter(canExist)),
  );
  const there = new Set(
    rows.map((row) => partitionKey(textOf(row, "topic_id"), numberOf(row, "partition"))),
  );
  for (const { topicId, partition } of offsets) {
    if (there.has(partitionKey(topicId, partition))) continue;
    if (!isTopicId(topicId)) throw topicIsGone(topicId);
    const topic = await tx.get("SELECT name, partitions FROM topics WHERE topic_id = $1", topicId);
    if (topic === undefined) throw topicIsGone(topicId);
    const [name, partitions] = [textOf(topic, "name"), numberOf(topic, "partitions")];
    throw noSuchPartition(partition, { name, partitions });
  }
}

const OFFSET_COLUMNS = "o.topic_id, o.partition, o.committed_offset, o.metadata, o.committed_at_ms";
const ALL_OFFSETS = `SELECT ${OFFSET_COLUMNS} FROM offsets o WHERE o.group_name = $1 ORDER BY o.topic_id, o.partition`;
const ASKED_OFFSETS =
  `SELECT ${OFFSET_COLUMNS} FROM unnest($2::uuid[], $3::int4[]) WITH ORDINALITY i (topic_id, partition, at) ` +
  "JOIN offsets o ON o.group_name = $1 AND o.topic_id = i.topic_id AND o.partition = i.partition " +
  "ORDER BY i.at";

function asked(
  group: string,
  partitions: NonNullable<Parameters<MetadataStore["fetchOffsets"]>[1]>,
): readonly [sql: string, ...values: string[]] {
  const all = partitions.filter(canExist);
  return [ASKED_OFFSETS, group, topicsOf(all), numbersOf(all)];
}

async function describeGroup(
  tx: PostgresTransaction,
  group: string,
): Promise<GroupState | undefined> {
  const row = await tx.get("SELECT epoch FROM consumer_groups WHERE name = $1", group);
  if (row === undefined) return undefined;
  const members: GroupState["members"][number][] = [];
  for (const { memberId, clientId, memberEpoch, topics } of await liveMembers(tx, group)) {
    const assigned = await assignmentOf(tx, group, memberId);
    const rest = { instanceId: "", topics, expiresInMs: 0, revoking: [] };
    members.push({ memberId, clientId, memberEpoch, assigned, ...rest });
  }
  const state = members.length > 0 ? "stable" : "empty";
  return { group, groupEpoch: numberOf(row, "epoch"), state, members };
}

function offsetOf(row: SqlRow): StoredOffset {
  return {
    ...partitionOf(row),
    offset: numberOf(row, "committed_offset"),
    metadata: textOf(row, "metadata"),
    committedAtMs: numberOf(row, "committed_at_ms"),
  };
}
