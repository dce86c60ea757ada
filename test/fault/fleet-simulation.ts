/**
 * Several agents and producers under random failures: one seed drives processes that are stopped, woken, killed, drained and started
 * anew, calls to metadata and writes that fail, hang or arrive late, and connections that break. A model of the log looks at every
 * commit; in the end what is read must be what was acknowledged. Used by the tests of fail-over and of the audit over it.
 */
import assert from "node:assert/strict";
import type { StreamHouseError } from "../../src/core/errors.ts";
import type { Producer } from "../../src/producer/producer.ts";
import { catalogue } from "../../src/telemetry/catalogue.ts";
import type { MetricRegistry } from "../../src/telemetry/cells.ts";
import { createTopic, readAll } from "../unit/agent/bench-agent.ts";
import type { AppendFate } from "../unit/agent/memory-store.ts";
import { Chooser } from "./chooser.ts";
import type { Fate } from "./faulty-metadata.ts";
import { Fleet, type Member } from "./fleet.ts";
import { LogModel } from "./log-model.ts";
import { totalOf } from "./telemetry/measured-house.ts";
import { capturingProvider } from "./telemetry/sabotage.ts";

const STEPS = 160;
const PARTITIONS = 4;
const NAMES = ["a", "b", "c"];

/**
 * The one without sequences tells by duplicates whether what it was told was certainly not applied. The hasty one gives batches up that
 * may have been, while they wait to be sent again: it must say so.
 */
const PRODUCERS = [
  { idempotent: true, deliveryTimeoutMs: 60_000 },
  { idempotent: true, deliveryTimeoutMs: 60_000 },
  { idempotent: false, deliveryTimeoutMs: 60_000 },
  { idempotent: true, deliveryTimeoutMs: 5_000 },
];

interface Sent {
  readonly producer: number;
  readonly value: string;
  readonly partition: number;
  offset: number | undefined;
  error: StreamHouseError | undefined;
}

/** Looks at every component's numbers: after each step, while processes run. */
export type Watch = (metrics: MetricRegistry, who: string) => void;

export class FleetSimulation {
  readonly trace: string[] = [];
  readonly #watch: Watch | undefined;
  readonly #choose: Chooser;
  readonly #model = new LogModel(() => this.#fleet.clock.now());
  readonly #fleet: Fleet = new Fleet((metadata) => this.#model.watched(metadata));
  readonly #sent: Sent[] = [];
  readonly #producers: Producer[] = [];
  readonly #clients = capturingProvider();
  /** Every agent that ever ran. */
  readonly #agents: Member[] = [];
  readonly #isDeadly: boolean;
  #topicId = "";

  constructor(seed: number, watch?: Watch) {
    this.#watch = watch;
    this.#isDeadly = seed % 3 > 0;
    this.#choose = new Chooser(seed);
  }

  async run(): Promise<void> {
    for (const name of NAMES) await this.#start(name);
    this.#topicId = await createTopic(this.#fleet.member("a"), "t", { partitions: PARTITIONS });
    await this.#fleet.clock.run(4_000);
    for (const { idempotent, deliveryTimeoutMs } of PRODUCERS) {
      const { meterProvider } = this.#clients;
      const options = {
        ...{ idempotent, lingerMs: 2, batchBytes: 200, inFlight: 1 + this.#choose.below(5) },
        ...{ requestTimeoutMs: 4_000, deliveryTimeoutMs, retryBackoffMs: 20 },
      };
      const seed = 70 + this.#producers.length;
      this.#producers.push(this.#fleet.producer(options, { seed, telemetry: { meterProvider } }));
    }
    for (let i = 0; i < STEPS; i++) {
      await this.#step();
      this.#look();
      assert.deepEqual(this.#defects, [], "nothing that must not be");
    }
    await this.#finish();
  }

  #anyone(which: (member: Member) => boolean = () => true): Member | undefined {
    return this.#choose.anyone(this.#fleet.members.values(), which);
  }

  /** What was committed, or told, and must not have been. */
  get #defects(): string[] {
    return this.#model.defects;
  }

