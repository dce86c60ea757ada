/**
 * Answers as a key may see them: what is about topics that it has no right to is left out. Pure. Called by `access.ts`, with answers that
 * everybody shares: they are never changed.
 */
import { type AccessRight, allowsEverywhere, allowsToSee } from "../core/access.ts";
import type { LagSnapshot } from "../metadata/metadata-store.ts";
import type {
  DescribeClusterResponse,
  ListTopicsResponse,
} from "../rpc/gen/streamhouse/v1/admin.ts";
import type {
  DescribeGroupResponse,
  FetchOffsetsResponse,
  ListGroupsResponse,
} from "../rpc/gen/streamhouse/v1/group.ts";
import { accessRules, mayAny, type TopicNames } from "./access-rules.ts";

type Rights = readonly AccessRight[];

/** The topics that the key has any right to. */
export function seenTopics(rights: Rights, answer: ListTopicsResponse): ListTopicsResponse {
  return { topics: answer.topics.filter((it) => allowsToSee(rights, it.name)) };
}

/** All agents, since a client must know whom to ask; of their leases those of topics that the key has any right to. */
export function seenCluster(
  rights: Rights,
  answer: DescribeClusterResponse,
  names: TopicNames,
): DescribeClusterResponse {
  if (rights.some((it) => it.topicPrefix === "")) return answer;
  const leases = answer.leases.filter((it) => {
    const name = names(it.topicId);
    return name !== undefined && allowsToSee(rights, name);
  });
  return { ...answer, leases };
}

/** The offsets of topics that the key may consume. */
export function seenOffsets(
  rights: Rights,
  answer: FetchOffsetsResponse,
  names: TopicNames,
): FetchOffsetsResponse {
  const { actions } = accessRules.fetchOffsets;
  if (actions.some((it) => allowsEverywhere(rights, it))) return answer;
  const offsets = answer.offsets.filter((it) => {
    const name = names(it.topicId);
    return name !== undefined && mayAny(rights, actions, name);
  });
  return { offsets };
}

/**
 * Lag of topics that the key may watch, and members that read no other. A group that has nothing to be seen looks as if nobody ever used
 * it.
 */
export function seenGroup(rights: Rights, answer: DescribeGroupResponse): DescribeGroupResponse {
  const { actions } = accessRules.describeGroup;
  if (actions.some((it) => allowsEverywhere(rights, it))) return answer;
  // Without a name: a position that was asked for, in a topic that does not exist.
  const lags = answer.lags.filter((it) => it.topic === "" || mayAny(rights, actions, it.topic));
  const members = answer.members.filter((it) =>
    topicsOf(it).every((topic) => mayAny(rights, actions, topic)),
  );
  const isSeen = members.length > 0 || lags.some((it) => it.topic !== "");
  const { groupEpoch, state } = isSeen ? answer : { groupEpoch: 0, state: "empty" };
  return { ...answer, groupEpoch, state, members, lags };
}

/** What a member reads, and what it holds of topics that it has just given up: names, some of them twice. */
export function topicsOf(member: {
  readonly topics: readonly string[];
  readonly assigned: readonly { readonly topic: string }[];
  readonly revoking: readonly { readonly topic: string }[];
}): readonly string[] {
  const { topics, assigned, revoking } = member;
  return [...topics, ...[...assigned, ...revoking].map((it) => it.topic)];
}

/** Groups that have an offset, or a member with a partition, in a topic that the key may watch. */
export function seenGroups(
  rights: Rights,
  answer: ListGroupsResponse,
  snapshot: LagSnapshot,
): ListGroupsResponse {
  const { actions } = accessRules.listGroups;
  const seen = new Set<string>();
  for (const { group, topic } of snapshot.rows) {
    if (!seen.has(group) && mayAny(rights, actions, topic)) seen.add(group);
  }
  return { groups: answer.groups.filter((it) => seen.has(it.group)) };
}
