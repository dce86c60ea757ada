/**
 * Who the members of consumer groups are, remembered for a moment, so that a fetch need not ask metadata whether its member is still one.
 * What is remembered never outlives what it says: no partition can be another member's before it is forgotten here, since a session has
 * to end first, or a rebalance timeout to pass that begins later and is no shorter. Called by `groups.ts`.
 */
import type { Clock } from "../core/clock.ts";
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import type {
  HeartbeatResult,
  MemberPartition,
  MetadataStore,
} from "../metadata/metadata-store.ts";
import { JoinedReads } from "./joined-reads.ts";

/** The shortest rebalance timeout that a member may have, ms. */
export const REBALANCE_MS_MIN = 1_000;

/** How long a fetch trusts what metadata said about a member: not longer than the shortest rebalance timeout. */
const KNOWN_MS = REBALANCE_MS_MIN;

/** Members remembered; the one heard of longest ago is forgotten first. */
const KNOWN_MAX = 10_000;

/** A member as metadata knows it. */
export class KnownMember {
  readonly epoch: number;
  /** The epoch at which it got each partition that it holds. */
  readonly #held: ReadonlyMap<string, number>;

  constructor(epoch: number, held: readonly MemberPartition[]) {
    this.epoch = epoch;
    this.#held = new Map(held.map((it) => [partitionKey(it.topicId, it.partition), it.epoch]));
  }

  /** Whether it may act on the partition at the epoch that it says: it held it by then, and has not been that far by itself (KIP-1251). */
  mayAct(epoch: number, { topicId, partition }: TopicPartition): boolean {
    const since = this.#held.get(partitionKey(topicId, partition));
    return since !== undefined && since <= epoch && epoch <= this.epoch;
  }
}

interface Remembered {
  readonly member: KnownMember;
  /** By the monotonic clock. */
  readonly until: number;
}

export class GroupMembers {
  readonly #metadata: MetadataStore;
  readonly #clock: Clock;
  readonly #known = new Map<string, Remembered>();
  readonly #reads = new JoinedReads<ReadonlyMap<string, KnownMember>>();

  constructor(components: { readonly metadata: MetadataStore; readonly clock: Clock }) {
    this.#metadata = components.metadata;
    this.#clock = components.clock;
  }

  /** From memory; undefined if it has to be asked for. */
  remembered(group: string, memberId: string): KnownMember | undefined {
    const known = this.#known.get(memberKey(group, memberId));
    return known !== undefined && this.#clock.monotonic() < known.until ? known.member : undefined;
  }

  /** From metadata, as of now; undefined if there is no such member. One question for all who ask about the group at once. */
  async ask(group: string, memberId: string): Promise<KnownMember | undefined> {
    const members = await this.#reads.read(group, () => this.#read(group));
    const member = members.get(memberId);
    if (member === undefined) this.forget(group, memberId);
    return member;
  }

  /** What a heartbeat, asked for at `askedAt` (monotonic), was answered. */
  heard(group: string, memberId: string, answer: HeartbeatResult, askedAt: number): void {
    const { memberEpoch, assigned } = answer;
    this.#remember(group, memberId, new KnownMember(memberEpoch, assigned), askedAt + KNOWN_MS);
  }

  forget(group: string, memberId: string): void {
    this.#known.delete(memberKey(group, memberId));
  }

  async #read(group: string): Promise<ReadonlyMap<string, KnownMember>> {
    const askedAt = this.#clock.monotonic();
    const state = await this.#metadata.describeGroup(group);
    const members = new Map<string, KnownMember>();
    for (const { memberId, memberEpoch, assigned, revoking, expiresInMs } of state?.members ?? []) {
      members.set(memberId, new KnownMember(memberEpoch, [...assigned, ...revoking]));
      // What it is to let go of may be another's at any moment: that is never remembered.
      const stays = new KnownMember(memberEpoch, assigned);
      this.#remember(group, memberId, stays, askedAt + Math.min(KNOWN_MS, expiresInMs));
    }
    return members;
  }

  #remember(group: string, memberId: string, member: KnownMember, until: number): void {
    const key = memberKey(group, memberId);
    this.#known.delete(key);
    this.#known.set(key, { member, until });
    if (this.#known.size <= KNOWN_MAX) return;
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest);
      break;
    }
  }
}

/** Neither part can hold a zero byte that would make two keys equal: the length tells where the first ends. */
function memberKey(group: string, memberId: string): string {
  return `${group.length}:${group}${memberId}`;
}
