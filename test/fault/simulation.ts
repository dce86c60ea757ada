/**
 * An agent under random failures and restarts: one seed drives producers, clock, faults and schedule, and what is read must be what was
 * acknowledged. Used by the tests of the agent's promises and of its audit, which looks on at every moment.
 */
import assert from "node:assert/strict";
import type { Agent } from "../../src/agent/agent.ts";
import type { StreamHouseError } from "../../src/core/errors.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { ManualClock, settle } from "../../src/testing/manual-clock.ts";
import {
  type BenchAgent,
  createTopic,
  memoryMetadata,
  readAll,
  seededRandom,
  send,
  startAgent,
} from "../unit/agent/bench-agent.ts";
import { type AppendFate, MemoryStore, TestSink } from "../unit/agent/memory-store.ts";
import { Chooser } from "./chooser.ts";
import { type Fate, type Faults, withFaults } from "./faulty-metadata.ts";

const STEPS = 150;
const PARTITIONS = 2;

interface SentBatch {
  readonly sequence: number;
  readonly values: readonly string[];
  /** Base offset once acknowledged. */
  offset: number | undefined;
}

/** One idempotent producer's way to one partition: what a client does, in its simplest form. */
interface Lane {
  readonly producerId: number;
  readonly partition: number;
  readonly batches: SentBatch[];
  nextSequence: number;
  inFlight: number;
  /** A batch failed: wait until nothing is in flight, then send again from the first unacknowledged one. */
  recovering: boolean;
}

/** Looks at a measured agent: after each step, and whenever a store or metadata is called or answers. */
export type Watch = (agent: Agent) => void;

export class Simulation {
  readonly #choose: Chooser;
  readonly #clock = new ManualClock();
  readonly #inner = memoryMetadata(this.#clock);
  readonly #store = new MemoryStore();
  readonly #lanes: Lane[] = [];
  readonly #read: (readonly string[])[] = Array.from({ length: PARTITIONS }, () => []);
  readonly #concurrency: number;
  #bench: BenchAgent | undefined;
  #faults: Faults | undefined;
  #sink: TestSink | undefined;
  /** Of agents that were killed: what they had sent may still arrive. */
  readonly #stragglers: (() => void)[] = [];
  #topicId = "";
  #starts = 0;
  readonly trace: string[] = [];

  readonly #watch: Watch | undefined;

  /** With `watch` its agents are measured. */
  constructor(seed: number, watch?: Watch) {
    this.#watch = watch;
    this.#choose = new Chooser(seed);
    this.#concurrency = 1 + this.#choose.below(3);
    for (let producerId = 1; producerId <= 3; producerId++) {
      for (let partition = 0; partition < PARTITIONS; partition++) {
        const lane = { producerId, partition, batches: [], nextSequence: 0, inFlight: 0 };
        this.#lanes.push({ ...lane, recovering: false });
      }
    }
  }

  async run(): Promise<void> {
    await this.#startAgent();
    this.#topicId = await createTopic(this.#agent, "t", { partitions: PARTITIONS });
    for (let i = 0; i < STEPS; i++) {
      await this.#step();
      this.#look();
    }
    await this.#finish();
  }

  get #agent(): BenchAgent {
    assert.ok(this.#bench);
    return this.#bench;
  }

  async #startAgent(): Promise<void> {
    const { metadata, faults } = withFaults(this.#inner);
    const sink = new TestSink(this.#store, { concurrency: this.#concurrency });
    this.#starts++;
    // Of the agent that is being started, and later of the dead one, too: it goes on measuring what it does not know the end of.
    let agent: Agent | undefined;
    const look = () => {
      if (agent !== undefined) this.#watch?.(agent);
    };
    this.#bench = await startAgent({
      clock: this.#clock,
      metadata: this.#watch === undefined ? metadata : lookedAt(metadata, look),
      store: this.#store,
      sink: this.#watch === undefined ? sink : watchedSink(sink, look),
      telemetry: this.#watch === undefined ? false : {},
      random: seededRandom(this.#starts),
      agent: { flushBytes: 200, bufferBytesMax: 400_000, flushTimeLimitMs: 4_000 },
    });
    agent = this.#bench.agent;
    this.#faults = faults;
    this.#sink = sink;
  }

