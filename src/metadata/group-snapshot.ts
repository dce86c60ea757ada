/**
 * A consumer group as its stores keep it, and a change of it: what `group-machine.ts` is given and answers. Plain data; the stores
 * read and write it, and decide nothing.
 *
 * A partition has one row in a group, with one holder: that is why it can never be in two members' hands. Its target is who is to have
 * it. Holder and target are the same member: assigned. Another target: the holder is to let go (revoking). No holder: free, for the
 * target to take with its next heartbeat.
 */
import type { TopicPartition } from "../core/topic.ts";

/** No member: free, or nobody subscribes to it any more. */
export const NOBODY = "";

/** Times of `revokeByMs` are above these two. */
export const NOT_TOLD = 0;
/** The holder was told to let go, and then the target came back to it: it may have let go, or not. */
export const RETURNED = -1;

export interface GroupMember {
  readonly memberId: string;
  /** Empty: a dynamic member. */
  readonly instanceId: string;
  readonly clientId: string;
  /** Sorted, each once. */
  readonly topics: readonly string[];
  /** The group's epoch that its joining made: the order of joining is the order of these. */
  readonly joinedEpoch: number;
  /** The group's epoch that its assignment is of. */
  readonly memberEpoch: number;
  /** The one before: a member that missed the last answer still shows it. */
  readonly previousEpoch: number;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  /** By the store's clock. */
  readonly expiresAtMs: number;
  /** It left, and its place is kept for its instance id. */
  readonly isAway: boolean;
  /** Its next heartbeat has something to do: to learn what it is to let go of, or to take what is free for it. */
  readonly isPending: boolean;
}

export interface Placement extends TopicPartition {
  /** `NOBODY`: free. */
  readonly holder: string;
  /** The group's epoch at which the holder got it; 0 if there is none. */
  readonly epoch: number;
  /** `NOBODY`: nobody subscribes to its topic. */
  readonly target: string;
  /** When it is taken from the holder if that one has not let go; or `NOT_TOLD` or `RETURNED`. */
  readonly revokeByMs: number;
}

export interface GroupTopic {
  readonly topicId: string;
  readonly name: string;
  readonly partitions: number;
}

export interface GroupSnapshot {
  readonly group: string;
  readonly epoch: number;
  /** The version of all topics that the targets were made with. */
  readonly topicsVersion: number;
  /** The version of all topics now; `topics` is of it, or newer. */
  readonly topicsVersionNow: number;
  /** All there are, also those whose session has ended. */
  readonly members: readonly GroupMember[];
  readonly placements: readonly Placement[];
  /** Those that exist of what members subscribed to, the one that calls included, and all that placements name. */
  readonly topics: readonly GroupTopic[];
}

/** All that a store has to write. */
export interface GroupChange {
  readonly epoch: number;
  readonly topicsVersion: number;
  /** Until then, heartbeats need not look whether somebody's time is over. */
  readonly checkAtMs: number;
  readonly removedMembers: readonly string[];
  /** Whole rows, written after the removals. */
  readonly savedMembers: readonly GroupMember[];
  /** Only `isPending` becomes true: nothing else of them may be written, they may be calling now. */
  readonly pendingMembers: readonly string[];
  readonly removedPlacements: readonly TopicPartition[];
  readonly savedPlacements: readonly Placement[];
}

/** Whether its session has not ended. */
export function isLive(member: Pick<GroupMember, "expiresAtMs">, nowMs: number): boolean {
  return member.expiresAtMs > nowMs;
}

/** In the order of joining. */
export function inOrder(members: readonly GroupMember[]): GroupMember[] {
  const byId = (a: GroupMember, b: GroupMember) => (a.memberId < b.memberId ? -1 : 1);
  return [...members].sort((a, b) => a.joinedEpoch - b.joinedEpoch || byId(a, b));
}
