/**
 * `AgentApi`'s group calls on top of metadata, which decides; this room checks requests, and remembers for a moment who the
 * members are, so that a fetch need not ask metadata whether its member is still one. Called by the services.
 */
import type { Clock } from "../core/clock.ts";
import { invalid, StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { partitionKey } from "../core/topic.ts";
import type { GroupAssignment, MetadataStore } from "../metadata/metadata-store.ts";
import type { FetchRequest } from "../rpc/gen/streamhouse/v1/consumer.ts";
import type {
  CommitOffsetsRequest,
  CommitOffsetsResponse,
  DeleteGroupRequest,
  DeleteGroupResponse,
  DescribeGroupRequest,
  FetchOffsetsRequest,
  FetchOffsetsResponse,
  HeartbeatRequest,
  HeartbeatResponse,
  LeaveRequest,
  LeaveResponse,
  ListGroupsResponse,
} from "../rpc/gen/streamhouse/v1/group.ts";

const SESSION_MS = { default: 10_000, min: 1_000, max: 300_000 };
const REBALANCE_MS = { default: 60_000, min: 1_000, max: 3_600_000 };

/** How long a fetch trusts what metadata said about a member. */
const MEMBER_KNOWN_MS = 1_000;

/** Members remembered; the one asked for longest ago is forgotten first. */
const MEMBERS_KNOWN_MAX = 10_000;

interface KnownMember {
  readonly epoch: number;
  readonly assigned: ReadonlySet<string>;
  /** By the monotonic clock. */
  readonly until: number;
}

export class Groups {
  readonly #metadata: MetadataStore;
  readonly #clock: Clock;
  readonly #members = new Map<string, KnownMember>();

  constructor(components: { readonly metadata: MetadataStore; readonly clock: Clock }) {
    this.#metadata = components.metadata;
    this.#clock = components.clock;
  }

  async heartbeat(request: HeartbeatRequest): Promise<HeartbeatResponse> {
    const { group, memberId, memberEpoch, clientId, topics } = request;
    checkGroup(group);
    checkMemberId(memberId);
    checkText("client_id", clientId, limits.groupNameCharactersMax);
    if (topics.length > limits.partitionsPerRequestMax) {
      throw wrong(
        "topics",
        `has ${topics.length} names`,
        `at most ${limits.partitionsPerRequestMax}`,
      );
    }
    checkText("instance_id", request.instanceId, limits.groupNameCharactersMax);
    checkCount("owned", request.owned.length);
    const { instanceId, owned } = request;
    const sessionTimeoutMs = within("session_timeout_ms", request.sessionTimeoutMs, SESSION_MS);
    const rebalanceTimeoutMs = within(
      "rebalance_timeout_ms",
      request.rebalanceTimeoutMs,
      REBALANCE_MS,
    );
    const input = {
      ...{ group, memberId, instanceId, memberEpoch, clientId, topics, owned },
      ...{ sessionTimeoutMs, rebalanceTimeoutMs },
    };
    const answer = await this.#metadata.heartbeat(input).catch((error: unknown) => {
      this.#members.delete(memberKey(group, memberId));
      throw error;
    });
    const holds = [...answer.assigned, ...answer.revoking];
    this.#remember(group, memberId, answer.memberEpoch, holds);
    return {
      memberEpoch: answer.memberEpoch,
      heartbeatIntervalMs: Math.floor(sessionTimeoutMs / 3),
      assigned: answer.assigned.map(({ topicId, topic, partition }) => ({
        topicId,
        topic,
        partition,
      })),
    };
  }

  async leave(request: LeaveRequest): Promise<LeaveResponse> {
    checkGroup(request.group);
    checkMemberId(request.memberId);
    this.#members.delete(memberKey(request.group, request.memberId));
    const { keepPlace } = request;
    await this.#metadata.leaveGroup(request.group, request.memberId, { keepPlace });
    return {};
  }

  async commitOffsets(request: CommitOffsetsRequest): Promise<CommitOffsetsResponse> {
    const { group, memberId, memberEpoch, offsets } = request;
    checkGroup(group);
    if (memberId !== "") checkMemberId(memberId);
    checkCount("offsets", offsets.length);
    offsets.forEach((it, i) => {
      if (!Number.isSafeInteger(it.offset) || it.offset < 0) {
        throw wrong(`offsets[${i}].offset`, `is ${it.offset}`, "0 or more");
      }
      const bytes = new TextEncoder().encode(it.metadata).length;
      if (bytes > limits.commitMetadataBytesMax) {
        const most = `at most ${limits.commitMetadataBytesMax}`;
        throw wrong(`offsets[${i}].metadata`, `has ${bytes} bytes`, most);
      }
    });
    await this.#metadata.commitOffsets(group, { memberId, memberEpoch }, offsets);
    return {};
  }

  async fetchOffsets(request: FetchOffsetsRequest): Promise<FetchOffsetsResponse> {
    const { group, partitions } = request;
    checkGroup(group);
    checkCount("partitions", partitions.length);
    const asked = partitions.length === 0 ? undefined : partitions;
    const offsets = await this.#metadata.fetchOffsets(group, asked);
    return { offsets: offsets.map((it) => ({ ...it })) };
  }

  async list(): Promise<ListGroupsResponse> {
    const groups = await this.#metadata.listGroups();
    return { groups: groups.map((it) => ({ ...it })) };
  }

  async delete(request: DeleteGroupRequest): Promise<DeleteGroupResponse> {
    checkGroup(request.group);
    await this.#metadata.deleteGroup(request.group);
    return {};
  }

  /**
   * Refuses a fetch of a member that is stale, or that asks for partitions it does not have.
   * @throws StreamHouseError `UNKNOWN_MEMBER`, `GROUP_FENCED`
   */
  async checkFetch(request: FetchRequest): Promise<void> {
    const { group, memberId, memberEpoch, partitions } = request;
    checkGroup(group);
    checkMemberId(memberId);
    let member = this.#known(group, memberId);
    const stale = (it: KnownMember) =>
      memberEpoch > it.epoch ||
      partitions.some((p) => !it.assigned.has(partitionKey(p.topicId, p.partition)));
    // A refusal is never given from memory: the assignment may have changed since.
    if (member === undefined || stale(member)) member = await this.#ask(group, memberId);
    if (member === undefined) {
      throw fenced(
        "UNKNOWN_MEMBER",
        `group ${group} has no member ${memberId}: its session ended; join again with member epoch 0`,
      );
    }
    if (!stale(member)) return;
    throw fenced(
      "GROUP_FENCED",
      `member ${memberId} of group ${group} asks at epoch ${memberEpoch} for partitions that are not assigned to it ` +
        `(it is at epoch ${member.epoch}): take the assignment of the next heartbeat`,
    );
  }

  #known(group: string, memberId: string): KnownMember | undefined {
    const member = this.#members.get(memberKey(group, memberId));
    return member !== undefined && this.#clock.monotonic() < member.until ? member : undefined;
  }

  async #ask(group: string, memberId: string): Promise<KnownMember | undefined> {
    const state = await this.#metadata.describeGroup(group);
    const member = state?.members.find((it) => it.memberId === memberId);
    if (member === undefined) {
      this.#members.delete(memberKey(group, memberId));
      return undefined;
    }
    const holds = [...member.assigned, ...member.revoking];
    return this.#remember(group, memberId, member.memberEpoch, holds);
  }

  #remember(
    group: string,
    memberId: string,
    epoch: number,
    assigned: readonly GroupAssignment[],
  ): KnownMember {
    const key = memberKey(group, memberId);
    const member = {
      epoch,
      assigned: new Set(assigned.map((it) => partitionKey(it.topicId, it.partition))),
      until: this.#clock.monotonic() + MEMBER_KNOWN_MS,
    };
    this.#members.delete(key);
    this.#members.set(key, member);
    if (this.#members.size > MEMBERS_KNOWN_MAX) {
      for (const oldest of this.#members.keys()) {
        this.#members.delete(oldest);
        break;
      }
    }
    return member;
  }
}

