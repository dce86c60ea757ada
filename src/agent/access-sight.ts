/**
 * What a request does not tell by itself: the topics of a group, for what is judged by them, and for answers of which only a part may be
 * seen. Asks metadata. Called by `access.ts`.
 */
import { type AccessRight, allowsEverywhere } from "../core/access.ts";
import type { LagSnapshot, MetadataStore } from "../metadata/metadata-store.ts";
import type { AgentApi } from "../rpc/agent-api.ts";
import type {
  DescribeClusterResponse,
  ListTopicsResponse,
} from "../rpc/gen/streamhouse/v1/admin.ts";
import type {
  DeleteGroupRequest,
  DescribeGroupResponse,
  FetchOffsetsResponse,
  LeaveRequest,
  ListGroupsResponse,
} from "../rpc/gen/streamhouse/v1/group.ts";
import { accessRules, type MissingRight, mayAny, type TopicNames } from "./access-rules.ts";
import {
  seenCluster,
  seenGroup,
  seenGroups,
  seenOffsets,
  seenTopics,
  topicsOf,
} from "./access-views.ts";
import { JoinedReads } from "./joined-reads.ts";

export interface AccessSightComponents {
  readonly metadata: Pick<MetadataStore, "describeGroup" | "lagSnapshot">;
  readonly names: TopicNames;
  /** Looks for a topic that `names` does not know. */
  readonly learn: (topicId: string) => Promise<void>;
}

type Rights = readonly AccessRight[];

export class AccessSight {
  readonly #parts: AccessSightComponents;
  /** Costs as much as all groups have offsets: one reading for all who ask at the same time. */
  readonly #snapshots = new JoinedReads<LagSnapshot>();

  constructor(components: AccessSightComponents) {
    this.#parts = components;
  }

  /** What is missing for a request that is about a group's topics without naming them. */
  async missingBeyond(
    rights: Rights,
    method: keyof AgentApi,
    request: unknown,
  ): Promise<MissingRight | undefined> {
    const { actions, beyond } = accessRules[method];
    if (beyond !== "group" || actions.some((it) => allowsEverywhere(rights, it))) return undefined;
    const { group } = request as LeaveRequest | DeleteGroupRequest;
    const topics =
      method === "leave"
        ? await this.#topicsOfMember(group, (request as LeaveRequest).memberId)
        : await this.#topicsOfGroup(group);
    const all = topics.every((topic) => mayAny(rights, actions, topic));
    return all ? undefined : { actions, group, everywhere: false };
  }

  /** The answer, as far as it may be seen. */
  async visible(rights: Rights, method: keyof AgentApi, answer: unknown): Promise<unknown> {
    const { names } = this.#parts;
    switch (method) {
      case "listTopics":
        return seenTopics(rights, answer as ListTopicsResponse);
      case "describeCluster": {
        const cluster = answer as DescribeClusterResponse;
        await this.#learnAll(cluster.leases);
        return seenCluster(rights, cluster, names);
      }
      case "fetchOffsets": {
        const found = answer as FetchOffsetsResponse;
        await this.#learnAll(found.offsets);
        return seenOffsets(rights, found, names);
      }
      case "describeGroup":
        return seenGroup(rights, answer as DescribeGroupResponse);
      case "listGroups":
        return this.#groups(rights, answer as ListGroupsResponse);
      default:
        return answer;
    }
  }

  async #groups(rights: Rights, answer: ListGroupsResponse): Promise<ListGroupsResponse> {
    const { actions } = accessRules.listGroups;
    if (actions.some((it) => allowsEverywhere(rights, it))) return answer;
    const read = () => this.#parts.metadata.lagSnapshot();
    return seenGroups(rights, answer, await this.#snapshots.read("", read));
  }

  async #learnAll(all: readonly { readonly topicId: string }[]): Promise<void> {
    const unknown = all.find((it) => this.#parts.names(it.topicId) === undefined);
    if (unknown !== undefined) await this.#parts.learn(unknown.topicId);
  }

  async #topicsOfMember(group: string, memberId: string): Promise<readonly string[]> {
    const state = await this.#parts.metadata.describeGroup(group);
    const member = state?.members.find((it) => it.memberId === memberId);
    return member === undefined ? [] : topicsOf(member);
  }

  async #topicsOfGroup(group: string): Promise<readonly string[]> {
    const { metadata } = this.#parts;
    const [state, { rows }] = await Promise.all([
      metadata.describeGroup(group),
      metadata.lagSnapshot(group),
    ]);
    const members = state?.members ?? [];
    return [...rows.map((it) => it.topic), ...members.flatMap(topicsOf)];
  }
}
