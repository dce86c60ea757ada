/**
 * Clients of one consumer group that join, read, let go late, crash, stall, lose answers, come back and change their minds, over a store
 * whose requests can also arrive late, all by one seed. The clients' own view is the model: a client may read what it was told until
 * it has let go of it, or must think that it is out (its session, or its time to let go, counted from before it asked). At every
 * step no two of them may read one partition, whatever the store believes.
 */
import assert from "node:assert/strict";
import { StreamHouseError } from "../../../src/core/errors.ts";
import type { RandomBytes } from "../../../src/core/ids.ts";
import type {
  GroupState,
  HeartbeatInput,
  HeartbeatResult,
  MetadataStore,
} from "../../../src/metadata/metadata-store.ts";

const GROUP = "g";
const SESSION_MS = 10_000;
/** Shorter than a session for some. */
const REBALANCE_MS = [5_000, 15_000] as const;

export interface GroupPlayComponents {
  readonly metadata: MetadataStore;
  readonly random: RandomBytes;
  readonly now: () => number;
  readonly advance: (ms: number) => Promise<void>;
}

/** What a partition that somebody reads is known by, and until when it may be kept once it is to be let go. */
interface Reading {
  readonly topicId: string;
  readonly topic: string;
  readonly partition: number;
  /** Undefined: it is to be kept. */
  letGoBy: number | undefined;
}

class Client {
  readonly memberId: string;
  readonly instanceId: string;
  topics: readonly string[];
  epoch = 0;
  /** Of its session, by its own count. */
  outAt = 0;
  readonly reads = new Map<string, Reading>();
  rebalanceTimeoutMs = 0;
  /** Does nothing until then. */
  stalledUntil = 0;

  constructor(memberId: string, instanceId: string, topics: readonly string[]) {
    this.memberId = memberId;
    this.instanceId = instanceId;
    this.topics = topics;
  }

  lose(): void {
    this.epoch = 0;
    this.reads.clear();
  }

  /** Fences itself: its session is over, as it counts. */
  isOut(now: number): boolean {
    return this.epoch > 0 && this.outAt <= now;
  }

  /** Drops what its time is over for. */
  dropLate(now: number): void {
    for (const [key, it] of [...this.reads]) {
      if (it.letGoBy !== undefined && it.letGoBy <= now) this.reads.delete(key);
    }
  }
}

const keyOf = (it: { readonly topicId: string; readonly partition: number }) =>
  `${it.topicId}/${it.partition}`;

/** What became of it, for the test that wants to know that all of it was tried. */
export interface GroupPlayCounts {
  moves: number;
  commits: number;
  late: number;
  lost: number;
  takenPlaces: number;
  putOut: number;
}

export class GroupPlay {
  readonly counts: GroupPlayCounts = {
    ...{ moves: 0, commits: 0, late: 0, lost: 0, takenPlaces: 0, putOut: 0 },
  };
  readonly #parts: GroupPlayComponents;
  readonly #clients: Client[] = [];
  /** Requests that were made, and have a copy that is still on its way. */
  readonly #late: (() => Promise<unknown>)[] = [];
  readonly #topics: string[] = [];
  #made = 0;

  constructor(parts: GroupPlayComponents) {
    this.#parts = parts;
  }

  async run(steps: number): Promise<void> {
    for (const name of ["t0", "t1"]) await this.#createTopic(name, 1 + this.#below(4));
    for (let step = 0; step < steps; step++) {
      await this.#step();
      this.#checkReaders();
    }
  }

