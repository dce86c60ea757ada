/**
 * What the lag oracle's tests do to a world, each step with its entry in the tally. Every step is one that takes effect as a whole,
 * so that between any two of them there is no third state.
 */
import assert from "node:assert/strict";
import type { Consumer } from "../../src/consumer/consumer.ts";
import type { Compression } from "../../src/format/compression.ts";
import type { Producer } from "../../src/producer/producer.ts";
import type { startCli } from "./child.ts";
import { LagOracle, type Span, type State } from "./lag-oracle.ts";
import { lagMs, type World } from "./lag-world.ts";

export interface OpenOptions {
  readonly offsetReset?: "earliest" | "latest";
  /** A member that has no partitions as long as another has them all. */
  readonly waits?: boolean;
}

interface Member {
  readonly id: number;
  readonly group: string;
  readonly topics: readonly string[];
  readonly consumer: Consumer;
  /** Next offset of each partition, by topic and partition, from what was handed out. */
  readonly positions: Map<string, number>;
}

const compressions: readonly Compression[] = ["none", "gzip", "zstd"];

/** How often a settled state is looked for before the test gives up: on a busy machine that can take long. */
const looksMax = 1_500;

export class LagPlay {
  readonly world: World;
  readonly oracle: LagOracle;
  readonly #producers = new Map<Compression, Producer>();
  readonly #members: Member[] = [];

  constructor(world: World) {
    this.world = world;
    this.oracle = new LagOracle(() => world.now(), world.toleranceMs);
  }

  get state(): State {
    return this.oracle.state;
  }

  async createTopic(name: string, partitions: number): Promise<void> {
    const { world } = this;
    await this.oracle.does(
      `create ${name}`,
      () => world.until(world.house.admin.createTopic(name, { partitions })),
      (state) => {
        const logs = Array.from({ length: partitions }, () => ({
          ...{ next: 0, logStart: 0, appends: [] },
        }));
        state.topics.set(name, { id: this.oracle.newId(), logs });
      },
    );
  }

  /** Nobody may be reading it. */
  async deleteTopic(name: string): Promise<void> {
    const { world } = this;
    await this.oracle.does(
      `delete ${name}`,
      () => world.until(world.house.admin.deleteTopic(name)),
      (state) => {
        const id = state.topics.get(name)?.id;
        state.topics.delete(name);
        for (const { commits } of state.groups.values()) {
          for (const key of commits.keys()) if (key.startsWith(`${id}/`)) commits.delete(key);
        }
      },
    );
  }

  async produce(
    topic: string,
    partition: number,
    count: number,
    compression: Compression = "none",
  ): Promise<void> {
    const { world } = this;
    const producer = this.#producer(compression);
    const records = Array.from({ length: count }, (_, i) => ({ partition, value: `v${i}` }));
    await this.oracle.does(
      `produce ${count} to ${topic}/${partition}, ${compression}`,
      () => world.until(producer.sendBatch({ topic, records })),
      (state, span, { ranges }) => {
        const log = state.topics.get(topic)?.logs[partition];
        assert.ok(log);
        assert.deepEqual(
          ranges.map((it) => [it.partition, it.baseOffset, it.count]),
          [[partition, log.next, count]],
        );
        log.next += count;
        log.appends.push({ ...span, end: log.next });
      },
    );
  }

  /** Joins a group; the first member has all partitions. */
  async open(
    group: string,
    topics: readonly string[],
    { offsetReset = "earliest", waits = false }: OpenOptions = {},
  ): Promise<void> {
    const { world } = this;
    const consumer = world.house.consumer({
      ...{ group, topics, offsetReset },
      ...{ autoCommit: false, lagIntervalMs: lagMs, maxPollRecords: 5, fetchMaxWaitMs: 50 },
      sessionTimeoutMs: 15_000,
    });
    const id = this.oracle.newId();
    const member: Member = { id, group, topics, consumer, positions: new Map() };
    this.#members.push(member);
    await this.oracle.does(
      `${group} gets a member`,
      () => world.until(consumer.lags()),
      (state) => {
        groupOf(state, group).members++;
        if (!waits) this.#own(state, member, offsetReset === "latest");
      },
    );
  }

  /** Leaves the group. */
  async close(group: string): Promise<void> {
    const member = this.#owner(group);
    this.#members.splice(this.#members.indexOf(member), 1);
    await this.oracle.does(
      `${group} loses its first member`,
      () => this.world.until(member.consumer.close()),
      (state) => {
        groupOf(state, group).members--;
        state.owners.delete(group);
      },
    );
  }

  /** The member that waited has the partitions when this resolves. */
  async takeOver(group: string): Promise<void> {
    const member = this.#owner(group);
    await this.oracle.does(
      `${group}'s next member takes over`,
      () => this.#come("the partitions", async () => member.consumer.assignment().length > 0),
      (state) => this.#own(state, member, false),
    );
  }

  /** Hands out up to five records. */
  async poll(group: string): Promise<number> {
    const { consumer, positions } = this.#owner(group);
    const records = await this.world.until(consumer.poll(100));
    for (const { topic, partition, offset } of records) {
      const key = `${topic}/${partition}`;
      assert.ok(offset >= (positions.get(key) ?? 0), `${key} went back`);
      positions.set(key, offset + 1);
    }
    return records.length;
  }

