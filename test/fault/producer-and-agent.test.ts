/**
 * The real producer on the real agent, under random failures of network, store and metadata, kills and restarts. Batches are shared
 * as within one process, or copied as by a network, and writes read them late. Every record settles once, and the log holds
 * what the callers were told. A failing seed is named in the error and replays with SIMULATION_SEED=<seed>.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import { createCluster } from "../../src/client/cluster.ts";
import type { Transport } from "../../src/client/transport.ts";
import type { StreamHouseError } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { decodeChunk } from "../../src/format/chunk.ts";
import { createProducer, type Producer } from "../../src/producer/producer.ts";
import type { AgentApi } from "../../src/rpc/agent-api.ts";
import type { ProduceRequest } from "../../src/rpc/gen/streamhouse/v1/producer.ts";
import type { SegmentSink } from "../../src/storage/segment-sink.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import {
  type BenchAgent,
  createTopic,
  memoryMetadata,
  readAll,
  seededRandom,
  startAgent,
} from "../unit/agent/bench-agent.ts";
import { type AppendFate, MemoryStore, TestSink } from "../unit/agent/memory-store.ts";
import { Chooser } from "./chooser.ts";
import { type Fate, type Faults, withFaults } from "./faulty-metadata.ts";
import { LossyChannel, type LossyWay } from "./lossy-channel.ts";

const SEEDS: readonly number[] = Array.from({ length: 30 }, (_, i) => i + 1);
const STEPS = 120;
const PARTITIONS = 2;

/** A write that is under way cannot be taken back, and reads the bytes until it ends: as on a folder. */
class StubbornSink extends TestSink {
  override append(...args: Parameters<SegmentSink["append"]>): ReturnType<SegmentSink["append"]> {
    return super.append(args[0], args[1]);
  }
}

interface Sent {
  readonly value: string;
  readonly partition: number;
  offset: number | undefined;
  error: StreamHouseError | undefined;
}

class Simulation implements LossyWay {
  readonly clock = new ManualClock();
  readonly trace: string[] = [];
  readonly #choose: Chooser;
  readonly #inner = memoryMetadata(this.clock);
  readonly #store = new MemoryStore();
  readonly #sent: Sent[] = [];
  readonly #copies: boolean;
  readonly #channels = new Set<LossyChannel>();
  #agent: BenchAgent | undefined;
  #faults: Faults | undefined;
  #sink: StubbornSink | undefined;
  #producer: Producer | undefined;
  #topicId = "";
  #starts = 0;

  constructor(seed: number) {
    this.#choose = new Chooser(seed);
    this.#copies = seed % 2 === 0;
  }

  async run(): Promise<void> {
    await this.#start();
    this.#topicId = await createTopic(this.agent, "t", { partitions: PARTITIONS });
    const random = seededRandom(999);
    const components = { clock: this.clock, random, logger: silentLogger };
    const cluster = createCluster(this.#transport(), components);
    this.#producer = createProducer(
      { ...components, cluster, clientId: "test", telemetry: false },
      {
        ...{ lingerMs: 2, batchBytes: 150, inFlight: 1 + this.below(5), requestTimeoutMs: 1_500 },
        ...{ deliveryTimeoutMs: 12_000, retryBackoffMs: 20 },
      },
    );
    for (let i = 0; i < STEPS; i++) await this.#step();
    await this.#finish();
  }

  get api(): AgentApi {
    return this.agent.agent.api;
  }

  get agent(): BenchAgent {
    assert.ok(this.#agent);
    return this.#agent;
  }

  below(n: number): number {
    return this.#choose.below(n);
  }

  pick<T>(options: readonly T[]): T {
    return this.#choose.pick(options);
  }

  copied(request: ProduceRequest): ProduceRequest {
    if (!this.#copies) return request;
    const batches = request.batches.map((it) => ({ ...it, records: it.records.slice() }));
    return { ...request, batches };
  }

  get inOneProcess(): boolean {
    return !this.#copies;
  }

  #transport(): Transport {
    const api = new Proxy({} as AgentApi, {
      get: (_target, name: keyof AgentApi) => (request: never, call: never) =>
        this.agent.agent.api[name](request, call),
    });
    const connection = {
      ...{ address: "in-process", api },
      openProducer: () => {
        const channel = new LossyChannel(this, () => this.#channels.delete(channel));
        this.#channels.add(channel);
        return channel;
      },
      close: async () => {},
    };
    return { bootstrap: ["in-process"], connection: () => connection, close: async () => {} };
  }

  async #start(): Promise<void> {
    const { metadata, faults } = withFaults(this.#inner);
    const sink = new StubbornSink(this.#store, { concurrency: 1 + this.below(2) });
    this.#starts++;
    this.#agent = await startAgent({
      ...{ clock: this.clock, metadata, store: this.#store, sink },
      random: seededRandom(this.#starts),
      agent: { flushBytes: 200, bufferBytesMax: 4_000_000, flushTimeLimitMs: 3_000 },
    });
    this.#faults = faults;
    this.#sink = sink;
  }

  async #step(): Promise<void> {
    const choice = this.below(100);
    if (choice < 45) this.#send();
    else if (choice < 65) await this.clock.run(this.below(40));
    else if (choice < 69) await this.clock.run(this.below(4_000));
    else if (choice < 76) this.#breakSink();
    else if (choice < 84) this.#breakMetadata();
    else if (choice < 90) this.#release();
    else if (choice < 96) this.#breakChannels();
    else if (choice < 98) await this.#restart();
    else await this.clock.run(15_000);
  }

  #send(): void {
    for (let i = 1 + this.below(12); i > 0; i--) {
      const partition = this.below(PARTITIONS);
      const sent: Sent = {
        ...{ value: `v${this.#sent.length}`, partition, offset: undefined, error: undefined },
      };
      this.#sent.push(sent);
      this.#producer?.send({ topic: "t", partition, value: sent.value }).then(
        ({ offset }) => {
          assert.ok(sent.offset === undefined && sent.error === undefined);
          sent.offset = offset;
          this.trace.push(`${sent.value} = ${partition}@${offset}`);
        },
        (error: StreamHouseError) => {
          sent.error = error;
          this.trace.push(`${sent.value} ${error.code} ${error.outcome}: ${error.message}`);
        },
      );
    }
  }

