/**
 * Loading and saving consumer groups in PostgreSQL, for `group-machine.ts`, which decides. The functions are those of
 * `postgres-group-functions.ts`, where the locks are explained. Called by `postgres-groups.ts`.
 */
import { limits } from "../core/limits.ts";
import { heartbeat as decide, leave as decideLeave, subscriptionOf } from "./group-machine.ts";
import { tooManyGroups } from "./group-rules.ts";
import type { GroupChange, GroupMember, GroupSnapshot } from "./group-snapshot.ts";
import type { HeartbeatInput, HeartbeatResult, MetadataStore } from "./metadata-store.ts";
import { arrayOf } from "./postgres-lane.ts";
import { numbersOf, topicsOf } from "./postgres-partitions.ts";
import type { PostgresPool, PostgresTransaction } from "./postgres-pool.ts";
import { numberOf, type SqlRow } from "./sql-rows.ts";

const DOING = "taking a heartbeat";

/**
 * One statement if nothing changed: the member is live, what it says of itself is what is known, it has nothing to do, nobody's time
 * can be over, and topics are as they were. Otherwise the group is locked, and all is looked at.
 */
export async function heartbeat(
  pool: PostgresPool,
  input: HeartbeatInput,
): Promise<HeartbeatResult> {
  const { group, memberId } = input;
  const topics = subscriptionOf(input.topics);
  if (input.memberEpoch > 0) {
    const [row] = await pool.run({ doing: DOING }, UNCHANGED, ...valuesOf(input, topics));
    if (row !== undefined) return unchanged(row);
  }
  return pool.transaction({ doing: DOING }, async (tx) => {
    const opened = await openGroup(tx, group, memberId, topics, true);
    if (opened === undefined) throw new Error(`group ${group} was not made`);
    const { result, change } = decide(opened.snapshot, input, opened.nowMs);
    if (opened.snapshot.topicsVersion < 0) await checkGroups(tx);
    await saveGroup(tx, group, change, opened.nowMs);
    return result;
  });
}

export async function leave(
  tx: PostgresTransaction,
  group: string,
  memberId: string,
  options: Parameters<MetadataStore["leaveGroup"]>[2],
): Promise<void> {
  const opened = await openGroup(tx, group, memberId, [], false);
  if (opened === undefined) return;
  const change = decideLeave(opened.snapshot, memberId, options, opened.nowMs);
  if (change !== undefined) await saveGroup(tx, group, change, opened.nowMs);
}

/** Of one moment, without a lock. Undefined if nobody ever used the group. */
export async function readGroup(
  pool: PostgresPool,
  group: string,
): Promise<OpenedGroup | undefined> {
  const [row] = await pool.run(
    { doing: "describing a group", reads: true },
    "SELECT read_group($1, '{}', now_ms()) AS packed",
    group,
  );
  return openedOf(group, row);
}

/** Locks the group's row, and makes it if nobody used it yet. */
export async function lockGroup(tx: PostgresTransaction, group: string): Promise<void> {
  const known = await tx.get(LOCK_GROUP, group);
  if (known !== undefined) return;
  const made = await tx.get(
    "INSERT INTO consumer_groups (name, epoch) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING RETURNING epoch",
    group,
  );
  // Somebody else made it just now.
  if (made === undefined) await tx.get(LOCK_GROUP, group);
  else await checkGroups(tx);
}

export interface OpenedGroup {
  readonly snapshot: GroupSnapshot;
  /** The server's clock, read after the lock. */
  readonly nowMs: number;
}

const LOCK_GROUP = "SELECT epoch FROM consumer_groups WHERE name = $1 FOR NO KEY UPDATE";

/** `assigned` and `awaited` are as the statement found them: what is done to them meanwhile makes the member's row pending. */
const UNCHANGED =
  "WITH beat AS (UPDATE members m SET expires_at_ms = now_ms() + $4::int8, " +
  "previous_epoch = CASE WHEN m.member_epoch < g.epoch THEN m.member_epoch ELSE m.previous_epoch END, " +
  "member_epoch = greatest(m.member_epoch, g.epoch) FROM consumer_groups g, counters c " +
  "WHERE m.group_name = $1 AND m.member_id = $2 AND g.name = $1 AND c.name = 'topics' " +
  "AND m.member_epoch = $3::int8 AND NOT m.is_pending AND NOT m.is_away " +
  "AND m.session_timeout_ms = $4::int8 AND m.rebalance_timeout_ms = $5::int8 " +
  "AND m.topics = $6 AND m.client_id = $7 AND g.topics_version = c.value " +
  "AND m.expires_at_ms > now_ms() AND g.check_at_ms > now_ms() RETURNING m.member_epoch) " +
  "SELECT beat.member_epoch, (SELECT json_agg(json_build_array(a.topic_id, t.name, a.partition, a.epoch) " +
  "ORDER BY t.name, a.partition) FROM assignments a JOIN topics t ON t.topic_id = a.topic_id " +
  "WHERE a.group_name = $1 AND a.member_id = $2 AND a.target_id = $2) AS assigned, " +
  "(SELECT count(*) FROM assignments a WHERE a.group_name = $1 AND a.target_id = $2 " +
  "AND a.member_id <> $2) AS awaited FROM beat";