/** @throws StreamHouseError `INVALID_ARGUMENT` */
export function checkDescribe({ group, positions }: DescribeGroupRequest): void {
  if (group !== "" || positions.length === 0) checkGroup(group);
  checkCount("positions", positions.length);
  positions.forEach(({ offset }, i) => {
    if (Number.isSafeInteger(offset) && offset >= 0) return;
    throw wrong(`positions[${i}].offset`, `is ${offset}`, "0 or more");
  });
}

/** @throws StreamHouseError `INVALID_ARGUMENT` (field `group`) */
function checkGroup(group: string): void {
  if (group === "") throw wrong("group", "is empty", "the group's name");
  checkText("group", group, limits.groupNameCharactersMax);
}

function checkMemberId(memberId: string): void {
  if (memberId === "") throw wrong("member_id", "is empty", "an id that the client chose");
  checkText("member_id", memberId, limits.groupNameCharactersMax);
}

function checkText(field: string, text: string, max: number): void {
  if (text.length > max) throw wrong(field, `has ${text.length} characters`, `at most ${max}`);
}

/** 0 stands for the default. */
function within(
  field: string,
  asked: number,
  range: { readonly default: number; readonly min: number; readonly max: number },
): number {
  const value = asked || range.default;
  if (value >= range.min && value <= range.max) return value;
  const expected = `${range.min} to ${range.max}, or 0 for ${range.default}`;
  throw wrong(field, `is ${value}`, expected);
}

function checkCount(field: string, count: number): void {
  const max = limits.partitionsPerRequestMax;
  if (count > max) throw wrong(field, `has ${count} entries`, `at most ${max}`);
}

function wrong(field: string, problem: string, expected: string): StreamHouseError {
  return invalid("INVALID_ARGUMENT", `${field} ${problem}: expected ${expected}`, { field });
}

function fenced(code: "UNKNOWN_MEMBER" | "GROUP_FENCED", message: string): StreamHouseError {
  return new StreamHouseError({ code, kind: "fenced", message });
}

/** Neither part can hold a zero byte that would make two keys equal: the length tells where the first ends. */
function memberKey(group: string, memberId: string): string {
  return `${group.length}:${group}${memberId}`;
}
