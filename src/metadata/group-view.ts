/** A group as people see it. Pure; both metadata stores describe groups with it. */
import {
  type GroupMember,
  type GroupSnapshot,
  inOrder,
  isLive,
  type Placement,
} from "./group-snapshot.ts";
import type {
  GroupMemberState,
  GroupPhase,
  GroupState,
  MemberPartition,
} from "./metadata-store.ts";

export function describeSnapshot(snapshot: GroupSnapshot, nowMs: number): GroupState {
  const live = inOrder(snapshot.members.filter((it) => isLive(it, nowMs)));
  const held = new Map<string, Placement[]>();
  for (const it of snapshot.placements) {
    const known = held.get(it.holder);
    if (known === undefined) held.set(it.holder, [it]);
    else known.push(it);
  }
  const names = new Map(snapshot.topics.map((it) => [it.topicId, it.name]));
  return {
    group: snapshot.group,
    groupEpoch: snapshot.epoch,
    state: phaseOf(snapshot, live),
    members: live.map((it) => memberState(it, held.get(it.memberId) ?? [], names, nowMs)),
  };
}

/** Partitions are on their way if one is not where it is to be, or is with somebody whose session has ended. */
function phaseOf(snapshot: GroupSnapshot, live: readonly GroupMember[]): GroupPhase {
  if (live.length === 0) return "empty";
  const ids = new Set(live.map((it) => it.memberId));
  const isSettled = (it: Placement) => it.holder === it.target && ids.has(it.holder);
  return snapshot.placements.every(isSettled) ? "stable" : "reconciling";
}

function memberState(
  member: GroupMember,
  held: readonly Placement[],
  names: ReadonlyMap<string, string>,
  nowMs: number,
): GroupMemberState {
  const { memberId, instanceId, clientId, memberEpoch, topics, expiresAtMs } = member;
  const isAssigned = (it: Placement) => it.target === memberId;
  return {
    ...{ memberId, instanceId, clientId, memberEpoch, topics },
    expiresInMs: expiresAtMs - nowMs,
    assigned: named(held.filter(isAssigned), names),
    revoking: named(
      held.filter((it) => !isAssigned(it)),
      names,
    ),
  };
}

/** With their topics' names, by name and partition. */
export function named(
  placements: readonly Placement[],
  names: ReadonlyMap<string, string>,
): MemberPartition[] {
  const all = placements.flatMap(({ topicId, partition, epoch }) => {
    const topic = names.get(topicId);
    return topic === undefined ? [] : [{ topicId, topic, partition, epoch }];
  });
  return all.sort((a, b) =>
    a.topic < b.topic ? -1 : a.topic > b.topic ? 1 : a.partition - b.partition,
  );
}
