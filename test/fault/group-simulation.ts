/**
 * A consumer group of many members over several agents and one database, under random failures: one seed drives members that come, go,
 * die, are stopped and woken, cut off, slow, or static; agents that are stopped, killed, drained, cut from metadata and started anew; and
 * calls to metadata that fail, are lost, or arrive late. `group-model.ts` looks at everything. Used by the tests of groups.
 */
import assert from "node:assert/strict";
import type { ConsumerOptions } from "../../src/consumer/options.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import type { Producer } from "../../src/producer/producer.ts";
import type { FetchRequest } from "../../src/rpc/gen/streamhouse/v1/consumer.ts";
import { catalogue } from "../../src/telemetry/catalogue.ts";
import { createTopic, seededRandom } from "../unit/agent/bench-agent.ts";
import type { Fate } from "./faulty-metadata.ts";
import { Fleet, type Member } from "./fleet.ts";
import { type GroupMemberOptions, GroupMemberProcess } from "./group-member.ts";
import { GroupModel } from "./group-model.ts";
import { discrepancies } from "./telemetry/audit-reading.ts";

const STEPS = 140;
const PARTITIONS = 8;
const AGENTS = ["a", "b", "c"];
const MEMBERS_MAX = 6;

/** A defect that is planted: the checks must find it. */
export interface Planted extends Pick<GroupMemberOptions, "distort" | "sleeps" | "commitsFirst"> {
  readonly metadata?: (metadata: MetadataStore) => MetadataStore;
}

export class GroupSimulation {
  readonly trace: string[] = [];
  readonly model: GroupModel;
  /** Members that lost their membership, and why. */
  readonly counts: Map<string, number> = new Map();
  readonly #planted: Planted;
  readonly #numbers: () => number;
  readonly #fleet: Fleet;
  readonly #acknowledged = new Set<string>();
  readonly #members: GroupMemberProcess[] = [];
  /** How often each agent was stopped or woken. */
  readonly #stops = new Map<string, number>();
  #producer: Producer | undefined;
  #sent = 0;
  #names = 0;
  #isFinishing = false;

  constructor(seed: number, planted: Planted = {}) {
    this.#planted = planted;
    const random = seededRandom(seed);
    const four = new Uint8Array(4);
    this.#numbers = () => new DataView(random(four).buffer).getUint32(0);
    const model: GroupModel = new GroupModel(() => this.#fleet.clock.monotonic());
    this.model = model;
    const around = planted.metadata ?? ((it: MetadataStore) => it);
    this.#fleet = new Fleet((metadata) => model.watched(around(metadata)));
  }

  async run(): Promise<void> {
    for (const name of AGENTS) await this.#start(name);
    await createTopic(this.#fleet.member("a"), "t", { partitions: PARTITIONS });
    await this.#fleet.clock.run(4_000);
    const limits = { requestTimeoutMs: 2_000, deliveryTimeoutMs: 60_000, retryBackoffMs: 20 };
    this.#producer = this.#fleet.producer({ lingerMs: 2, batchBytes: 300, ...limits });
    for (let i = 0; i < 3; i++) this.#join();
    try {
      for (let i = 0; i < STEPS && this.model.broken.length === 0; i++) {
        await this.#step();
        this.#look();
      }
      await this.#finish();
    } finally {
      await this.#putAway();
    }
    this.model.sound();
  }

  #below(n: number): number {
    return this.#numbers() % n;
  }

  #pick<T>(options: readonly T[]): T {
    return options[this.#below(options.length)] as T;
  }

  #note(what: string): void {
    this.trace.push(`${Math.round(this.#fleet.clock.monotonic())} ${what}`);
    const kind = what.slice(what.indexOf(":") + 2);
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
  }

