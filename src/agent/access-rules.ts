/**
 * Who may call what: one rule for each method, and the judgement, which is a pure function of the rights, the method and the request.
 * A method without a rule does not compile. A topic's id is judged by the name that it stands for. The table in docs/access.md is
 * made of these rules; a test compares them. Called by `access.ts`.
 */
import {
  type AccessAction,
  type AccessRight,
  accessActions,
  allows,
  allowsEverywhere,
  allowsSomewhere,
} from "../core/access.ts";
import type { AgentApi } from "../rpc/agent-api.ts";

/** The name of the topic with this id; undefined if there is none. */
export type TopicNames = (topicId: string) => string | undefined;

/** A topic as a request names it: either may be empty. */
export interface NamedTopic {
  readonly name: string;
  readonly topicId: string;
}

/** What is missing. */
export interface MissingRight {
  /** Any of them would do. */
  readonly actions: readonly AccessAction[];
  /** As the request names it, never by the name behind an id; undefined: not about one topic. */
  readonly topic?: string | undefined;
  /** About every topic of this group. */
  readonly group?: string | undefined;
  /** The right must be for every topic. */
  readonly everywhere: boolean;
}

/** What a request may ask for. */
export interface AccessRule<Request> {
  /** Any of them will do. */
  readonly actions: readonly AccessAction[];
  /**
   * `topics`: for each topic that the request names (for some topic, if it names none) · `some`: for some topic · `every`: for every
   * topic.
   */
  readonly scope: "topics" | "some" | "every";
  /** What is looked at beyond the request, or left out of the answer. */
  readonly beyond?: "group" | "answer" | undefined;
  /** Calls `visit` for each topic that the request names, until it answers something. */
  readonly topics: (request: Request, visit: Visit) => MissingRight | undefined;
}

type Visit = (name: string, topicId: string) => MissingRight | undefined;

type AccessRules = {
  readonly [K in keyof AgentApi]: AccessRule<Parameters<AgentApi[K]>[0]>;
};

const any: readonly AccessAction[] = accessActions;
const watching: readonly AccessAction[] = ["consume", "admin"];

/** By method. `ProduceStream` is a stream of `produce`. */
export const accessRules: AccessRules = {
  initProducer: some(["produce"]),
  produce: {
    ...named(["produce"]),
    topics: ({ batches }, visit) => first(batches, (it) => visit(it.topic, it.topicId)),
  },
  fetch: byId(["consume"], (request) => request.partitions),
  listOffsets: byId(["consume"], (request) => request.partitions),
  heartbeat: {
    ...named(["consume"]),
    topics: ({ topics, owned }, visit) =>
      first(topics, (name) => visit(name, "")) ?? first(owned, (it) => visit("", it.topicId)),
  },
  // It names a member: every topic that this one subscribed to is looked at.
  leave: { ...some(["consume"]), beyond: "group" },
  commitOffsets: byId(["consume"], (request) => request.offsets),
  fetchOffsets: { ...byId(["consume"], (request) => request.partitions), beyond: "answer" },
  listGroups: { ...some(watching), beyond: "answer" },
  describeGroup: { ...byId(watching, (request) => request.positions), beyond: "answer" },
  // Every topic that the group has an offset or a member in is looked at.
  deleteGroup: { ...some(["admin"]), beyond: "group" },
  createTopic: byName(["admin"]),
  deleteTopic: byName(["admin"]),
  alterTopic: byName(["admin"]),
  listTopics: { ...some(any), beyond: "answer" },
  describeTopic: {
    ...named(any),
    topics: ({ name, topicId }, visit) => visit(name, name === "" ? topicId : ""),
  },
  describeCluster: { ...some(any), beyond: "answer" },
  createKey: every(["admin"]),
  listKeys: every(["admin"]),
  revokeKey: every(["admin"]),
};

/** What is missing for the request; undefined: it is allowed, as far as the request tells. */
export function judge<K extends keyof AgentApi>(
  rights: readonly AccessRight[],
  method: K,
  request: Parameters<AgentApi[K]>[0],
  names: TopicNames,
): MissingRight | undefined {
  const rule: AccessRule<Parameters<AgentApi[K]>[0]> = accessRules[method];
  const { actions, scope } = rule;
  const missing = { actions, everywhere: scope === "every" };
  if (scope === "every") {
    return actions.some((it) => allowsEverywhere(rights, it)) ? undefined : missing;
  }
  // Cheapest, and all there is to ask where no topic is named.
  if (!actions.some((it) => allowsSomewhere(rights, it))) return missing;
  if (scope === "some") return undefined;
  return rule.topics(request, (name, topicId) => judgeTopic(rights, actions, name, topicId, names));
}

/** Whether one of the actions is allowed with a topic of this name. */
export function mayAny(
  rights: readonly AccessRight[],
  actions: readonly AccessAction[],
  topic: string,
): boolean {
  return actions.some((it) => allows(rights, it, topic));
}

/** As agents write ids. */
const TOPIC_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

function judgeTopic(
  rights: readonly AccessRight[],
  actions: readonly AccessAction[],
  name: string,
  topicId: string,
  names: TopicNames,
): MissingRight | undefined {
  const missing = () => ({ actions, topic: name === "" ? topicId : name, everywhere: false });
  if (name !== "" && !mayAny(rights, actions, name)) return missing();
  if (topicId === "") {
    // Neither: the agent says what is wrong with the request, and does nothing.
    return undefined;
  }
  const behind = names(topicId);
  if (behind === name && name !== "") return undefined;
  // A topic that does not exist is nobody's: the agent says that there is none. Another spelling of an id is no id of ours.
  if (behind === undefined) return TOPIC_ID.test(topicId) ? undefined : missing();
  return mayAny(rights, actions, behind) ? undefined : missing();
}

function first<T>(
  all: readonly T[],
  visit: (it: T) => MissingRight | undefined,
): MissingRight | undefined {
  for (const it of all) {
    const missing = visit(it);
    if (missing !== undefined) return missing;
  }
  return undefined;
}

function some<Q>(actions: readonly AccessAction[]): AccessRule<Q> {
  return { actions, scope: "some", topics: () => undefined };
}

function every<Q>(actions: readonly AccessAction[]): AccessRule<Q> {
  return { actions, scope: "every", topics: () => undefined };
}

function named(actions: readonly AccessAction[]): Pick<AccessRule<unknown>, "actions" | "scope"> {
  return { actions, scope: "topics" };
}

function byName<Q extends { readonly name: string }>(
  actions: readonly AccessAction[],
): AccessRule<Q> {
  return { ...named(actions), topics: ({ name }, visit) => visit(name, "") };
}

function byId<Q>(
  actions: readonly AccessAction[],
  partitions: (request: Q) => readonly { readonly topicId: string }[],
): AccessRule<Q> {
  return {
    ...named(actions),
    topics: (request, visit) => first(partitions(request), (it) => visit("", it.topicId)),
  };
}