  async #start(name: string, agentId = name): Promise<void> {
    const agent = {
      ...{ agentId, flushBytes: 300, flushTimeLimitMs: 3_000 },
      ...{ leaseTtlMs: 3_000, leaseRenewMs: 500 },
    };
    const telemetry = this.#watch === undefined ? false : {};
    this.#agents.push(await this.#fleet.start(name, { agent, telemetry }));
  }

  #look(): void {
    if (this.#watch === undefined) return;
    for (const { agent, name, pause } of this.#agents) {
      if (!pause.paused) this.#watch(agent.telemetry.metrics, `agent ${name}`);
    }
    for (const registry of this.#clients.registries) this.#watch(registry, "a producer");
  }

  async #step(): Promise<void> {
    const choice = this.#choose.below(100);
    if (choice < 36) this.#send();
    else if (choice < 54) await this.#fleet.clock.run(this.#choose.below(60));
    else if (choice < 64) await this.#fleet.clock.run(this.#choose.below(4_000));
    else if (choice < 68) this.#breakSink();
    else if (choice < 74) this.#breakMetadata();
    else if (choice < 78) this.#release();
    else if (choice < 83) this.#stopOrWake();
    else if (choice < 87) this.#cutOrMend();
    else if (choice < 92) this.#loseCommit();
    else if (choice < 95) this.#disconnect();
    else if (choice < 97) await this.#restart();
    else if (this.#isDeadly) await (choice < 99 ? this.#kill() : this.#double());
    else this.#stopOrWake();
  }

  #send(): void {
    for (let i = 1 + this.#choose.below(10); i > 0; i--) {
      const producer = this.#choose.below(this.#producers.length);
      const partition = this.#choose.below(PARTITIONS);
      const value = `${producer}:${this.#sent.length}`;
      const sent: Sent = { producer, value, partition, offset: undefined, error: undefined };
      this.#sent.push(sent);
      this.#producers[producer]?.send({ topic: "t", partition, value }).then(
        ({ offset }) => {
          assert.ok(sent.offset === undefined && sent.error === undefined, "settled once");
          sent.offset = offset;
          this.#note(`${value} = ${partition}@${offset}`);
        },
        (error: StreamHouseError) => {
          sent.error = error;
          // What an agent has in mind and what is committed may differ only until a new run has begun.
          if (error.code === "INTERNAL") this.#defects.push(`${value}: ${error.message}`);
          this.#note(`${value} ${error.code} ${error.outcome}: ${error.message}`);
        },
      );
    }
  }

  #note(what: string): void {
    this.trace.push(`${Math.round(this.#fleet.clock.monotonic())} ${what}`);
  }

  #breakSink(): void {
    const fate = this.#choose.pick<AppendFate>(["fail", "hold", "hold", "ok"]);
    const member = this.#anyone();
    this.#note(`${member?.name}: next write ${fate}`);
    member?.sink.fates.push(fate);
  }

  #breakMetadata(): void {
    const member = this.#anyone();
    const method = this.#choose.pick([
      ...(["commitFlush", "commitFlush", "commitFlush", "resolveFlush", "renewRun"] as const),
      ...(["acquireLeases", "releaseLeases", "startRun", "listRuns", "listFlushes"] as const),
    ]);
    const changes = method !== "listRuns" && method !== "listFlushes";
    const fates: readonly Fate[] = changes
      ? ["none", "applied", "applied", "lost", "hold", "late"]
      : ["none", "hold"];
    const fate = this.#choose.pick(fates);
    this.#note(`${member?.name}: next ${method} ${fate}`);
    const next = member?.faults.next;
    if (next !== undefined) next[method] = [...(next[method] ?? []), fate];
  }

  #release(): void {
    const member = this.#anyone();
    this.#note(`${member?.name}: release`);
    if (this.#choose.below(3) > 0) member?.sink.release();
    else member?.sink.failHeld();
    member?.faults.release();
  }

  #stopOrWake(): void {
    const member = this.#anyone();
    if (member === undefined) return;
    const { pause } = member;
    this.#note(`${member.name}: ${pause.paused ? "SIGCONT" : "SIGSTOP"}`);
    if (pause.paused) pause.wake();
    else pause.paused = true;
  }

  #cutOrMend(): void {
    const member = this.#anyone();
    if (member === undefined) return;
    member.faults.down = !member.faults.down;
    this.#note(`${member.name}: metadata ${member.faults.down ? "cut off" : "back"}`);
  }

  /** A commit is asked for, nobody hears the answer, and nobody can be asked what became of it. */
  #loseCommit(): void {
    const member = this.#anyone();
    if (member === undefined) return;
    const fate = this.#choose.pick<Fate>(["applied", "applied", "late", "lost"]);
    this.#note(`${member.name}: next commit ${fate}, and then cut off`);
    const { next } = member.faults;
    next.commitFlush = [fate];
    next.resolveFlush = Array.from({ length: 40 }, () => "none" as const);
    next.renewRun = Array.from({ length: 20 }, () => "none" as const);
  }

  #disconnect(): void {
    const member = this.#anyone();
    this.#note(`${member?.name}: connections break`);
    if (member !== undefined) this.#fleet.disconnect(member);
  }

  async #kill(): Promise<void> {
    const member = this.#anyone((it) => !it.pause.paused);
    if (member === undefined) return;
    this.#note(`${member.name}: kill -9`);
    this.#fleet.kill(member);
    if (this.#choose.below(2) === 0) await this.#fleet.clock.run(this.#choose.below(4_000));
    await this.#start(member.name);
  }

  /** As a rolling restart does it: drains, stops, starts. */
  async #restart(): Promise<void> {
    const member = this.#anyone((it) => !it.pause.paused && !it.faults.down);
    if (member === undefined) return;
    this.#note(`${member.name}: drain, stop, start`);
    member.faults.release();
    member.sink.release();
    const ended = member.agent.stop();
    await this.#fleet.clock.until(ended);
    this.#fleet.kill(member);
    await this.#start(member.name);
  }

  /** A second process with an id that is in use. */
  async #double(): Promise<void> {
    const name = `${this.#choose.pick(NAMES)}2`;
    const there = this.#fleet.members.get(name);
    if (there === undefined) {
      this.#note(`${name}: a second agent ${name.charAt(0)}`);
      await this.#start(name, name.charAt(0));
    } else if (!there.pause.paused) {
      this.#note(`${name}: kill -9`);
      this.#fleet.kill(there);
    }
  }

  async #finish(): Promise<void> {
    const { clock, members } = this.#fleet;
    this.#note("finish");
    const pending = () => this.#producers.reduce((sum, it) => sum + it.pending, 0);
    for (let i = 0; i < 1_000 && (i < 50 || pending() > 0); i++) {
      for (const { faults, pause, sink } of members.values()) {
        faults.down = false;
        for (const fates of Object.values(faults.next)) fates.length = 0;
        sink.fates.length = 0;
        pause.wake();
        sink.release();
        faults.release();
      }
      await clock.run(100);
    }
    this.#look();
    assert.equal(pending(), 0, "everything is settled in the end");
    for (let i = 0; i < 5; i++) this.#send();
    for (const it of this.#producers) await clock.until(it.flush());
    assert.equal(this.#sent.at(-1)?.error, undefined, "the producers work again");
    assert.deepEqual(this.#defects, [], "nothing that must not be");
    await clock.run(5_000);
    for (let partition = 0; partition < PARTITIONS; partition++) await this.#compare(partition);
    this.#look();
    this.#compareCounts();
    for (const it of this.#producers) await clock.until(it.close());
    await this.#fleet.stop();
  }

  async #compare(partition: number): Promise<void> {
    const { clock, members } = this.#fleet;
    const logs: (readonly string[])[] = [];
    for (const member of members.values()) {
      logs.push(await clock.until(readAll(member, this.#topicId, partition)));
    }
    const log = logs[0] ?? [];
    for (const other of logs) assert.deepEqual(other, log, "every agent serves the same log");
    assert.equal(log.length, this.#model.endOf(this.#topicId, partition), "all that is committed");
    const there = new Set(log);
    assert.equal(there.size, log.length, "nothing is there twice");
    for (const [i] of this.#producers.entries()) {
      const order = log.filter((it) => it.startsWith(`${i}:`)).map((it) => Number(it.slice(2)));
      const sorted = order.toSorted((a, b) => a - b);
      assert.deepEqual(order, sorted, `producer ${i} in partition ${partition}: in order`);
    }
    for (const { value, offset, error, partition: its } of this.#sent) {
      if (its !== partition) continue;
      assert.ok(offset !== undefined || error !== undefined, `${value} is settled`);
      if (offset !== undefined) assert.equal(log[offset], value, `${value} at ${offset}`);
      else if (error?.outcome === "none") assert.ok(!there.has(value), `${value} is not there`);
    }
  }

  /** Who was killed cannot count any more what was committed in its name. */
  #compareCounts(): void {
    if (this.#watch === undefined || this.#isDeadly) return;
    const metrics = this.#agents.map((it) => it.agent.telemetry.metrics);
    const written = totalOf(metrics, catalogue.recordsWritten);
    assert.equal(written, this.#model.records, "each record is counted by one agent");
    const sent = totalOf(this.#clients.registries, catalogue.recordsSent);
    const unknown = this.#sent.filter((it) => it.error?.outcome === "unknown").length;
    assert.ok(sent <= written && written <= sent + unknown, `${sent} sent, ${written} written`);
  }
}
