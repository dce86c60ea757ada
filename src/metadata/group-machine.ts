/**
 * The rules of membership in consumer groups, after KIP-848 (https://cwiki.apache.org/confluence/x/HhD1D): functions of a group, an input
 * and the time that answer the result and what is to be written. They read no clock and no database: both metadata stores load a group
 * under its lock, ask here, and write what comes back.
 *
 * - Epochs: the group's rises with every change of members, subscriptions or partitions, and whenever a member gets something; a member's
 *   is the group's that its assignment is of; each partition keeps the one at which its holder got it.
 * - A partition that is to move stays with its holder until that one has let go: a heartbeat at its newest epoch says what it holds, and
 *   the partition is not among it; or its session ends; or the time is over that it was told. That is its rebalance timeout, and
 *   never less than its session: whoever heard nothing since then holds itself to be out by that time.
 * - A member that is to let go keeps its epoch until it has, and gets nothing meanwhile.
 * - Nothing that a member gets has an epoch that the member showed before. So a request that was made before, and is late, can never
 *   be taken for its letting go.
 */
import { limits } from "../core/limits.ts";
import { partitionKey } from "../core/topic.ts";
import { GroupDraft } from "./group-draft.ts";
import { instanceInUse, memberFenced, tooManyMembers, unknownMember } from "./group-rules.ts";
import {
  type GroupChange,
  type GroupMember,
  type GroupSnapshot,
  isLive,
  NOT_TOLD,
  RETURNED,
} from "./group-snapshot.ts";
import type { HeartbeatInput, HeartbeatResult } from "./metadata-store.ts";

/** @throws StreamHouseError `UNKNOWN_MEMBER`, `GROUP_FENCED`, `INSTANCE_ID_IN_USE`, `OVERLOADED` */
export function heartbeat(
  snapshot: GroupSnapshot,
  input: HeartbeatInput,
  nowMs: number,
): { readonly result: HeartbeatResult; readonly change: GroupChange } {
  const draft = new GroupDraft(snapshot);
  const { memberId } = input;
  const topics = subscriptionOf(input.topics);
  let changed = false;
  if (input.memberEpoch === 0) changed = join(draft, input, topics, nowMs);
  else mustBeMember(draft, input, nowMs);
  const known = mustHave(draft, memberId);
  releaseWhatIsGone(draft, known, input);
  draft.releaseOverdue(nowMs);
  for (const it of draft.members.filter((other) => !isLive(other, nowMs))) {
    draft.evict(it.memberId);
    changed = true;
  }
  changed ||= known.topics.join() !== topics.join();
  const { clientId, sessionTimeoutMs, rebalanceTimeoutMs } = input;
  const expiresAtMs = nowMs + sessionTimeoutMs;
  draft.save({ ...known, topics, clientId, sessionTimeoutMs, rebalanceTimeoutMs, expiresAtMs });
  rebalance(draft, snapshot, changed);
  reconcile(draft, memberId, input.memberEpoch, nowMs);
  return { result: resultOf(draft, memberId, nowMs), change: draft.change() };
}

/** `memberEpoch`: as the member knew it when it left. A leave that is older than its last joining is not meant for it. */
export interface LeaveOptions {
  readonly keepPlace: boolean;
  readonly memberEpoch?: number | undefined;
}

/** Undefined: there is nothing to write. */
export function leave(
  snapshot: GroupSnapshot,
  memberId: string,
  { keepPlace, memberEpoch = Number.MAX_SAFE_INTEGER }: LeaveOptions,
  nowMs: number,
): GroupChange | undefined {
  const draft = new GroupDraft(snapshot);
  const over = draft.members.filter((it) => !isLive(it, nowMs));
  for (const it of over) draft.evict(it.memberId);
  const member = draft.member(memberId);
  const leaves = member !== undefined && !member.isAway && memberEpoch >= member.joinedEpoch;
  if (!leaves && over.length === 0) return undefined;
  const isKept = leaves && keepPlace && member.instanceId !== "";
  if (isKept) {
    // It reads no more: what it was to let go of is free.
    for (const it of draft.heldBy(memberId)) if (it.target !== memberId) draft.release(it);
    draft.save({ ...member, isAway: true, expiresAtMs: nowMs + member.sessionTimeoutMs });
  } else if (leaves) {
    draft.evict(memberId);
  }
  rebalance(draft, snapshot, over.length > 0 || (leaves && !isKept));
  return draft.change();
}

/** Sorted, each once. */
export function subscriptionOf(topics: readonly string[]): readonly string[] {
  return [...new Set(topics)].sort();
}

