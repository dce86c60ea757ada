/**
 * `consumer.run` over a fake agent and a clock that stands still: handlers that take their time, fail, put records off and ignore what they
 * are told; partitions that go and come back, sessions that end, runs and consumers that are ended and begun again; a dead-letter topic
 * that refuses. One seed drives it all. Whatever happens, the log of what handlers saw is held against what `run` promises.
 */
import assert from "node:assert/strict";
import type { Consumer } from "../../src/consumer/consumer.ts";
import type { DeadLetterSource } from "../../src/consumer/run-dead-letter.ts";
import type { RunContext, RunOrder } from "../../src/consumer/run-options.ts";
import { RetryLater } from "../../src/consumer/run-retry-later.ts";
import { sleep } from "../../src/core/clock.ts";
import type { ConsumerRecord } from "../../src/core/record.ts";
import { unavailable } from "../unit/consumer/fake-agent.ts";
import { type Setup, setUp } from "../unit/consumer/setup.ts";

const PARTITIONS = 3;
const TOPIC = "t";
const DEAD = "dead";

export interface RunSimulationResult {
  readonly begun: number;
  readonly retried: number;
  readonly putOff: number;
  readonly dead: number;
  readonly disturbances: number;
}

/** Mulberry32: small, and the same everywhere. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

interface Settings {
  readonly orderBy: RunOrder;
  readonly concurrency: number;
  readonly bufferRecords: number;
  readonly aheadRecords: number;
  readonly keys: number;
}

export class RunSimulation {
  readonly #random: () => number;
  readonly #settings: Settings;
  readonly #setup: Setup = setUp();
  /** What is finished for good, in whichever way, by partition. */
  readonly #finished = Array.from({ length: PARTITIONS }, () => new Set<number>());
  readonly #keys = Array.from({ length: PARTITIONS }, (): (string | null)[] => []);
  /** What handlers of a consumer work on, by lane. */
  readonly #working = new Map<string, ConsumerRecord>();
  readonly #committed = Array.from({ length: PARTITIONS }, () => 0);
  #commitsSeen = 0;
  #calls = 0;
  #calm = false;
  /** The first promise that was broken where a handler was called. */
  #broken: unknown;
  #refusing = false;
  #consumer: Consumer | undefined;
  #stop: AbortController | undefined;
  #running: Promise<void> = Promise.resolve();
  readonly #counts = { begun: 0, retried: 0, putOff: 0, dead: 0, disturbances: 0 };

  constructor(seed: number) {
    this.#random = randomOf(seed);
    this.#settings = {
      orderBy: this.#oneOf(["key", "partition", "none"]),
      concurrency: 1 + this.#upTo(8),
      bufferRecords: 8 + this.#upTo(40),
      aheadRecords: this.#oneOf([1, 10, 100_000]),
      keys: 1 + this.#upTo(8),
    };
  }

  async run(steps: number): Promise<RunSimulationResult> {
    const { agent, clock, until } = this.#setup;
    agent.createTopic(TOPIC, PARTITIONS);
    agent.createTopic(DEAD);
    this.#begin();
    for (let i = 0; i < steps; i++) {
      await this.#append();
      if (this.#random() < 0.3) await this.#disturb();
      await clock.run(this.#upTo(2_000));
      this.#check();
    }
    this.#calm = true;
    this.#refusing = false;
    agent.groups.plan = undefined;
    this.#consumer?.resume();
    for (let i = 0; i < 600 && !this.#isThrough(); i++) {
      if (this.#consumer === undefined) this.#begin();
      await clock.run(5_000);
      this.#check();
    }
    await until(this.#consumer?.close() ?? Promise.resolve());
    await until(this.#running);
    this.#check();
    this.#checkEnd();
    return this.#counts;
  }

  async #append(): Promise<void> {
    const { agent } = this.#setup;
    for (let batches = this.#upTo(3); batches > 0; batches--) {
      const partition = this.#upTo(PARTITIONS);
      const keys = this.#keys[partition] ?? [];
      const fresh = Array.from({ length: 1 + this.#upTo(12) }, (_, i) => {
        const key = this.#upTo(this.#settings.keys + 1);
        return { key: key === 0 ? null : `k${key}`, value: String(keys.length + i) };
      });
      for (const { key } of fresh) keys.push(key);
      const first = Number(fresh[0]?.value);
      await agent.append(
        TOPIC,
        fresh.map((it) => it.value),
        { partition, key: (value) => fresh[Number(value) - first]?.key ?? null },
      );
    }
  }

  async #disturb(): Promise<void> {
    const { agent, clock, until } = this.#setup;
    this.#counts.disturbances++;
    const consumer = this.#consumer;
    const kind = this.#upTo(8);
    if (consumer === undefined) this.#begin();
    else if (kind === 0) this.#stop?.abort();
    else if (kind === 1) await until(consumer.close());
    else if (kind <= 3) {
      const owned = [0, 1, 2].filter(() => this.#random() < 0.6);
      agent.groups.plan = owned.map((partition) => [TOPIC, partition] as const);
    } else if (kind === 4) agent.groups.expel();
    else if (kind === 5) this.#refusing = !this.#refusing;
    else if (kind === 6) consumer.pause();
    else consumer.resume();
    await clock.run(this.#upTo(3) * 1_000);
  }

  #begin(): void {
    const { open } = this.#setup;
    const deadLetters: DeadLetterSource = () => ({
      send: async (letter) => {
        await sleep(this.#setup.clock, this.#upTo(500));
        if (this.#refusing) throw unavailable("the dead-letter topic is away");
        const header = (name: string) => letter.headers.find((it) => it[0] === name)?.[1];
        const [partition, offset] = [header("dead-letter-partition"), header("dead-letter-offset")];
        this.#counts.dead++;
        this.#finish(Number(partition), Number(offset));
        return { partition: 0, offset: 0 };
      },
      close: async () => {},
    });
    const rebalanceTimeoutMs = this.#oneOf([2_000, 20_000]);
    const consumer = open({ autoCommitIntervalMs: 700, rebalanceTimeoutMs }, { deadLetters });
    const stop = new AbortController();
    const retry = { attempts: 1 + this.#upTo(3), baseMs: 100, maxMs: 2_000 };
    const { keys: _, ...settings } = this.#settings;
    this.#consumer = consumer;
    this.#stop = stop;
    const call = (record: ConsumerRecord, context: RunContext) => this.#handle(record, context);
    const options = { ...settings, retry, deadLetterTopic: DEAD, signal: stop.signal };
    const before = this.#running;
    this.#running = consumer
      .run(call, options)
      .catch((error: unknown) => assert.match(String(error), /is away/))
      .then(() => consumer.close())
      .then(() => before);
    void this.#running.finally(() => {
      if (this.#consumer === consumer) this.#consumer = undefined;
    });
  }

  async #handle(record: ConsumerRecord, { attempt, signal }: RunContext): Promise<void> {
    const { clock } = this.#setup;
    try {
      this.#begins(record, attempt);
    } catch (error) {
      // Thrown here it would be a handler's failure like any other.
      this.#broken ??= error;
    }
    try {
      const heeds = this.#random() < 0.5;
      await sleep(clock, this.#upTo(1_500), heeds ? signal : undefined);
      const chance = this.#calm ? 1 : this.#random();
      if (chance < 0.15) throw new Error("failed");
      if (chance < 0.25) {
        this.#counts.putOff++;
        throw new RetryLater(this.#upTo(10_000));
      }
      // What ends after its partition was lost is not finished here; it may be handed out again.
      if (!signal.aborted) this.#finish(record.partition, record.offset);
    } finally {
      this.#calls--;
      this.#working.delete(this.#laneOf(record));
    }
  }

  #begins(record: ConsumerRecord, attempt: number): void {
    this.#counts.begun++;
    if (attempt > 1) this.#counts.retried++;
    this.#calls++;
    const { concurrency } = this.#settings;
    assert.ok(this.#calls <= concurrency, `${this.#calls} calls of ${concurrency}`);
    const lane = this.#laneOf(record);
    const rival = this.#working.get(lane);
    assert.equal(rival, undefined, `${nameOf(record)} overlaps ${rival && nameOf(rival)}`);
    this.#working.set(lane, record);
    if (lane.startsWith("@")) return;
    const keys = this.#keys[record.partition] ?? [];
    for (let offset = 0; offset < record.offset; offset++) {
      const isOfLane = this.#settings.orderBy === "partition" || keys[offset] === record.keyText();
      const isFinished = this.#finished[record.partition]?.has(offset);
      assert.ok(!isOfLane || isFinished, `${nameOf(record)} has overtaken ${offset}`);
    }
  }

  #finish(partition: number, offset: number): void {
    this.#finished[partition]?.add(offset);
  }

  #laneOf(record: ConsumerRecord): string {
    const { orderBy } = this.#settings;
    if (orderBy === "partition") return String(record.partition);
    const key = record.keyText();
    // No order, but no record is worked on twice at once either.
    if (orderBy === "none" || key === null) return `@${nameOf(record)}`;
    return `${record.partition}/${key}`;
  }

  /** Commits of finished records without a gap only, never back; no more in hand than there is room for. */
  #check(): void {
    if (this.#broken !== undefined) throw this.#broken;
    const { commits } = this.#setup.agent.groups;
    for (const { offsets } of commits.slice(this.#commitsSeen)) {
      for (const { partition, offset } of offsets) {
        const before = this.#committed[partition] ?? 0;
        assert.ok(
          offset >= before,
          `a commit of ${partition} went back from ${before} to ${offset}`,
        );
        for (let it = before; it < offset; it++) {
          const isFinished = this.#finished[partition]?.has(it);
          assert.ok(
            isFinished,
            `${offset} of ${partition} was committed, and ${it} is not finished`,
          );
        }
        this.#committed[partition] = offset;
      }
    }
    this.#commitsSeen = commits.length;
    const held = [0, 1, 2].reduce((sum, it) => sum + this.#heldOf(it), 0);
    const { bufferRecords } = this.#settings;
    assert.ok(held <= bufferRecords, `${held} records held, of ${bufferRecords}`);
  }

  /** Records that the consumer has taken and that are not finished. */
  #heldOf(partition: number): number {
    const position = this.#consumer?.position(TOPIC, partition) ?? 0;
    let held = 0;
    for (let offset = this.#committed[partition] ?? 0; offset < position; offset++) {
      if (!this.#finished[partition]?.has(offset)) held++;
    }
    return held;
  }

  #isThrough(): boolean {
    return this.#keys.every((keys, partition) => this.#committed[partition] === keys.length);
  }

  #checkEnd(): void {
    for (const [partition, keys] of this.#keys.entries()) {
      assert.equal(this.#finished[partition]?.size, keys.length, "every record is finished");
      assert.equal(this.#committed[partition], keys.length, "and committed");
    }
    assert.equal(this.#calls, 0);
    assert.equal(this.#setup.clock.pending, 0, "timers are left");
  }

  #upTo(n: number): number {
    return Math.floor(this.#random() * n);
  }

  #oneOf<T>(all: readonly T[]): T {
    return all[this.#upTo(all.length)] as T;
  }
}

function nameOf({ partition, offset }: ConsumerRecord): string {
  return `${partition}@${offset}`;
}
