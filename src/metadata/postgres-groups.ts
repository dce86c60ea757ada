/** Consumer groups' calls in PostgreSQL: heartbeats, offsets, descriptions. Part of `createPostgresMetadata`. */
import { partitionKey } from "../core/topic.ts";
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
import type {
  GroupSummary,
  MetadataStore,
  OffsetCommitInput,
  StoredOffset,
} from "./metadata-store.ts";
import { arrayOf } from "./postgres-lane.ts";
import { heartbeat, leave, lockGroup, readGroup } from "./postgres-membership.ts";
import { canExist, isTopicId, numbersOf, partitionOf, topicsOf } from "./postgres-partitions.ts";
import type { PostgresPool, PostgresTransaction } from "./postgres-pool.ts";
import { booleanOf, numberOf, type SqlRow, textOf } from "./sql-rows.ts";

export function createGroupStore(pool: PostgresPool): GroupStore {
  return {
    async heartbeat(input) {
      checkGroup(input.group);
      return heartbeat(pool, input);
    },
    async leaveGroup(group, memberId, options) {
      await pool.transaction({ doing: "leaving a group" }, (tx) =>
        leave(tx, group, memberId, options),
      );
    },
    async commitOffsets(group, member, offsets, { forwardOnly = false } = {}) {
      checkGroup(group);
      await pool.transaction({ doing: "committing offsets" }, (tx) =>
        commitOffsets(tx, group, member, { offsets, forwardOnly }),
      );
    },
    async fetchOffsets(group, partitions) {
      const [sql, ...values]: readonly [sql: string, ...values: string[]] =
        partitions === undefined ? [ALL_OFFSETS, group] : asked(group, partitions);
      const rows = await pool.run({ doing: "reading offsets", reads: true }, sql, ...values);
      return rows.map(offsetOf);
    },
    async listGroups() {
      const rows = await pool.run({ doing: "listing groups", reads: true }, SUMMARIES);
      return rows.map(summaryOf);
    },
    async describeGroup(group) {
      const read = await readGroup(pool, group);
      return read === undefined ? undefined : describeSnapshot(read.snapshot, read.nowMs);
    },
    async deleteGroup(group) {
      await pool.transaction({ doing: "deleting a group" }, (tx) => deleteGroup(tx, group));
    },
    async expireOffsets(retentionMs, max) {
      const old = await pool.run(
        { doing: "looking for unused groups", reads: true },
        `${UNUSED} ORDER BY g.name LIMIT $2`,
        retentionMs,
        max,
      );
      let forgotten = 0;
      for (const row of old) {
        const group = textOf(row, "name");
        const gone = await pool.transaction({ doing: "forgetting an unused group" }, (tx) =>
          forgetIfUnused(tx, group, retentionMs),
        );
        if (gone) forgotten++;
      }
      return forgotten;
    },
  };
}

/** The phase is as `group-view.ts` has it. */
const SUMMARIES =
  "SELECT g.name, g.epoch, live.members, EXISTS (SELECT 1 FROM assignments a LEFT JOIN members h " +
  "ON h.group_name = a.group_name AND h.member_id = a.member_id AND h.expires_at_ms > t.now " +
  "WHERE a.group_name = g.name AND (a.target_id <> a.member_id OR h.member_id IS NULL)) AS moving " +
  "FROM consumer_groups g CROSS JOIN (SELECT now_ms() AS now OFFSET 0) t CROSS JOIN LATERAL (SELECT " +
  "count(*) AS members FROM members m WHERE m.group_name = g.name AND m.expires_at_ms > t.now) live " +
  "ORDER BY g.name";

function summaryOf(row: SqlRow): GroupSummary {
  const members = numberOf(row, "members");
  const phase = booleanOf(row, "moving") ? "reconciling" : "stable";
  const state = members === 0 ? "empty" : phase;
  return { group: textOf(row, "name"), members, groupEpoch: numberOf(row, "epoch"), state };
}

/** Nothing happened in them for so long: no change, no session, no commit. */
const UNUSED =
  "SELECT g.name FROM consumer_groups g CROSS JOIN (SELECT now_ms() - $1::int8 AS before OFFSET 0) t " +
  "WHERE g.active_at_ms <= t.before AND NOT EXISTS (SELECT 1 FROM members m " +
  "WHERE m.group_name = g.name AND m.expires_at_ms > t.before) AND NOT EXISTS (SELECT 1 FROM offsets o " +
  "WHERE o.group_name = g.name AND o.committed_at_ms > t.before)";

const LOCK_TO_DELETE = "SELECT 1 FROM consumer_groups WHERE name = $1 FOR UPDATE";

async function forgetIfUnused(
  tx: PostgresTransaction,
  group: string,
  retentionMs: number,
): Promise<boolean> {
  if ((await tx.get(LOCK_TO_DELETE, group)) === undefined) return false;
  const unused = await tx.get(`${UNUSED} AND g.name = $2`, retentionMs, group);
  if (unused !== undefined) await forget(tx, group);
  return unused !== undefined;
}