  get #live(): GroupMemberProcess[] {
    return this.#members.filter((it) => !it.isDead && !it.isClosing);
  }

  async #start(name: string): Promise<void> {
    const agent = {
      flushBytes: 300,
      flushTimeLimitMs: 3_000,
      leaseTtlMs: 3_000,
      leaseRenewMs: 500,
    };
    const member = await this.#fleet.start(name, { agent });
    const { api } = member.agent;
    const { fetch } = api;
    // Looked at where it is answered.
    (api as { fetch: typeof fetch }).fetch = async (request: FetchRequest, call) => {
      const stops = this.#stops.get(name) ?? 0;
      const answer = await fetch(request, call).catch((error: unknown) => {
        this.model.refusedFetches++;
        throw error;
      });
      // One that was stopped after it had looked cannot know better.
      if (stops === (this.#stops.get(name) ?? 0)) this.model.fetched(request);
      return answer;
    };
  }

  async #step(): Promise<void> {
    const choice = this.#below(100);
    const { clock } = this.#fleet;
    if (choice < 24) this.#send();
    else if (choice < 42) await clock.run(this.#below(300));
    else if (choice < 56) await clock.run(this.#below(4_000));
    else if (choice < 63) this.#join();
    else if (choice < 67) this.#close();
    else if (choice < 70) this.#kill();
    else if (choice < 78) this.#stopOrWake();
    else if (choice < 81) this.#cutOrMend();
    else if (choice < 88) this.#breakMetadata();
    else if (choice < 90) this.#release();
    else if (choice < 94) this.#stopOrWakeAgent();
    else if (choice < 96) this.#cutOrMendAgent();
    else if (choice < 98) await this.#restartAgent();
    else this.#killAgent();
    if (this.#fleet.members.size < AGENTS.length && this.#below(8) === 0) await this.#revive();
  }

  #send(): void {
    for (let i = 1 + this.#below(20); i > 0; i--) {
      const partition = this.#below(PARTITIONS);
      const value = `v${this.#sent++}`;
      this.#producer?.send({ topic: "t", partition, value }).then(
        ({ offset }) => void this.#acknowledged.add(`${partition}@${offset}`),
        () => {},
      );
    }
  }

  #join(): void {
    if (this.#live.length >= MEMBERS_MAX) return;
    const used = new Set(this.#live.map((it) => it.name.split("#")[0]));
    const isStatic = this.#below(3) === 0;
    const instance = ["s1", "s2"].find((it) => !used.has(it));
    const instanceId = isStatic ? instance : undefined;
    const name = `${instanceId ?? "d"}#${++this.#names}`;
    const isSlow = this.#below(5) === 0;
    // A slow one takes longer than the group waits now and then, another one longer than it may between two reads.
    const workMs = () => this.#below(isSlow && !this.#isFinishing ? 5_500 : 60);
    const consumer: Partial<ConsumerOptions> = {
      groupInstanceId: instanceId,
      maxPollIntervalMs: isSlow && this.#below(2) === 0 ? 4_000 : 20_000,
    };
    const seed = 500 + this.#names;
    const options = { name, seed, consumer, workMs, ...this.#planted };
    this.#members.push(new GroupMemberProcess(this.#fleet, this.model, options));
    this.#note(`${name}: joins${isSlow ? ", slow" : ""}`);
  }

  #close(): void {
    const live = this.#live.filter((it) => !it.isStopped);
    if (live.length === 0) return;
    const member = this.#pick(live);
    this.#note(`${member.name}: closes`);
    member.close();
  }

  #kill(): void {
    if (this.#live.length === 0) return;
    const member = this.#pick(this.#live);
    this.#note(`${member.name}: kill -9`);
    member.kill();
  }

  #stopOrWake(): void {
    if (this.#live.length === 0) return;
    const member = this.#pick(this.#live);
    const { isStopped, name } = member;
    this.#note(`${name}: ${isStopped ? "SIGCONT" : "SIGSTOP"}`);
    if (isStopped) member.wake();
    else member.stop();
  }

  #cutOrMend(): void {
    if (this.#live.length === 0) return;
    const member = this.#pick(this.#live);
    member.isCut = !member.isCut;
    this.#note(`${member.name}: network ${member.isCut ? "cut" : "back"}`);
  }

  #agent(): Member | undefined {
    const all = [...this.#fleet.members.values()];
    return all.length === 0 ? undefined : this.#pick(all);
  }

  #breakMetadata(): void {
    const agent = this.#agent();
    const method = this.#pick(["heartbeat", "heartbeat", "commitOffsets", "leaveGroup"] as const);
    const fate = this.#pick<Fate>(["none", "applied", "applied", "lost", "hold", "late", "late"]);
    this.#note(`${agent?.name}: next ${method} ${fate}`);
    const next = agent?.faults.next;
    if (next !== undefined) next[method] = [...(next[method] ?? []), fate];
  }

  #release(): void {
    const agent = this.#agent();
    this.#note(`${agent?.name}: release`);
    agent?.faults.release();
  }

  #stopOrWakeAgent(): void {
    const agent = this.#agent();
    if (agent === undefined) return;
    this.#note(`${agent.name}: agent ${agent.pause.paused ? "SIGCONT" : "SIGSTOP"}`);
    this.#stops.set(agent.name, (this.#stops.get(agent.name) ?? 0) + 1);
    if (agent.pause.paused) agent.pause.wake();
    else agent.pause.paused = true;
  }

  #cutOrMendAgent(): void {
    const agent = this.#agent();
    if (agent === undefined) return;
    agent.faults.down = !agent.faults.down;
    this.#note(`${agent.name}: metadata ${agent.faults.down ? "cut off" : "back"}`);
  }

  async #restartAgent(): Promise<void> {
    const agent = this.#agent();
    if (agent === undefined || agent.pause.paused || agent.faults.down) return;
    this.#note(`${agent.name}: agent restarts`);
    agent.faults.release();
    agent.sink.release();
    await this.#fleet.clock.until(agent.agent.stop());
    await this.#start(agent.name);
  }

  #killAgent(): void {
    const agent = this.#agent();
    if (agent === undefined || this.#fleet.members.size < 2) return;
    this.#note(`${agent.name}: agent kill -9`);
    this.#fleet.kill(agent);
  }

  async #revive(): Promise<void> {
    const name = AGENTS.find((it) => !this.#fleet.members.has(it));
    if (name === undefined) return;
    this.#note(`${name}: agent starts`);
    await this.#start(name);
  }

  /** The audit of every running member, and that no two of them export the lag of one partition. */
  #look(): void {
    const exporters = new Map<string, string>();
    for (const member of this.#members) {
      if (!member.isRunning || member.isClosing) continue;
      for (const registry of member.registries) {
        for (const [law, off] of discrepancies(registry)) {
          if (off !== 0) this.model.fail(`${law} of ${member.name} is off by ${off}`);
        }
        for (const { descriptor, series } of registry.collect()) {
          if (descriptor.name !== catalogue.consumerLagRecords.name) continue;
          for (const { attributes } of series.values()) {
            const partition = String(attributes.partition);
            const other = exporters.get(partition);
            if (other !== undefined) {
              this.model.fail(`${member.name} and ${other} both export the lag of ${partition}`);
            }
            exporters.set(partition, member.name);
          }
        }
      }
    }
  }

  async #finish(): Promise<void> {
    if (this.model.broken.length > 0) return;
    this.#note("all: finish");
    this.#isFinishing = true;
    const { clock } = this.#fleet;
    const missing = () => [...this.#acknowledged].filter((it) => !this.model.processed.has(it));
    for (let i = 0; i < 160 && (i < 20 || missing().length > 0); i++) {
      this.#mend();
      if (this.#fleet.members.size < AGENTS.length) await this.#revive();
      if (this.#live.length < 2) this.#join();
      await clock.run(500);
      this.#look();
      if (this.model.broken.length > 0) return;
    }
    assert.deepEqual(missing(), [], "acknowledged, and processed by nobody");
  }

  #mend(): void {
    for (const { faults, pause, sink } of this.#fleet.members.values()) {
      faults.down = false;
      for (const fates of Object.values(faults.next)) fates.length = 0;
      pause.wake();
      sink.release();
      faults.release();
    }
    for (const member of this.#live) {
      member.isCut = false;
      member.wake();
    }
  }

  async #putAway(): Promise<void> {
    this.#mend();
    for (const member of this.#members) await member.put();
    if (this.#producer !== undefined) await this.#fleet.clock.until(this.#producer.close());
    await this.#fleet.stop();
  }
}