function valuesOf(input: HeartbeatInput, topics: readonly string[]): readonly (string | number)[] {
  return [
    ...[input.group, input.memberId, input.memberEpoch],
    ...[input.sessionTimeoutMs, input.rebalanceTimeoutMs],
    ...[JSON.stringify(topics), input.clientId],
  ];
}

function unchanged(row: SqlRow): HeartbeatResult {
  const assigned = (row.assigned ?? []) as readonly (readonly [string, string, number, number])[];
  return {
    memberEpoch: numberOf(row, "member_epoch"),
    assigned: assigned.map(([topicId, topic, partition, epoch]) => ({
      ...{ topicId, topic, partition, epoch },
    })),
    revoking: [],
    letGoWithinMs: 0,
    awaited: numberOf(row, "awaited"),
  };
}

async function openGroup(
  tx: PostgresTransaction,
  group: string,
  memberId: string,
  topics: readonly string[],
  create: boolean,
): Promise<OpenedGroup | undefined> {
  const sql = "SELECT open_group($1, $2, $3::text[], $4::boolean) AS packed";
  return openedOf(group, await tx.get(sql, group, memberId, arrayOf(topics), create));
}

/** Of what was just made, too. */
async function checkGroups(tx: PostgresTransaction): Promise<void> {
  const row = await tx.get("SELECT count(*) AS known FROM consumer_groups");
  if (numberOf(row ?? {}, "known") > limits.groupsMax) throw tooManyGroups();
}

/** The columns in the order of `read_group`. */
type PackedMember = readonly [
  memberId: string,
  instanceId: string,
  clientId: string,
  topics: string,
  joinedEpoch: number,
  memberEpoch: number,
  previousEpoch: number,
  sessionTimeoutMs: number,
  rebalanceTimeoutMs: number,
  expiresAtMs: number,
  isAway: boolean,
  isPending: boolean,
];

interface PackedGroup {
  readonly now: number;
  readonly epoch: number;
  readonly version: number;
  readonly versionNow: number;
  readonly topics: readonly (readonly [string, string, number])[] | null;
  readonly members: readonly PackedMember[] | null;
  readonly placements:
    | readonly (readonly [string, number, string, number, string, number])[]
    | null;
}

function openedOf(group: string, row: SqlRow | undefined): OpenedGroup | undefined {
  const packed = row?.packed as PackedGroup | null | undefined;
  if (packed === null || packed === undefined) return undefined;
  const placements = packed.placements ?? [];
  const snapshot: GroupSnapshot = {
    group,
    epoch: packed.epoch,
    topicsVersion: packed.version,
    topicsVersionNow: packed.versionNow,
    topics: (packed.topics ?? []).map(([topicId, name, partitions]) => ({
      ...{ topicId, name, partitions },
    })),
    members: (packed.members ?? []).map(memberOf),
    placements: placements.map(([topicId, partition, holder, epoch, target, revokeByMs]) => ({
      ...{ topicId, partition, holder, epoch, target, revokeByMs },
    })),
  };
  return { snapshot, nowMs: packed.now };
}

function memberOf(packed: PackedMember): GroupMember {
  const [memberId, instanceId, clientId, topics, joinedEpoch, memberEpoch, previousEpoch] = packed;
  const [sessionTimeoutMs, rebalanceTimeoutMs, expiresAtMs, isAway, isPending] = packed.slice(
    7,
  ) as [...[number, number, number, boolean, boolean]];
  return {
    ...{ memberId, instanceId, clientId, joinedEpoch, memberEpoch, previousEpoch },
    ...{ sessionTimeoutMs, rebalanceTimeoutMs, expiresAtMs, isAway, isPending },
    topics: JSON.parse(topics) as readonly string[],
  };
}

async function saveGroup(
  tx: PostgresTransaction,
  group: string,
  change: GroupChange,
  nowMs: number,
): Promise<void> {
  const { savedMembers, savedPlacements, removedPlacements } = change;
  await tx.all(
    "SELECT save_group($1, $2, $3, $4, $5, $6::text[], $7::text[], $8::text::json, " +
      "$9::uuid[], $10::int4[], $11::uuid[], $12::int4[], $13::text[], $14::int8[], $15::text[], $16::int8[])",
    ...[group, change.epoch, change.topicsVersion, change.checkAtMs, nowMs],
    arrayOf(change.removedMembers),
    arrayOf(change.pendingMembers),
    JSON.stringify(savedMembers.map((it) => ({ ...it, topics: JSON.stringify(it.topics) }))),
    topicsOf(removedPlacements),
    numbersOf(removedPlacements),
    topicsOf(savedPlacements),
    numbersOf(savedPlacements),
    arrayOf(savedPlacements.map((it) => it.holder)),
    arrayOf(savedPlacements.map((it) => it.epoch)),
    arrayOf(savedPlacements.map((it) => it.target)),
    arrayOf(savedPlacements.map((it) => it.revokeByMs)),
  );
}