/** Answers whether the members changed. */
function join(
  draft: GroupDraft,
  input: HeartbeatInput,
  topics: readonly string[],
  nowMs: number,
): boolean {
  const { group, memberId, instanceId } = input;
  const isHere = (it: GroupMember) => !it.isAway && isLive(it, nowMs);
  const place = draft.members.find((it) => instanceId !== "" && it.instanceId === instanceId);
  if (place !== undefined && place.memberId !== memberId && isHere(place)) {
    throw instanceInUse(group, instanceId);
  }
  const known = draft.member(memberId);
  // Its first answer was lost, or it has forgotten all: it is told again.
  if (known !== undefined && isHere(known)) return false;
  draft.epoch++;
  const made = { memberId, joinedEpoch: draft.epoch, previousEpoch: draft.epoch };
  if (place !== undefined) {
    // A new epoch, so that nothing late from the one before can be for this one. What they have is the same.
    const expiresAtMs = nowMs + input.sessionTimeoutMs;
    const heir = { ...place, ...made, expiresAtMs, isAway: false, isPending: true };
    draft.replace(place.memberId, { ...heir, memberEpoch: draft.epoch });
    return false;
  }
  if (known !== undefined) draft.evict(memberId);
  const others = draft.members.filter((it) => isLive(it, nowMs));
  if (others.length >= limits.membersPerGroupMax) throw tooManyMembers(group);
  const { clientId, sessionTimeoutMs, rebalanceTimeoutMs } = input;
  draft.save({
    ...{ ...made, instanceId, clientId, topics, sessionTimeoutMs, rebalanceTimeoutMs },
    ...{ memberEpoch: 0, expiresAtMs: nowMs + sessionTimeoutMs, isAway: false, isPending: true },
  });
  return true;
}

/** Any epoch since the last one that it was seen to know: it may have missed the answers in between. */
function mustBeMember(draft: GroupDraft, input: HeartbeatInput, nowMs: number): void {
  const { group, memberId, memberEpoch } = input;
  const known = draft.member(memberId);
  if (known === undefined || known.isAway || !isLive(known, nowMs)) {
    throw unknownMember(group, memberId);
  }
  if (memberEpoch >= known.previousEpoch && memberEpoch <= known.memberEpoch) return;
  const why = `it is at epoch ${memberEpoch}, the group knows ${known.memberEpoch}`;
  throw memberFenced(group, memberId, why);
}

function mustHave(draft: GroupDraft, memberId: string): GroupMember {
  const member = draft.member(memberId);
  if (member !== undefined) return member;
  throw unknownMember(draft.group, memberId);
}

/**
 * What the member was told it has, and does not hold, it has let go of: only its newest epoch shows that it was told. What it had to let
 * go of, and is to have again after all, is given to it anew.
 */
function releaseWhatIsGone(draft: GroupDraft, member: GroupMember, input: HeartbeatInput): void {
  const { memberId, memberEpoch } = member;
  if (input.memberEpoch !== memberEpoch || memberEpoch === 0) return;
  const owned = new Set(input.owned.map((it) => partitionKey(it.topicId, it.partition)));
  for (const it of draft.heldBy(memberId)) {
    const isOwned = owned.has(partitionKey(it.topicId, it.partition));
    if (it.target === memberId && it.revokeByMs !== RETURNED) continue;
    if (!isOwned) draft.release(it);
    else if (it.target === memberId) draft.setRevokeBy(it, NOT_TOLD);
  }
}

/** New targets, if anything that they depend on changed. */
function rebalance(draft: GroupDraft, snapshot: GroupSnapshot, changed: boolean): void {
  const { topicsVersionNow } = snapshot;
  if (!changed && draft.topicsVersion === topicsVersionNow) return;
  const moved = draft.retarget(topicsVersionNow);
  // A join has made its epoch already.
  if ((changed || moved) && draft.epoch === snapshot.epoch) draft.epoch++;
}

/** What the member that calls can do now for its assignment to become what it is to be. */
function reconcile(draft: GroupDraft, memberId: string, shown: number, nowMs: number): void {
  const member = mustHave(draft, memberId);
  const held = draft.heldBy(memberId);
  const revoking = held.filter((it) => it.target !== memberId);
  const givenMs = Math.max(member.rebalanceTimeoutMs, member.sessionTimeoutMs);
  for (const it of revoking) {
    if (it.revokeByMs === NOT_TOLD) draft.setRevokeBy(it, nowMs + givenMs);
  }
  if (revoking.length > 0) {
    draft.save({ ...member, isPending: true });
    return;
  }
  const free = draft.freeFor(memberId);
  if (free.length > 0 && member.memberEpoch === draft.epoch) draft.epoch++;
  for (const it of free) draft.take(it);
  const isPending = held.some((it) => it.revokeByMs === RETURNED);
  if (member.memberEpoch === draft.epoch) {
    draft.save({ ...member, isPending });
    return;
  }
  // One that joins has no epoch before; one that did not hear of its last epoch may still show the one before that.
  const previousEpoch = member.memberEpoch === 0 ? draft.epoch : shown || member.memberEpoch;
  draft.save({ ...member, memberEpoch: draft.epoch, previousEpoch, isPending });
}

function resultOf(draft: GroupDraft, memberId: string, nowMs: number): HeartbeatResult {
  const held = draft.heldBy(memberId);
  const isAssigned = (it: { readonly target: string }) => it.target === memberId;
  const revoking = held.filter((it) => !isAssigned(it));
  const until = revoking.map((it) => it.revokeByMs);
  return {
    memberEpoch: mustHave(draft, memberId).memberEpoch,
    assigned: draft.named(held.filter(isAssigned)),
    revoking: draft.named(revoking),
    letGoWithinMs: until.length === 0 ? 0 : Math.min(...until) - nowMs,
    awaited: draft.awaitedBy(memberId),
  };
}
