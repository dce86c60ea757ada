/**
 * Consumer groups of many members on a real PostgreSQL: how long a group takes to settle when members come, go and die, how many
 * partitions move that need not, and what heartbeats cost member and database when nothing happens.
 */

import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";
import { type PostgresServer, startPostgres } from "../../scripts/backends/postgres.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { createPostgresMetadata } from "../../src/metadata/postgres.ts";
import type { Contender, Sample } from "../contender.ts";
import type { ScaleSettings } from "../settings.ts";
import { Shared } from "../shared.ts";
import { type Load, loadBetween, loadOf } from "./database-load.ts";
import { SESSION_MS, SimulatedMember } from "./group-members.ts";

export interface GroupsOptions {
  readonly groups: number;
  /** In each group. */
  readonly members: number;
  readonly partitions: number;
}

/** As many connections to the database as three agents have. */
const AGENTS = 3;
const TOPIC = "groups";
const WITHIN_MS = 300_000;
/** Members that start together come within this time. */
const SPREAD_MS = 1_000;
/** `scale-groups-GROUPS-MEMBERS-PARTITIONS-{join,beats,one-joins,one-leaves,ten-die}` */
export function groupContenders(settings: ScaleSettings, options: GroupsOptions): Contender[] {
  const { groups, members, partitions } = options;
  const shared = new Shared(() => Groups.open(options));
  let opened: Groups | undefined;
  const who = `${groups} group${groups === 1 ? "" : "s"} of ${members} members, ${partitions.toLocaleString("en-US")} partitions`;
  const contender = (
    what: string,
    unit: "s" | "ms",
    note: string,
    round: (fleet: Groups) => Promise<Sample>,
  ): Contender => ({
    name: `scale-groups-${groups}-${members}-${partitions}-${what}`,
    ...{ unit, limits: [], note: `${who}: ${note}` },
    async prepare() {
      opened = await shared.enter();
    },
    async round() {
      if (opened === undefined) throw new Error("round() before prepare()");
      return round(opened);
    },
    close: () => shared.leave(),
  });
  const settling = [
    contender("join", "s", "all join within a second: until each has its share", (it) =>
      it.joinAll(),
    ),
    contender("beats", "ms", "a heartbeat when nothing happens, median", (it) =>
      it.beats(settings.idleSeconds),
    ),
  ];
  if (groups > 1) return settling;
  return [
    ...settling,
    contender("one-joins", "s", "one more joins: until it has its share", (it) => it.oneJoins()),
    contender("one-leaves", "s", "one leaves: until others have its partitions", (it) =>
      it.oneLeaves(),
    ),
    contender(
      "ten-die",
      "s",
      `ten die: until others have their partitions, the session of ${SESSION_MS / 1_000} s included`,
      (it) => it.someDie(10),
    ),
  ];
}

class Groups {
  readonly #server: PostgresServer;
  readonly #stores: readonly MetadataStore[];
  readonly #sql: postgres.Sql;
  readonly #database: string;
  readonly #options: GroupsOptions;
  readonly #members: Map<string, SimulatedMember[]> = new Map();
  #beats: number[] = [];
  #failed = 0;

  private constructor(
    server: PostgresServer,
    url: string,
    stores: readonly MetadataStore[],
    options: GroupsOptions,
  ) {
    this.#server = server;
    this.#stores = stores;
    this.#options = options;
    this.#database = new URL(url).pathname.slice(1);
    // Another database, so that looking is not counted.
    this.#sql = postgres(server.url, { max: 1, onnotice: () => {} });
  }

  static async open(options: GroupsOptions): Promise<Groups> {
    const server = await startPostgres({ fsync: "on", shared_buffers: "256MB" });
    const stores: MetadataStore[] = [];
    try {
      const url = await server.createDatabase();
      for (let i = 0; i < AGENTS; i++) stores.push(await createPostgresMetadata({}, { url }));
      await stores[0]?.createTopic({
        ...{ name: TOPIC, partitions: options.partitions, retentionMs: 86_400_000 },
      });
      return new Groups(server, url, stores, options);
    } catch (error) {
      await Promise.all(stores.map((it) => it.close()));
      await server.remove();
      throw error;
    }
  }

  /** Everybody anew: those of the round before leave first, outside of what is measured. */
  async joinAll(): Promise<Sample> {
    for (const members of this.#members.values()) {
      await Promise.all(members.map((it) => it.die()));
    }
    if (this.#members.size > 0) await wait(SESSION_MS + 1_000);
    this.#members.clear();
    const { groups, members } = this.#options;
    for (let g = 0; g < groups; g++) {
      const group = `group-${g}`;
      const ours = Array.from({ length: members }, (_, i) => this.#member(group, g + i));
      this.#members.set(group, ours);
    }
    return this.#measured(async () => {
      for (const ours of this.#members.values()) {
        for (const member of ours) member.start(Math.random() * SPREAD_MS);
      }
      return 0;
    });
  }

