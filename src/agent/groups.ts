/**
 * `AgentApi`'s group calls on top of metadata, which decides; this room checks requests, refuses fetches of stale members, and lets
 * offsets expire. Called by the services, and by the agent's ticker.
 */
import type { Clock } from "../core/clock.ts";
import { invalid, StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { Logger } from "../core/logger.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
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
import type { AgentInstruments } from "./agent-instruments.ts";
import { GroupMembers, type KnownMember, REBALANCE_MS_MIN } from "./group-members.ts";

const SESSION_MS = { default: 10_000, min: 1_000, max: 300_000 };
const REBALANCE_MS = { default: 60_000, min: REBALANCE_MS_MIN, max: 3_600_000 };

/** When a member should ask again that waits for partitions which others are to let go of, ms. */
const AWAITING_MS = 500;

/** Groups forgotten in one transaction, and in one round: what is left waits for the next. */
const EXPIRY = { step: 100, roundMax: 10_000 } as const;

export interface GroupsComponents {
  readonly metadata: MetadataStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly instruments: Pick<AgentInstruments, "groupsExpired">;
}

export interface GroupsOptions {
  /** Groups without a live member and without a commit for so long are forgotten, ms; 0: never. */
  readonly offsetsRetentionMs: number;
}

export class Groups {
  readonly #parts: GroupsComponents;
  readonly #metadata: MetadataStore;
  readonly #members: GroupMembers;
  readonly #offsetsRetentionMs: number;

  constructor(components: GroupsComponents, options: GroupsOptions) {
    this.#parts = components;
    this.#metadata = components.metadata;
    this.#members = new GroupMembers(components);
    this.#offsetsRetentionMs = options.offsetsRetentionMs;
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
    const askedAt = this.#parts.clock.monotonic();
    // Whatever it says it has let go of must not be served any more, also while the answer is on its way.
    this.#members.forget(group, memberId);
    const answer = await this.#metadata.heartbeat(input);
    this.#members.heard(group, memberId, answer, askedAt);
    const usualMs = Math.floor(sessionTimeoutMs / 3);
    return {
      memberEpoch: answer.memberEpoch,
      letGoWithinMs: Math.max(0, answer.letGoWithinMs),
      heartbeatIntervalMs: answer.awaited > 0 ? Math.min(usualMs, AWAITING_MS) : usualMs,
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
    this.#members.forget(request.group, request.memberId);
    const { keepPlace, memberEpoch } = request;
    const options = memberEpoch > 0 ? { keepPlace, memberEpoch } : { keepPlace };
    await this.#metadata.leaveGroup(request.group, request.memberId, options);
    return {};
  }

  async commitOffsets(request: CommitOffsetsRequest): Promise<CommitOffsetsResponse> {
    const { group, memberId, memberEpoch, offsets, forwardOnly } = request;
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
    await this.#metadata.commitOffsets(group, { memberId, memberEpoch }, offsets, { forwardOnly });
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
    let member = this.#members.remembered(group, memberId);
    const isStale = (it: KnownMember) => partitions.some((p) => !it.mayAct(memberEpoch, p));
    // A refusal is never given from memory: the assignment may have changed since.
    if (member === undefined || isStale(member)) member = await this.#members.ask(group, memberId);
    if (member === undefined) {
      throw fenced(
        "UNKNOWN_MEMBER",
        `group ${group} has no member ${memberId}: its session ended; join again with member epoch 0`,
      );
    }
    if (!isStale(member)) return;
    throw fenced(
      "GROUP_FENCED",
      `member ${memberId} of group ${group} asks at epoch ${memberEpoch} for partitions that are not assigned to it ` +
        `(it is at epoch ${member.epoch}): take the assignment of the next heartbeat`,
    );
  }

  /** Forgets groups that nobody has used for long, with their offsets. One round of any agent does it for all. */
  async expire(): Promise<void> {
    if (this.#offsetsRetentionMs === 0) return;
    const { instruments, logger } = this.#parts;
    let total = 0;
    let expired: number = EXPIRY.step;
    while (expired >= EXPIRY.step && total < EXPIRY.roundMax) {
      expired = await this.#metadata.expireOffsets(this.#offsetsRetentionMs, EXPIRY.step);
      instruments.groupsExpired.add(expired);
      total += expired;
    }
    if (total > 0) {
      const retentionMs = this.#offsetsRetentionMs;
      logger.info("groups that nobody used were forgotten with their offsets", {
        ...{ groups: total, retentionMs },
      });
    }
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