  #look(): void {
    if (this.#bench !== undefined) this.#watch?.(this.#bench.agent);
  }

  async #step(): Promise<void> {
    const choice = this.#choose.below(100);
    if (choice < 45) this.#produce();
    else if (choice < 65) await this.#wait(this.#choose.below(30));
    else if (choice < 68) await this.#wait(this.#choose.below(5_000));
    else if (choice < 76) this.#breakSink();
    else if (choice < 86) this.#breakMetadata();
    else if (choice < 92) this.#release();
    else if (choice < 94) this.#toggleOutage();
    else if (choice < 97) await this.#check();
    else await this.#restart();
  }

  #produce(): void {
    const lane = this.#choose.pick(this.#lanes);
    if (lane.recovering || lane.inFlight >= 4) return;
    const values = Array.from(
      { length: 1 + this.#choose.below(3) },
      (_, i) => `${lane.producerId}:${lane.nextSequence + i}`,
    );
    const batch = { sequence: lane.nextSequence, values, offset: undefined };
    lane.nextSequence += values.length;
    lane.batches.push(batch);
    this.#send(lane, batch);
  }

  #send(lane: Lane, batch: SentBatch): void {
    const { producerId, partition } = lane;
    this.trace.push(`send ${producerId}/${partition} @${batch.sequence}`);
    lane.inFlight++;
    send(this.#agent, "t", batch.values, {
      partition,
      stamp: { producerId, producerEpoch: 0, baseSequence: batch.sequence },
      timeoutMs: 50 + this.#choose.below(8_000),
    }).then(
      ({ baseOffset, error }) => {
        this.#look();
        lane.inFlight--;
        if (error !== undefined) lane.recovering = true;
        else this.#acknowledged(lane, batch, baseOffset);
      },
      (error: StreamHouseError) => {
        lane.inFlight--;
        lane.recovering = true;
        this.trace.push(`failed ${producerId}/${partition} @${batch.sequence}: ${error.code}`);
      },
    );
  }

  #acknowledged(lane: Lane, batch: SentBatch, offset: number): void {
    this.trace.push(`acked ${lane.producerId}/${lane.partition} @${batch.sequence} = ${offset}`);
    if (batch.offset !== undefined) assert.equal(offset, batch.offset, "an offset never changes");
    batch.offset = offset;
  }

  /** Lanes that failed begin again where they must. */
  #recover(): void {
    for (const lane of this.#lanes) {
      if (!lane.recovering || lane.inFlight > 0) continue;
      lane.recovering = false;
      const unanswered = lane.batches.filter((it) => it.offset === undefined);
      for (const batch of unanswered.slice(0, 4)) this.#send(lane, batch);
      // The rest follows when these are answered.
      if (unanswered.length > 4) lane.recovering = true;
    }
  }

  async #wait(ms: number): Promise<void> {
    await this.#clock.run(ms);
    this.#recover();
  }

  #breakSink(): void {
    const fates: readonly AppendFate[] = ["fail", "fail", "full", "hold", "ok"];
    this.#sink?.fates.push(this.#choose.pick(fates));
  }

  #breakMetadata(): void {
    const fates: readonly Fate[] = ["none", "applied", "applied", "lost", "hold", "late"];
    const method = this.#choose.pick([
      "commitFlush",
      "commitFlush",
      "resolveFlush",
      "renewRun",
    ] as const);
    const fate = this.#choose.pick(fates);
    this.trace.push(`next ${method}: ${fate}`);
    const next = this.#faults?.next;
    if (next !== undefined) next[method] = [...(next[method] ?? []), fate];
  }

  #toggleOutage(): void {
    if (this.#faults === undefined) return;
    this.#faults.down = !this.#faults.down;
    this.trace.push(`metadata ${this.#faults.down ? "down" : "up"}`);
  }

  #release(): void {
    this.trace.push("release");
    if (this.#choose.below(2) === 0) this.#sink?.release();
    else this.#sink?.failHeld();
    this.#faults?.release();
    for (const arrive of this.#stragglers.splice(0)) arrive();
  }

  /** As kill -9: the agent never speaks again, but calls that had left it may still arrive. */
  async #restart(): Promise<void> {
    const { faults, sink } = { faults: this.#faults, sink: this.#sink };
    assert.ok(faults && sink);
    this.trace.push("kill and restart");
    const dead = this.#agent;
    if (this.#choose.below(2) === 0) this.#stragglers.push(() => faults.release());
    faults.down = true;
    sink.fates.push(...Array.from({ length: 1_000 }, () => "hold" as const));
    await this.#startAgent();
    const stopped = dead.agent.stop();
    await this.#clock.until(stopped);
    this.#recover();
  }

  /** What is read only grows: nothing that was served is ever taken back or changed. */
  async #check(): Promise<void> {
    if (this.#faults?.down) return;
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const values = await this.#clock.until(readAll(this.#agent, this.#topicId, partition));
      const before = this.#read[partition] ?? [];
      assert.deepEqual(values.slice(0, before.length), before, "what was served stays");
      this.#read[partition] = values;
    }
  }

  async #finish(): Promise<void> {
    const { faults, sink } = { faults: this.#faults, sink: this.#sink };
    assert.ok(faults && sink);
    faults.down = false;
    for (const fates of Object.values(faults.next)) fates.length = 0;
    sink.fates.length = 0;
    const isOpen = () => this.#lanes.some((it) => it.batches.some((b) => b.offset === undefined));
    for (let i = 0; i < 400 && isOpen(); i++) {
      sink.release();
      faults.release();
      await this.#wait(100);
      await settle(1);
    }
    assert.ok(!isOpen(), "everything was acknowledged in the end");
    for (const arrive of this.#stragglers) arrive();
    await this.#wait(1_000);
    for (let partition = 0; partition < PARTITIONS; partition++) {
      await this.#compare(partition);
    }
    await this.#clock.until(this.#agent.agent.stop());
    assert.equal(this.#clock.pending, 0, "nothing runs after stop");
  }

  async #compare(partition: number): Promise<void> {
    const values = await this.#clock.until(readAll(this.#agent, this.#topicId, partition));
    const lanes = this.#lanes.filter((it) => it.partition === partition);
    for (const lane of lanes) {
      const mine = values.filter((it) => it.startsWith(`${lane.producerId}:`));
      const sent = lane.batches.flatMap((it) => it.values);
      assert.deepEqual(mine, sent, `producer ${lane.producerId}: each record once, in order`);
      for (const { offset, values: expected } of lane.batches) {
        const at = offset ?? -1;
        assert.deepEqual(values.slice(at, at + expected.length), expected, `at offset ${at}`);
      }
    }
    const total = lanes.reduce((sum, it) => sum + it.nextSequence, 0);
    assert.equal(values.length, total, "nothing else is there");
  }
}

/** The same, with a look before each call and after each answer. */
function lookedAt(inner: MetadataStore, look: () => void): MetadataStore {
  return new Proxy(inner, {
    get(target, name) {
      const member = Reflect.get(target, name, target) as unknown;
      if (typeof member !== "function" || name === "watch") return member;
      return async (...args: unknown[]) => {
        look();
        try {
          return await (Reflect.apply(member, target, args) as Promise<unknown>);
        } finally {
          look();
        }
      };
    },
  });
}

function watchedSink(sink: TestSink, look: () => void): TestSink {
  const append = sink.append.bind(sink);
  sink.append = async (...args) => {
    look();
    try {
      return await append(...args);
    } finally {
      look();
    }
  };
  return sink;
}