  /** Commits what was handed out, by our own account of it. */
  async commit(group: string): Promise<void> {
    const { consumer, positions } = this.#owner(group);
    const offsets = [...positions].map(([key, offset]) => {
      const [topic = "", partition] = key.split("/");
      return { topic, partition: Number(partition), offset };
    });
    await this.oracle.does(
      `${group} commits ${JSON.stringify([...positions])}`,
      () => this.world.until(consumer.commit(offsets)),
      (state, span) => {
        for (const [key, offset] of this.#byId(state, positions))
          setCommit(state, group, key, offset, span);
      },
    );
  }

  async seek(group: string, topic: string, partition: number, offset: number): Promise<void> {
    const { consumer, positions } = this.#owner(group);
    await this.oracle.does(
      `${group} seeks to ${offset} in ${topic}/${partition}`,
      async () => consumer.seek(topic, partition, offset),
      (state) => {
        positions.set(`${topic}/${partition}`, offset);
        const id = state.topics.get(topic)?.id;
        state.owners.get(group)?.begins.set(`${id}/${partition}`, offset);
      },
    );
  }

  /** Retention takes everything that the topic has. */
  async retain(topic: string): Promise<void> {
    const { admin } = this.world.house;
    await this.world.pass(10);
    await this.oracle.does(
      `retention takes all of ${topic}`,
      async () => {
        await this.world.until(admin.alterTopic(topic, { retentionMs: 1 }));
        await this.#come("retention", async () => {
          const ends = await Promise.all(
            (["earliest", "latest"] as const).map((it) => admin.offsets(topic, it)),
          );
          const [first, last] = ends.map((it) => it.map(({ offset }) => offset).join());
          return first === last;
        });
        await this.world.until(admin.alterTopic(topic, { retentionMs: 0 }));
      },
      (state) => {
        for (const log of state.topics.get(topic)?.logs ?? []) log.logStart = log.next;
      },
    );
  }

  async restart(): Promise<void> {
    const { restart } = this.world;
    if (restart !== undefined) await this.oracle.does("the agent restarts", restart, () => {});
  }

  consumer(group: string): Consumer {
    return this.#owner(group).consumer;
  }

  /**
   * A process of its own joins, reads and commits everything, and is killed. Its session ends when nobody hears of it any more;
   * until then nothing is looked at.
   */
  async dies(group: string, topic: string, start: typeof startCli): Promise<void> {
    const { admin } = this.world.house;
    const { next = 0 } = this.state.topics.get(topic)?.logs[0] ?? {};
    await this.oracle.does(
      `${group} lives and dies`,
      async () => {
        const args = ["consume", topic, "--group", group, "--agents", this.world.grpc];
        await using child = start(args);
        child.process.stdin.end();
        await this.#come("its commit", async () => {
          const [committed] = await admin.committedOffsets(group);
          return committed?.offset === next;
        });
        await child.end("SIGKILL");
        await this.#come("the end of its session", async () => {
          const { members } = await admin.describeGroup(group);
          return members.length === 0;
        });
      },
      (state, span) => {
        setCommit(state, group, `${state.topics.get(topic)?.id}/0`, next, span);
      },
    );
  }

  /** One look, whatever is under way. */
  async look(): Promise<boolean> {
    return this.oracle.check(await this.world.scrape());
  }

  /** Looks until every value is younger than the last step: then all of them are compared with one state, exactly. */
  async settle(): Promise<void> {
    for (let looks = 0; looks < looksMax; looks++) {
      if (await this.look()) return;
      await this.world.pass(lagMs / 8);
    }
    throw new Error(`lag did not become fresh in ${looksMax} looks`);
  }

  async end(): Promise<void> {
    for (const { consumer } of this.#members.splice(0)) await this.world.until(consumer.close());
    for (const producer of this.#producers.values()) await this.world.until(producer.close());
    await this.world.close();
  }

  /** Waits for a condition, a moment at a time. */
  async #come(what: string, condition: () => Promise<boolean>): Promise<void> {
    for (let looks = 0; looks < looksMax; looks++) {
      if (await this.world.until(condition())) return;
      await this.world.pass(50);
    }
    throw new Error(`waited in vain for ${what}`);
  }

  #producer(compression: Compression): Producer {
    let producer = this.#producers.get(compression);
    if (producer === undefined) {
      producer = this.world.house.producer({ lingerMs: 0, compression });
      this.#producers.set(compression, producer);
    }
    return producer;
  }

  #owner(group: string): Member {
    const member = this.#members.find((it) => it.group === group);
    assert.ok(member, `${group} has a member`);
    return member;
  }

  /** Takes note of what the member has, and where it begins. */
  #own(state: State, { id, group, topics, positions }: Member, atTheEnd: boolean): void {
    const begins = new Map<string, number>();
    for (const topic of topics) {
      const { id: topicId, logs = [] } = state.topics.get(topic) ?? {};
      for (const [partition, { logStart, next }] of logs.entries()) {
        const key = `${topicId}/${partition}`;
        const committed = state.groups.get(group)?.commits.get(key)?.offset;
        const begin = committed ?? (atTheEnd ? next : logStart);
        begins.set(key, begin);
        positions.set(`${topic}/${partition}`, begin);
      }
    }
    state.owners.set(group, { id, begins });
  }

  #byId(
    state: State,
    positions: ReadonlyMap<string, number>,
  ): readonly (readonly [string, number])[] {
    return [...positions].map(([key, offset]) => {
      const [topic = "", partition] = key.split("/");
      return [`${state.topics.get(topic)?.id}/${partition}`, offset] as const;
    });
  }
}

export { compressions };

function groupOf(state: State, group: string): NonNullable<ReturnType<State["groups"]["get"]>> {
  let found = state.groups.get(group);
  if (found === undefined) {
    found = { commits: new Map(), members: 0 };
    state.groups.set(group, found);
  }
  return found;
}

/** An offset that is committed already is not sent again. */
function setCommit(state: State, group: string, key: string, offset: number, span: Span): void {
  const { commits } = groupOf(state, group);
  if (commits.get(key)?.offset !== offset) commits.set(key, { ...span, offset });
}