  /** Nobody crashes or stalls any more: everybody has its share in the end, and the store says the same. */
  async settle(): Promise<void> {
    const { metadata } = this.#parts;
    this.#keepOneOfEachInstance();
    for (const client of this.#clients) client.stalledUntil = 0;
    for (let round = 0; round < 60; round++) {
      for (const client of [...this.#clients]) {
        for (const it of [...client.reads.values()]) {
          if (it.letGoBy !== undefined) client.reads.delete(keyOf(it));
        }
        await this.#beat(client, "heard");
        this.#checkReaders();
      }
      await this.#advance(SESSION_MS / 8);
    }
    const state = await metadata.describeGroup(GROUP);
    if (this.#clients.length === 0) return;
    assert.equal(state?.state, "stable");
    this.#checkDescription(state);
    this.#checkShares();
    await this.#checkAll();
  }

  get size(): number {
    return this.#clients.length;
  }

  async #step(): Promise<void> {
    const { now } = this.#parts;
    const client = this.#clients[this.#below(Math.max(1, this.#clients.length))];
    const dice = this.#below(100);
    if (dice < 6 || client === undefined) {
      if (this.#clients.length < 7) this.#newClient();
    } else if (client.stalledUntil > now()) {
      await this.#advance(this.#below(1_500));
    } else if (dice < 50) await this.#beat(client, this.#below(6) === 0 ? "lost" : "heard");
    else if (dice < 66) this.#letGoSome(client);
    else if (dice < 76) await this.#commit(client);
    else if (dice < 88) await this.#advance(this.#below(3_000));
    else if (dice < 91) client.stalledUntil = now() + this.#below(2 * SESSION_MS);
    else if (dice < 93) await this.#stop(client, this.#below(2) === 0);
    else if (dice < 94) this.#remove(client);
    else if (dice < 96) client.topics = this.#someTopics();
    else if (dice < 99) await this.#deliverLate();
    else await this.#changeTopics();
  }

  #newClient(instanceId = this.#below(3) === 0 ? `i${this.#below(3)}` : ""): void {
    const client = new Client(`m${this.#made++}`, instanceId, this.#someTopics());
    client.rebalanceTimeoutMs = REBALANCE_MS[this.#below(2)] ?? 0;
    this.#clients.push(client);
  }

  #fence(client: Client): void {
    this.counts.putOut++;
    client.lose();
  }

  async #beat(client: Client, fate: "heard" | "lost"): Promise<void> {
    const { metadata, now } = this.#parts;
    const sentAt = now();
    const input: HeartbeatInput = {
      ...{ group: GROUP, memberId: client.memberId, instanceId: client.instanceId },
      ...{ memberEpoch: client.epoch, clientId: "c", topics: client.topics },
      ...{ sessionTimeoutMs: SESSION_MS, rebalanceTimeoutMs: client.rebalanceTimeoutMs },
      owned: [...client.reads.values()].map(({ topicId, partition }) => ({ topicId, partition })),
    };
    if (this.#below(8) === 0) this.#late.push(() => metadata.heartbeat(input));
    const result = await this.#answer(metadata.heartbeat(input));
    if (fate === "lost") {
      this.counts.lost++;
      return;
    }
    if (result instanceof StreamHouseError) {
      if (result.code === "INSTANCE_ID_IN_USE") return;
      const codes = ["UNKNOWN_MEMBER", "GROUP_FENCED"];
      assert.ok(codes.includes(result.code), result.message);
      client.lose();
      return;
    }
    this.#hear(client, result, sentAt);
  }

  #hear(client: Client, result: HeartbeatResult, sentAt: number): void {
    client.epoch = result.memberEpoch;
    client.outAt = sentAt + SESSION_MS;
    const assigned = new Set(result.assigned.map(keyOf));
    for (const it of client.reads.values()) {
      if (assigned.has(keyOf(it))) it.letGoBy = undefined;
      else it.letGoBy ??= sentAt + result.letGoWithinMs;
    }
    for (const it of result.assigned) {
      if (client.reads.has(keyOf(it))) continue;
      this.counts.moves++;
      const { topicId, topic, partition } = it;
      client.reads.set(keyOf(it), { topicId, topic, partition, letGoBy: undefined });
    }
  }

  #letGoSome(client: Client): void {
    for (const [key, it] of [...client.reads]) {
      if (it.letGoBy !== undefined && this.#below(3) > 0) client.reads.delete(key);
    }
  }

  /** Of a partition that it reads: a rebalance refuses nobody who has let go of nothing. Of another's: refused. */
  async #commit(client: Client): Promise<void> {
    const { metadata } = this.#parts;
    const claim = { memberId: client.memberId, memberEpoch: client.epoch };
    for (const other of this.#clients) {
      for (const { topicId, partition } of other.reads.values()) {
        const offset = { topicId, partition, offset: 1, metadata: "" };
        const refused = await this.#answer(metadata.commitOffsets(GROUP, claim, [offset]));
        const isGood = other === client || client.reads.has(keyOf(offset));
        if (refused instanceof StreamHouseError && refused.code === "TOPIC_NOT_FOUND") continue;
        const codes = ["UNKNOWN_MEMBER", "GROUP_FENCED"];
        if (isGood) assert.equal(refused, undefined, String(refused));
        else assert.ok(refused instanceof StreamHouseError && codes.includes(refused.code));
        this.counts.commits++;
      }
    }
  }

  async #stop(client: Client, keepPlace: boolean): Promise<void> {
    const { metadata } = this.#parts;
    const { memberId, epoch: memberEpoch, instanceId } = client;
    const leave = () => metadata.leaveGroup(GROUP, memberId, { keepPlace, memberEpoch });
    if (this.#below(2) === 0) this.#late.push(leave);
    if (client.epoch > 0) await leave();
    if (this.#below(3) === 0) {
      // The same consumer goes on, in a new membership.
      client.lose();
      return;
    }
    this.#remove(client);
    if (instanceId !== "" && this.#below(2) === 0) {
      this.counts.takenPlaces++;
      this.#newClient(instanceId);
    }
  }

  /** The others of an instance are refused for as long as it lives. */
  #keepOneOfEachInstance(): void {
    const inFirst = [...this.#clients].sort((a, b) => b.epoch - a.epoch);
    const seen = new Set<string>();
    for (const client of inFirst) {
      const isSecond = client.instanceId !== "" && seen.has(client.instanceId);
      seen.add(client.instanceId);
      if (isSecond) this.#remove(client);
    }
  }

  #remove(client: Client): void {
    this.#clients.splice(this.#clients.indexOf(client), 1);
  }