  #breakSink(): void {
    const fates: readonly AppendFate[] = ["fail", "full", "hold", "hold", "ok"];
    const fate = this.pick(fates);
    this.trace.push(`next write: ${fate}`);
    this.#sink?.fates.push(fate);
  }

  #breakMetadata(): void {
    const fates: readonly Fate[] = ["none", "applied", "applied", "lost", "hold", "late"];
    const method = this.pick(["commitFlush", "commitFlush", "resolveFlush", "renewRun"] as const);
    const fate = this.pick(fates);
    this.trace.push(`next ${method}: ${fate}`);
    const next = this.#faults?.next;
    if (next !== undefined) next[method] = [...(next[method] ?? []), fate];
  }

  #release(): void {
    this.trace.push("release");
    if (this.below(3) > 0) this.#sink?.release();
    else this.#sink?.failHeld();
    this.#faults?.release();
  }

  #breakChannels(): void {
    this.trace.push("channels break");
    for (const channel of [...this.#channels]) channel.break();
  }

  /** As kill -9: the agent says nothing more; what it had sent to metadata may still arrive. */
  async #restart(): Promise<void> {
    this.trace.push("kill and restart");
    const [dead, faults, sink] = [this.agent, this.#faults, this.#sink];
    assert.ok(faults && sink);
    for (const channel of [...this.#channels]) channel.break();
    faults.down = true;
    sink.fates.push(...Array.from({ length: 1_000 }, () => "hold" as const));
    await this.#start();
    sink.failHeld();
    const stopped = dead.agent.stop();
    sink.failHeld();
    await this.clock.until(stopped);
    if (this.below(2) === 0) faults.release();
  }

  async #finish(): Promise<void> {
    const { faults, sink, producer } = {
      ...{ faults: this.#faults, sink: this.#sink, producer: this.#producer },
    };
    assert.ok(faults && sink && producer);
    this.trace.push("finish");
    for (const fates of Object.values(faults.next)) fates.length = 0;
    sink.fates.length = 0;
    for (let i = 0; i < 200 && (i < 20 || producer.pending > 0); i++) {
      sink.release();
      faults.release();
      await this.clock.run(100);
    }
    assert.equal(producer.pending, 0, "everything is settled in the end");
    // It works again, and agrees with the log.
    for (let i = 0; i < 5; i++) this.#send();
    await this.clock.until(producer.flush());
    await this.clock.until(producer.close());
    const last = this.#sent.at(-1);
    assert.equal(last?.error, undefined, "the producer works again");
    await this.clock.run(5_000);
    for (let partition = 0; partition < PARTITIONS; partition++) await this.#compare(partition);
    await this.#checkChunks();
    await this.clock.until(this.agent.agent.stop());
    assert.equal(this.clock.pending, 0, "nothing runs after the end");
  }

  async #compare(partition: number): Promise<void> {
    const log = await this.clock.until(readAll(this.agent, this.#topicId, partition));
    const order = log.map((it) => Number(it.slice(1)));
    for (let i = 1; i < order.length; i++) {
      assert.ok((order[i] ?? 0) > (order[i - 1] ?? 0), `in order, each once: ${log[i]} at ${i}`);
    }
    const there = new Set(log);
    for (const { value, offset, error, partition: its } of this.#sent) {
      if (its !== partition) continue;
      assert.ok(offset !== undefined || error !== undefined, `${value} is settled`);
      if (offset !== undefined) assert.equal(log[offset], value, `${value} at ${offset}`);
      else if (error?.outcome === "none") assert.ok(!there.has(value), `${value} is not there`);
    }
  }

  async #checkChunks(): Promise<void> {
    for (const { location } of await this.#inner.listFlushes(0, 10_000)) {
      const chunk = this.#store.objects.get(location.key)?.subarray(location.position);
      assert.ok(chunk);
      assert.equal(decodeChunk(chunk).length, location.length, "what is committed is whole");
    }
  }
}

describe("a producer and an agent under random failures and restarts", () => {
  it("settle every record once, and the log holds what the callers were told", async () => {
    const given = process.env.SIMULATION_SEED;
    const seeds = given === undefined ? SEEDS : [Number(given)];
    for (const seed of seeds) {
      const simulation = new Simulation(seed);
      try {
        await simulation.run();
      } catch (error) {
        const last = simulation.trace.slice(-60).join("\n");
        throw new Error(`SIMULATION_SEED=${seed}: ${String(error)}\n${last}`, { cause: error });
      }
    }
  });
});