async function deleteGroup(tx: PostgresTransaction, group: string): Promise<void> {
  if ((await tx.get(LOCK_TO_DELETE, group)) === undefined) throw groupNotFound(group);
  const live = await liveMembers(tx, group);
  if (live > 0) throw groupInUse(group, live);
  await forget(tx, group);
}

/** Assignments first: a commit that is under way holds them until it is over, and its offsets go with the others. */
async function forget(tx: PostgresTransaction, group: string): Promise<void> {
  await tx.all(
    "SELECT 1 FROM assignments WHERE group_name = $1 ORDER BY topic_id, partition FOR UPDATE",
    group,
  );
  for (const table of ["assignments", "members", "offsets"]) {
    await tx.all(`DELETE FROM ${table} WHERE group_name = $1`, group);
  }
  await tx.all("DELETE FROM consumer_groups WHERE name = $1", group);
}

async function liveMembers(tx: PostgresTransaction, group: string): Promise<number> {
  const row = await tx.get(
    "SELECT count(*) AS live FROM members WHERE group_name = $1 AND expires_at_ms > (SELECT now_ms())",
    group,
  );
  return numberOf(row ?? {}, "live");
}

/**
 * With a member, the partitions' rows are locked against being given to others until the commit is over, and the member is looked at after
 * that. The group is not locked: commits of its members do not wait for each other.
 */
async function commitOffsets(
  tx: PostgresTransaction,
  group: string,
  claim: MemberClaim,
  { offsets, forwardOnly }: CommitInput,
): Promise<void> {
  for (const { offset } of offsets) checkOffset(offset);
  if (claim.memberId === "") {
    await lockGroup(tx, group);
    const live = await liveMembers(tx, group);
    if (live > 0) throw groupBusy(group, live);
  }
  await checkPartitions(tx, offsets);
  if (claim.memberId !== "") await checkMember(tx, group, claim, offsets);
  // The last one for a partition counts; a statement cannot write a row twice.
  const last = new Map(offsets.map((it) => [partitionKey(it.topicId, it.partition), it]));
  const inputs = [...last.values()].sort(byKey);
  await tx.all(
    "INSERT INTO offsets (group_name, topic_id, partition, committed_offset, metadata, committed_at_ms) " +
      "SELECT $1, i.topic_id, i.partition, i.committed, i.metadata, (SELECT now_ms()) " +
      "FROM unnest($2::uuid[], $3::int4[], $4::int8[], $5::text[]) " +
      "i (topic_id, partition, committed, metadata) " +
      "ON CONFLICT (group_name, topic_id, partition) DO UPDATE SET " +
      "committed_offset = excluded.committed_offset, metadata = excluded.metadata, " +
      "committed_at_ms = excluded.committed_at_ms " +
      "WHERE NOT $6::bool OR excluded.committed_offset >= offsets.committed_offset",
    group,
    topicsOf(inputs),
    numbersOf(inputs),
    arrayOf(inputs.map((it) => it.offset)),
    arrayOf(inputs.map((it) => it.metadata)),
    forwardOnly,
  );
}

/** So that two commits of the same partitions do not wait for each other in a circle. */
function byKey(a: OffsetCommitInput, b: OffsetCommitInput): number {
  return (a.topicId < b.topicId ? -1 : a.topicId > b.topicId ? 1 : 0) || a.partition - b.partition;
}

async function checkMember(
  tx: PostgresTransaction,
  group: string,
  claim: MemberClaim,
  offsets: readonly OffsetCommitInput[],
): Promise<void> {
  const rows = await tx.all(
    "SELECT a.topic_id, a.partition, a.member_id, a.epoch FROM assignments a " +
      "JOIN unnest($2::uuid[], $3::int4[]) i (topic_id, partition) " +
      "ON a.topic_id = i.topic_id AND a.partition = i.partition WHERE a.group_name = $1 " +
      "ORDER BY a.topic_id, a.partition FOR SHARE OF a",
    group,
    topicsOf(offsets),
    numbersOf(offsets),
  );
  const row = await tx.get(
    "SELECT member_epoch, expires_at_ms, is_away, now_ms() AS now FROM members " +
      "WHERE group_name = $1 AND member_id = $2",
    group,
    claim.memberId,
  );
  const member = row && {
    memberEpoch: numberOf(row, "member_epoch"),
    expiresAtMs: numberOf(row, "expires_at_ms"),
    isAway: booleanOf(row, "is_away"),
  };
  checkClaim(group, claim, member, row === undefined ? 0 : numberOf(row, "now"));
  const placements = new Map(
    rows.map((it) => [
      partitionKey(textOf(it, "topic_id"), numberOf(it, "partition")),
      { holder: textOf(it, "member_id"), epoch: numberOf(it, "epoch") },
    ]),
  );
  for (const it of offsets) {
    checkHolds(group, claim, it, placements.get(partitionKey(it.topicId, it.partition)));
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

function offsetOf(row: SqlRow): StoredOffset {
  return {
    ...partitionOf(row),
    offset: numberOf(row, "committed_offset"),
    metadata: textOf(row, "metadata"),
    committedAtMs: numberOf(row, "committed_at_ms"),
  };
}