  async beats(seconds: number): Promise<Sample> {
    await this.#ready();
    this.#beats = [];
    const before = await this.#load();
    await wait(seconds * 1_000);
    const after = await this.#load();
    const sorted = this.#beats.toSorted((a, b) => a - b);
    const at = (part: number) => sorted[Math.floor(sorted.length * part)] ?? Number.NaN;
    return {
      value: at(0.5),
      also: {
        "99th percentile, ms": at(0.99),
        "heartbeats/s": sorted.length / seconds,
        ...loadBetween(before, after),
      },
    };
  }

  async oneJoins(): Promise<Sample> {
    const [group, ours] = await this.#ready();
    const member = this.#member(group, ours.length);
    const sample = await this.#measured(async () => {
      member.start(0);
      ours.push(member);
      return undefined;
    });
    // The one that came goes again: the next round is as this one was.
    await this.#sent(ours, [member]);
    return sample;
  }

  async oneLeaves(): Promise<Sample> {
    const [group, ours] = await this.#ready();
    const member = ours[Math.floor(ours.length / 2)];
    if (member === undefined) throw new Error("nobody is there");
    const least = member.owned.length;
    const sample = await this.#measured(async () => {
      ours.splice(ours.indexOf(member), 1);
      await member.leave();
      return least;
    });
    await this.#refill(group, ours);
    return sample;
  }

  async someDie(count: number): Promise<Sample> {
    const [group, ours] = await this.#ready();
    const dead = ours.slice(0, count);
    const least = dead.reduce((sum, it) => sum + it.owned.length, 0);
    const sample = await this.#measured(async () => {
      ours.splice(0, count);
      await Promise.all(dead.map((it) => it.die()));
      return least;
    });
    await this.#refill(group, ours);
    return sample;
  }

  async close(): Promise<void> {
    for (const members of this.#members.values()) {
      await Promise.all(members.map((it) => it.die()));
    }
    await this.#sql.end({ timeout: 1 });
    await Promise.all(this.#stores.map((it) => it.close()));
    await this.#server.remove();
  }

  #member(group: string, index: number): SimulatedMember {
    const store = this.#stores[index % this.#stores.length];
    if (store === undefined) throw new Error("no store is open");
    const onBeat = (ms: number, failed: boolean) => {
      this.#beats.push(ms);
      if (failed) this.#failed++;
    };
    return new SimulatedMember(store, { group, topic: TOPIC }, onBeat);
  }

  /** The first group, settled. */
  async #ready(): Promise<readonly [string, SimulatedMember[]]> {
    if (this.#members.size === 0) await this.joinAll();
    const [first] = this.#members;
    if (first === undefined) throw new Error("there is no group");
    await this.#settled();
    return first;
  }

  async #sent(ours: SimulatedMember[], gone: readonly SimulatedMember[]): Promise<void> {
    for (const member of gone) {
      ours.splice(ours.indexOf(member), 1);
      await member.leave();
    }
    await this.#settled();
  }

  async #refill(group: string, ours: SimulatedMember[]): Promise<void> {
    while (ours.length < this.#options.members) {
      const member = this.#member(group, ours.length);
      ours.push(member);
      member.start(0);
    }
    await this.#settled();
  }

  /**
   * Seconds until all groups have settled, and partitions that changed hands beyond the least possible: what the work says, or what those
   * have in the end that had nothing before.
   */
  async #measured(work: () => Promise<number | undefined>): Promise<Sample> {
    const before = this.#owners();
    const load = await this.#load();
    this.#beats = [];
    this.#failed = 0;
    const at = performance.now();
    const told = await work();
    const seconds = (await this.#settled(at)) / 1_000;
    const after = this.#owners();
    const moved = [...after].filter(([key, owner]) => before.get(key) !== owner);
    const old = new Set(before.values());
    const least = told || moved.filter(([, owner]) => !old.has(owner)).length;
    return {
      value: seconds,
      also: {
        "partitions moved": moved.length,
        "beyond the least possible": moved.length - least,
        "slowest heartbeat, ms": this.#beats.reduce((a, b) => Math.max(a, b), 0),
        "heartbeats that failed": this.#failed,
        ...loadBetween(load, await this.#load()),
      },
    };
  }

  /** Waits until every member knows its share, and the shares are all there is and equal. Answers the ms since `from`. */
  async #settled(from = performance.now()): Promise<number> {
    const { partitions } = this.#options;
    const deadline = performance.now() + WITHIN_MS;
    const isSettled = (members: readonly SimulatedMember[]) => {
      const counts = members.map((it) => it.owned.length);
      const all = new Set(members.flatMap((it) => it.owned)).size === partitions;
      const sum = counts.reduce((a, b) => a + b, 0);
      return all && sum === partitions && Math.max(...counts) - Math.min(...counts) <= 1;
    };
    while (![...this.#members.values()].every(isSettled)) {
      if (performance.now() > deadline) throw new Error("the groups do not settle");
      await wait(20);
    }
    return performance.now() - from;
  }

  /** Of all groups: `group partition` to member. */
  #owners(): ReadonlyMap<string, string> {
    const owners = new Map<string, string>();
    for (const [group, members] of this.#members) {
      for (const { memberId, owned } of members) {
        for (const key of owned) owners.set(`${group} ${key}`, memberId);
      }
    }
    return owners;
  }

  #load(): Promise<Load> {
    return loadOf(this.#server, this.#database, this.#sql);
  }
}
