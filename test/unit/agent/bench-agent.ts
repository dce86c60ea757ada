/** One agent on stores in memory and a manual clock, with short ways to produce and fetch. What the agent's tests stand on. */
import assert from "node:assert/strict";
import { type Agent, createAgent } from "../../../src/agent/agent.ts";
import type { AgentOptions } from "../../../src/agent/options.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";
import type { RandomBytes } from "../../../src/core/ids.ts";
import { type Logger, silentLogger } from "../../../src/core/logger.ts";
import {
  NO_PRODUCER,
  type ProducerStamp,
  RecordBatchBuilder,
} from "../../../src/format/batch-builder.ts";
import { decodeBatch, plainRecord } from "../../../src/format/batch-decoder.ts";
import type { MetadataStore } from "../../../src/metadata/metadata-store.ts";
import { createSqliteMetadata } from "../../../src/metadata/sqlite.ts";
import type { PartitionData } from "../../../src/rpc/gen/streamhouse/v1/consumer.ts";
import { Acks, type BatchResult } from "../../../src/rpc/gen/streamhouse/v1/producer.ts";
import { fromErrorDetail } from "../../../src/rpc/status.ts";
import type { TelemetryOptions } from "../../../src/telemetry/telemetry.ts";
import { ManualClock, settle } from "../../../src/testing/manual-clock.ts";
import { MemoryStore, TestSink } from "./memory-store.ts";

export interface BenchOptions {
  readonly agent?: AgentOptions;
  readonly clock?: ManualClock;
  readonly metadata?: MetadataStore;
  readonly store?: MemoryStore;
  readonly sink?: TestSink;
  readonly telemetry?: TelemetryOptions | false;
  readonly logger?: Logger;
  readonly random?: RandomBytes;
}

export interface BenchAgent {
  readonly agent: Agent;
  readonly clock: ManualClock;
  readonly metadata: MetadataStore;
  readonly store: MemoryStore;
  readonly sink: TestSink;
}

/** Numbers that repeat with the seed (mulberry32). */
export function seededRandom(seed: number): RandomBytes {
  let state = seed >>> 0;
  return (into) => {
    for (let i = 0; i < into.length; i++) {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      into[i] = (t ^ (t >>> 14)) & 0xff;
    }
    return into;
  };
}

/** The real metadata store, in memory. */
export function memoryMetadata(clock: ManualClock): MetadataStore {
  return createSqliteMetadata({ path: ":memory:", clock });
}

export async function startAgent(options: BenchOptions = {}): Promise<BenchAgent> {
  const clock = options.clock ?? new ManualClock();
  const metadata = options.metadata ?? memoryMetadata(clock);
  const store = options.store ?? new MemoryStore();
  const sink = options.sink ?? new TestSink(store);
  const agent = createAgent(
    {
      metadata,
      store,
      sink,
      clock,
      random: options.random ?? seededRandom(1),
      logger: options.logger ?? silentLogger,
      telemetry: options.telemetry ?? false,
    },
    { predecessorsDead: true, agentId: "a1", ...options.agent },
  );
  await clock.until(agent.start());
  return { agent, clock, metadata, store, sink };
}

export async function createTopic(
  bench: BenchAgent,
  name: string,
  options: { partitions?: number; retentionMs?: number } = {},
): Promise<string> {
  const { partitions = 1, retentionMs = 0 } = options;
  const answer = bench.agent.api.createTopic({ name, partitions, retentionMs }, {});
  const { topic } = await bench.clock.until(answer);
  return topic?.topicId ?? "";
}

/** A sealed batch with one record for each value. */
export function batchOf(
  values: readonly string[],
  stamp: ProducerStamp = NO_PRODUCER,
  timestamp = 1_700_000_000_000,
): Uint8Array {
  const builder = new RecordBatchBuilder({ compression: "none", bytesMax: 1_048_576 });
  for (const value of values) builder.append({ key: null, value, timestamp });
  const bytes = builder.seal(stamp);
  assert.ok(bytes instanceof Uint8Array);
  return bytes;
}

export interface SendOptions {
  readonly partition?: number;
  readonly stamp?: ProducerStamp;
  readonly acks?: Acks;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly timestamp?: number;
}

/** Sends one batch; does not wait for the answer. */
export function send(
  bench: BenchAgent,
  topic: string,
  values: readonly string[],
  options: SendOptions = {},
): Promise<BatchResult> {
  const { partition = 0, acks = Acks.ACKS_DURABLE, timeoutMs = 30_000, signal } = options;
  const records = batchOf(values, options.stamp, options.timestamp ?? bench.clock.now());
  const answer = bench.agent.api
    .produce({ acks, timeoutMs, batches: [{ topic, topicId: "", partition, records }] }, { signal })
    .then(({ results }) => results[0] as BatchResult);
  answer.catch(() => {});
  return answer;
}

/** Sends one batch and answers its base offset. */
export async function sendAndWait(
  bench: BenchAgent,
  topic: string,
  values: readonly string[],
  options: SendOptions = {},
): Promise<number> {
  return (await bench.clock.until(send(bench, topic, values, options))).baseOffset;
}

export interface FetchOptions {
  readonly partition?: number;
  readonly maxWaitMs?: number;
  readonly minBytes?: number;
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
}

export async function fetchRaw(
  bench: BenchAgent,
  topicId: string,
  offset: number,
  options: FetchOptions = {},
): Promise<PartitionData> {
  const { partition = 0, maxWaitMs = 0, minBytes = 1, maxBytes = 0, signal } = options;
  const { partitions } = await bench.agent.api.fetch(
    {
      partitions: [{ topicId, partition, offset, maxBytes }],
      maxWaitMs,
      minBytes,
      maxBytes,
      group: "",
      memberId: "",
      memberEpoch: 0,
    },
    { signal },
  );
  return partitions[0] as PartitionData;
}

/** The values from `offset` on that one fetch answers, with their offsets. */
export async function fetchValues(
  bench: BenchAgent,
  topicId: string,
  offset = 0,
  options: FetchOptions = {},
): Promise<readonly (readonly [offset: number, value: string])[]> {
  const data = await fetchRaw(bench, topicId, offset, options);
  if (data.error !== undefined) throw fromErrorDetail(data.error);
  const found: [number, string][] = [];
  for (const { records } of data.batches) {
    for (const it of await decodeBatch(records, plainRecord, { fromOffset: offset })) {
      found.push([it.offset, new TextDecoder().decode(it.value ?? new Uint8Array(0))]);
    }
  }
  return found;
}

/** Everything of a partition, by as many fetches as it takes. */
export async function readAll(
  bench: BenchAgent,
  topicId: string,
  partition = 0,
): Promise<readonly string[]> {
  const all: string[] = [];
  let next = 0;
  for (;;) {
    const page = await fetchValues(bench, topicId, next, { partition });
    if (page.length === 0) return all;
    for (const [offset, value] of page) {
      assert.equal(offset, next, "offsets are contiguous");
      all.push(value);
      next = offset + 1;
    }
  }
}

/** The error a promise rejects with. */
export async function failureOf(promise: Promise<unknown>): Promise<StreamHouseError> {
  try {
    await promise;
  } catch (error) {
    if (StreamHouseError.is(error)) return error;
    throw error;
  }
  throw new assert.AssertionError({ message: "expected a rejection" });
}

/** Lets promises go on until the condition holds. */
export async function eventually(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (condition()) return;
    await settle(1);
  }
  throw new assert.AssertionError({ message: `never came true: ${what}` });
}