  async #deliverLate(): Promise<void> {
    const at = this.#below(Math.max(1, this.#late.length));
    const [request] = this.#late.splice(at, 1);
    if (request === undefined) return;
    this.counts.late++;
    await this.#answer(request());
  }

  async #changeTopics(): Promise<void> {
    const { metadata } = this.#parts;
    const name = `t${this.#below(4)}`;
    const known = (await metadata.listTopics()).find((it) => it.name === name);
    if (known === undefined) await this.#createTopic(name, 1 + this.#below(3));
    else if (this.#below(2) === 0) {
      await metadata.alterTopic(name, { partitions: known.partitions + 1 });
    } else {
      await metadata.deleteTopic(name);
      // Nothing can be read of it any more.
      for (const client of this.#clients) {
        for (const [key, it] of [...client.reads]) {
          if (it.topicId === known.id) client.reads.delete(key);
        }
      }
    }
  }

  async #createTopic(name: string, partitions: number): Promise<void> {
    await this.#parts.metadata.createTopic({ name, partitions, retentionMs: 0 });
    if (!this.#topics.includes(name)) this.#topics.push(name);
  }

  #checkReaders(): void {
    const now = this.#parts.now();
    const readers = new Map<string, string>();
    for (const client of this.#clients) {
      if (client.isOut(now)) continue;
      for (const [key, it] of client.reads) {
        const name = `${it.topic}/${it.partition}`;
        const other = readers.get(key);
        assert.equal(other, undefined, `${name} is read by ${other} and ${client.memberId}`);
        readers.set(key, client.memberId);
      }
    }
  }

  #checkDescription(state: GroupState): void {
    for (const client of this.#clients) {
      const member = state.members.find((it) => it.memberId === client.memberId);
      assert.deepEqual(member?.revoking, []);
      assert.deepEqual((member?.assigned ?? []).map(keyOf).sort(), [...client.reads.keys()].sort());
    }
    assert.equal(state.members.length, this.#clients.length);
  }

  #checkShares(): void {
    for (const a of this.#clients) {
      for (const b of this.#clients) {
        if ([...a.topics].sort().join() !== [...b.topics].sort().join()) continue;
        assert.ok(a.reads.size - b.reads.size <= 1, `${a.memberId} against ${b.memberId}`);
      }
    }
  }

  async #checkAll(): Promise<void> {
    const wanted = new Set(this.#clients.flatMap((it) => it.topics));
    const topics = await this.#parts.metadata.listTopics();
    const all = topics
      .filter((it) => wanted.has(it.name))
      .flatMap(({ id, partitions }) => Array.from({ length: partitions }, (_, p) => `${id}/${p}`));
    assert.deepEqual(this.#clients.flatMap((it) => [...it.reads.keys()]).sort(), all.sort());
  }

  async #advance(ms: number): Promise<void> {
    await this.#parts.advance(ms);
    const now = this.#parts.now();
    for (const client of this.#clients) {
      if (client.isOut(now)) this.#fence(client);
      client.dropLate(now);
    }
  }

  async #answer<T>(asked: Promise<T>): Promise<T | StreamHouseError> {
    try {
      return await asked;
    } catch (error) {
      if (error instanceof StreamHouseError) return error;
      throw error;
    }
  }

  #someTopics(): readonly string[] {
    const some = ["t0", "t1", "t2", "t3"].filter(() => this.#below(3) > 0);
    return this.#below(2) === 0 || some.length === 0 ? ["t0", "t1"] : some;
  }

  #below(limit: number): number {
    const [a = 0, b = 0] = this.#parts.random(new Uint8Array(2));
    return (a * 256 + b) % limit;
  }
}
