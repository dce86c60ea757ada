/**
 * A group while a change of it is worked out: a snapshot that can be changed, and that knows afterwards which rows a store has to write.
 * The moves of partitions are here, each keeping the rules of `group-snapshot.ts`; when to make which is `group-machine.ts`'s, its
 * only caller.
 */
import { partitionKey } from "../core/topic.ts";
import { assignPartitions } from "./group-assignor.ts";
import {
  type GroupChange,
  type GroupMember,
  type GroupSnapshot,
  type GroupTopic,
  inOrder,
  NOBODY,
  NOT_TOLD,
  type Placement,
  RETURNED,
} from "./group-snapshot.ts";
import { named } from "./group-view.ts";
import type { MemberPartition } from "./metadata-store.ts";

export class GroupDraft {
  readonly group: string;
  epoch: number;
  topicsVersion: number;
  readonly #topics: ReadonlyMap<string, GroupTopic>;
  readonly #members: Map<string, GroupMember>;
  readonly #placements: Map<string, Placement>;
  readonly #removedMembers = new Set<string>();
  readonly #savedMembers = new Set<string>();
  readonly #pending = new Set<string>();
  readonly #changed = new Map<string, Placement>();

  constructor(snapshot: GroupSnapshot) {
    this.group = snapshot.group;
    this.epoch = snapshot.epoch;
    this.topicsVersion = snapshot.topicsVersion;
    this.#topics = new Map(snapshot.topics.map((it) => [it.topicId, it]));
    this.#members = new Map(inOrder(snapshot.members).map((it) => [it.memberId, it]));
    this.#placements = new Map(
      snapshot.placements.map((it) => [partitionKey(it.topicId, it.partition), it]),
    );
  }

  /** In the order of joining. */
  get members(): readonly GroupMember[] {
    return [...this.#members.values()];
  }

  member(memberId: string): GroupMember | undefined {
    return this.#members.get(memberId);
  }

  /** What it holds: assigned or revoking. */
  heldBy(memberId: string): readonly Placement[] {
    return [...this.#placements.values()].filter((it) => it.holder === memberId);
  }

  /** How many partitions are to be its own, and are somebody else's or free. */
  awaitedBy(memberId: string): number {
    let awaited = 0;
    for (const it of this.#placements.values()) {
      if (it.target === memberId && it.holder !== memberId) awaited++;
    }
    return awaited;
  }

  /** With their topics' names, by name and partition. */
  named(placements: readonly Placement[]): MemberPartition[] {
    return named(
      placements,
      new Map([...this.#topics.values()].map((it) => [it.topicId, it.name])),
    );
  }

  /** Takes from their holders what they did not let go of within the time they had for that. */
  releaseOverdue(nowMs: number): void {
    for (const it of [...this.#placements.values()]) {
      if (it.revokeByMs > NOT_TOLD && it.revokeByMs <= nowMs) this.release(it);
    }
  }

  save(member: GroupMember): void {
    this.#members.set(member.memberId, member);
    this.#savedMembers.add(member.memberId);
  }

  /** Ends a membership: what it held is free, what it was to get is nobody's until the next targets are made. */
  evict(memberId: string): void {
    this.#members.delete(memberId);
    this.#savedMembers.delete(memberId);
    this.#removedMembers.add(memberId);
    for (const it of [...this.#placements.values()]) {
      if (it.holder !== memberId && it.target !== memberId) continue;
      const target = it.target === memberId ? NOBODY : it.target;
      if (it.holder === memberId) this.#put(freed({ ...it, target }));
      else this.#put({ ...it, target });
    }
  }

  /** Another process goes on in a member's place: everything of it gets the new id. What it was to let go of is free. */
  replace(memberId: string, heir: GroupMember): void {
    for (const it of [...this.#placements.values()]) {
      if (it.holder !== memberId && it.target !== memberId) continue;
      const target = it.target === memberId ? heir.memberId : it.target;
      if (it.holder !== memberId) this.#put({ ...it, target });
      else if (it.target === memberId) this.#put({ ...it, target, holder: heir.memberId });
      else this.#put(freed(it));
    }
    this.#members.delete(memberId);
    this.#savedMembers.delete(memberId);
    if (memberId !== heir.memberId) this.#removedMembers.add(memberId);
    this.save(heir);
  }

  /** Gives the holder's partition up. */
  release(placement: Placement): void {
    this.#put(freed(placement));
  }

  /** The target takes what is free for it, at the group's epoch. */
  take(placement: Placement): void {
    const taken = { ...placement, holder: placement.target, epoch: this.epoch };
    this.#put({ ...taken, revokeByMs: NOT_TOLD });
  }

  /** The holder is told to let go, or needs no telling any more. */
  setRevokeBy(placement: Placement, revokeByMs: number): void {
    this.#put({ ...placement, revokeByMs });
  }

  freeFor(memberId: string): readonly Placement[] {
    return [...this.#placements.values()].filter(
      (it) => it.target === memberId && it.holder === NOBODY,
    );
  }

  /** Makes the targets anew. Answers whether that changed any. */
  retarget(topicsVersion: number): boolean {
    this.topicsVersion = topicsVersion;
    const wanted = this.#subscribed();
    const partitions = wanted.map(({ topic, partition, key }) => {
      const it = this.#placements.get(key);
      return { topic: topic.name, partition, ...this.#ownerOf(it) };
    });
    const owners = assignPartitions(this.members, partitions);
    let changed = false;
    for (const [i, { topic, partition, key }] of wanted.entries()) {
      const target = owners[i] ?? NOBODY;
      const known = this.#placements.get(key);
      if (known?.target === target) continue;
      const { topicId } = topic;
      const fresh = { topicId, partition, holder: NOBODY, epoch: 0, revokeByMs: NOT_TOLD };
      this.#aim(known ?? { ...fresh, target }, target);
      changed = true;
    }
    const keys = new Set(wanted.map((it) => it.key));
    for (const [key, it] of [...this.#placements]) {
      if (keys.has(key)) continue;
      changed ||= it.target !== NOBODY;
      this.#aim(it, NOBODY);
    }
    return changed;
  }

  /** The rows to write. */
  change(): GroupChange {
    const changed = [...this.#changed.values()];
    const gone = (it: Placement) => it.holder === NOBODY && it.target === NOBODY;
    const saved = [...this.#savedMembers].flatMap((it) => this.#members.get(it) ?? []);
    return {
      epoch: this.epoch,
      topicsVersion: this.topicsVersion,
      checkAtMs: this.#checkAtMs(),
      removedMembers: [...this.#removedMembers],
      savedMembers: saved,
      pendingMembers: [...this.#pending].filter(
        (it) => this.#members.has(it) && !this.#savedMembers.has(it),
      ),
      removedPlacements: changed.filter(gone),
      savedPlacements: changed.filter((it) => !gone(it)),
    };
  }

  /** The next moment at which somebody's time may be over. */
  #checkAtMs(): number {
    let at = Number.MAX_SAFE_INTEGER;
    for (const it of this.#members.values()) at = Math.min(at, it.expiresAtMs);
    for (const it of this.#placements.values()) {
      if (it.revokeByMs > NOT_TOLD) at = Math.min(at, it.revokeByMs);
    }
    return at;
  }

  /** Every partition that somebody subscribes to, in an order that is always the same. */
  #subscribed(): readonly {
    readonly topic: GroupTopic;
    readonly partition: number;
    readonly key: string;
  }[] {
    const names = new Set(this.members.flatMap((it) => it.topics));
    const topics = [...this.#topics.values()].filter((it) => names.has(it.name));
    topics.sort((a, b) => compare(a.name, b.name));
    return topics.flatMap((topic) =>
      Array.from({ length: topic.partitions }, (_, partition) => ({
        ...{ topic, partition, key: partitionKey(topic.topicId, partition) },
      })),
    );
  }

  /** Who is to have it; or who still has it, if that one is gone. */
  #ownerOf(it: Placement | undefined): {
    readonly owner: string | undefined;
    readonly isTaken: boolean;
  } {
    if (it === undefined) return { owner: undefined, isTaken: false };
    const owner = it.target === NOBODY ? it.holder : it.target;
    return owner === NOBODY
      ? { owner: undefined, isTaken: false }
      : { owner, isTaken: owner === it.holder };
  }

  #aim(placement: Placement, target: string): void {
    const { holder, revokeByMs } = placement;
    if (holder === NOBODY || holder === target) {
      const told = holder === target && revokeByMs !== NOT_TOLD;
      this.#put({ ...placement, target, revokeByMs: told ? RETURNED : NOT_TOLD });
    } else if (this.#members.get(holder)?.isAway === true) {
      // It said that it reads no more.
      this.#put(freed({ ...placement, target }));
    } else {
      // Told already, if it was to go to somebody else: its time goes on.
      const goesOn = revokeByMs > NOT_TOLD ? revokeByMs : NOT_TOLD;
      this.#put({ ...placement, target, revokeByMs: goesOn });
    }
  }

  #put(placement: Placement): void {
    const key = partitionKey(placement.topicId, placement.partition);
    this.#changed.set(key, placement);
    const { holder, target } = placement;
    if (holder === NOBODY && target === NOBODY) this.#placements.delete(key);
    else this.#placements.set(key, placement);
    // Whoever can act on it must look with the next heartbeat.
    if (holder === NOBODY) this.#pending.add(target);
    else if (holder !== target || placement.revokeByMs === RETURNED) this.#pending.add(holder);
  }
}

function freed(placement: Placement): Placement {
  return { ...placement, holder: NOBODY, epoch: 0, revokeByMs: NOT_TOLD };
}

/** By UTF-16 units: the same everywhere. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
