/** What every metadata store has and says of consumer groups: their calls, their limits, and the errors that name them. */
import { invalid, StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { TopicPartition } from "../core/topic.ts";
import { type GroupMember, isLive, type Placement } from "./group-snapshot.ts";
import type { MetadataStore, OffsetCommitInput } from "./metadata-store.ts";

/** What of a metadata store is about groups. */
export type GroupStore = Pick<
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

/** @throws StreamHouseError `INVALID_ARGUMENT` */
export function checkGroup(group: string): void {
  if (group !== "" && group.length <= limits.groupNameCharactersMax) return;
  throw invalid(
    "INVALID_ARGUMENT",
    `a group's name has 1 to ${limits.groupNameCharactersMax} characters, this one has ${group.length}`,
    { field: "group" },
  );
}

/** @throws StreamHouseError `INVALID_ARGUMENT` */
export function checkOffset(offset: number): void {
  if (Number.isSafeInteger(offset) && offset >= 0) return;
  const what = `offset ${offset} cannot be committed: use a whole number from 0 on`;
  throw invalid("INVALID_ARGUMENT", what, { field: "offset" });
}

export function topicIsGone(topicId: string): StreamHouseError {
  const what = `topic ${topicId.slice(0, 60)} does not exist: it was deleted`;
  return invalid("TOPIC_NOT_FOUND", what, { field: "topicId" });
}

export function noSuchPartition(
  partition: number,
  topic: { readonly name: string; readonly partitions: number },
): StreamHouseError {
  return invalid(
    "PARTITION_OUT_OF_RANGE",
    `partition ${partition} of topic ${topic.name} does not exist: it has ${topic.partitions}`,
    { field: "partition" },
  );
}

export function unknownMember(group: string, memberId: string): StreamHouseError {
  return new StreamHouseError({
    code: "UNKNOWN_MEMBER",
    kind: "fenced",
    message: `group ${group} has no member ${memberId}: its session ended or it left; join again with epoch 0`,
  });
}

export function memberFenced(group: string, memberId: string, why: string): StreamHouseError {
  return new StreamHouseError({
    code: "GROUP_FENCED",
    kind: "fenced",
    message: `member ${memberId} of group ${group} is stale: ${why}; join again with epoch 0`,
  });
}

export function notAssigned(
  group: string,
  memberId: string,
  { topicId, partition }: TopicPartition,
): StreamHouseError {
  return memberFenced(group, memberId, `partition ${topicId}/${partition} is not assigned to it`);
}

export function groupBusy(group: string, members: number): StreamHouseError {
  return new StreamHouseError({
    code: "GROUP_BUSY",
    kind: "conflict",
    message:
      `group ${group} has ${members} live members, and only they may commit: ` +
      "stop them first, or commit as a member",
  });
}

export function instanceInUse(group: string, instanceId: string): StreamHouseError {
  return new StreamHouseError({
    code: "INSTANCE_ID_IN_USE",
    kind: "conflict",
    message:
      `group ${group} has a live member with instance id ${instanceId}: give each consumer its own; ` +
      "one that was killed is out when its session has ended",
    field: "instance_id",
  });
}

export function tooManyGroups(): StreamHouseError {
  return overloaded(`there are ${limits.groupsMax} groups, which is the limit: delete unused ones`);
}

export function tooManyMembers(group: string): StreamHouseError {
  return overloaded(
    `group ${group} has ${limits.membersPerGroupMax} members, which is the limit: use fewer consumers`,
  );
}

function overloaded(message: string): StreamHouseError {
  return new StreamHouseError({
    code: "OVERLOADED",
    kind: "unavailable",
    message,
    retryAfterMs: 1_000,
  });
}

export function groupInUse(group: string, members: number): StreamHouseError {
  return new StreamHouseError({
    code: "GROUP_BUSY",
    kind: "conflict",
    message: `group ${group} has ${members} live members and cannot be deleted: stop them first`,
  });
}

export function groupNotFound(group: string): StreamHouseError {
  const what = `group ${group} does not exist: nobody ever used it, or it was deleted, or its offsets expired`;
  return invalid("GROUP_NOT_FOUND", what, { field: "group" });
}

export interface CommitInput {
  readonly offsets: readonly OffsetCommitInput[];
  /** Those below the committed offset are passed over. */
  readonly forwardOnly: boolean;
}

/** Who says that it commits. */
export interface MemberClaim {
  readonly memberId: string;
  readonly memberEpoch: number;
}

/** @throws StreamHouseError `UNKNOWN_MEMBER`, `GROUP_FENCED` */
export function checkClaim(
  group: string,
  claim: MemberClaim,
  member: Pick<GroupMember, "memberEpoch" | "expiresAtMs" | "isAway"> | undefined,
  nowMs: number,
): void {
  if (member === undefined || member.isAway || !isLive(member, nowMs)) {
    throw unknownMember(group, claim.memberId);
  }
  if (claim.memberEpoch <= member.memberEpoch) return;
  const why = `it shows epoch ${claim.memberEpoch}, the group knows ${member.memberEpoch}`;
  throw memberFenced(group, claim.memberId, why);
}

/**
 * As KIP-848 and KIP-1251 have it: a rebalance elsewhere fences nobody, only the loss of the partition does.
 * @throws StreamHouseError `GROUP_FENCED`
 */
export function checkHolds(
  group: string,
  { memberId, memberEpoch }: MemberClaim,
  partition: TopicPartition,
  placement: Pick<Placement, "holder" | "epoch"> | undefined,
): void {
  if (placement?.holder !== memberId) throw notAssigned(group, memberId, partition);
  if (placement.epoch <= memberEpoch) return;
  const name = `partition ${partition.topicId}/${partition.partition}`;
  const why = `${name} was assigned at epoch ${placement.epoch}, after its epoch ${memberEpoch}`;
  throw memberFenced(group, memberId, why);
}
