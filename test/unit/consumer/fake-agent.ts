/** An agent whose logs and groups are plain arrays, for consumers: tests write into it, break it, and see what was asked of it. */
import type { AgentConnection } from "../../../src/client/transport.ts";
import type { Clock } from "../../../src/core/clock.ts";
import { invalid, StreamHouseError } from "../../../src/core/errors.ts";
import type { BytesLike } from "../../../src/core/record.ts";
import type { Topic } from "../../../src/core/topic.ts";
import { NO_PRODUCER, RecordBatchBuilder } from "../../../src/format/batch-builder.ts";
import { readBatchHeader, stampBatch } from "../../../src/format/batch-header.ts";
import type { Compression } from "../../../src/format/compression.ts";
import type { AgentApi, CallContext } from "../../../src/rpc/agent-api.ts";
import type {
  FetchedBatch,
  FetchPartition,
  FetchRequest,
  FetchResponse,
  ListOffsetsRequest,
  ListOffsetsResponse,
  PartitionData,
} from "../../../src/rpc/gen/streamhouse/v1/consumer.ts";
import { toErrorDetail } from "../../../src/rpc/status.ts";
import { FakeGroups } from "./fake-groups.ts";

export interface FakePartition {
  logStart: number;
  next: number;
  batches: FetchedBatch[];
  /** Answered by every fetch of it. */
  error: StreamHouseError | undefined;
}

export interface FakeTopic extends Topic {
  readonly logs: FakePartition[];
}

export type Method = "fetch" | "listOffsets" | "heartbeat" | "commitOffsets" | "describeGroup";

export class FakeAgent {
  readonly address = "fake:1";
  readonly groups: FakeGroups;
  readonly topics: Map<string, FakeTopic> = new Map();
  /** Requests in the order in which they came. */
  readonly fetches: FetchRequest[] = [];
  /** Rejections of the next calls of a method, the first one first. */
  readonly faults: Map<Method, StreamHouseError[]> = new Map();
  /** Every call of these hangs until its signal aborts. */
  readonly hanging: Set<Method> = new Set();
  waitingFetches = 0;
  readonly #clock: Clock;
  readonly #waiters = new Set<() => void>();
  #ids = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.groups = new FakeGroups(this);
  }

  createTopic(name: string, partitions = 1): FakeTopic {
    const logs = Array.from({ length: partitions }, () => ({
      logStart: 0,
      next: 0,
      batches: [],
      error: undefined,
    }));
    const id = `00000000-0000-4000-8000-${String(++this.#ids).padStart(12, "0")}`;
    const topic = { id, name, partitions, retentionMs: 0, createdAtMs: 0, logs };
    this.topics.set(name, topic);
    return topic;
  }

  deleteTopic(name: string): void {
    this.topics.delete(name);
    this.#wake();
  }

  log(topic: string, partition = 0): FakePartition {
    const log = this.topics.get(topic)?.logs[partition];
    if (log === undefined) throw new Error(`the test has no ${topic}/${partition}`);
    return log;
  }

  /** One batch with these values. */
  async append(
    topic: string,
    values: readonly BytesLike[],
    options: {
      readonly partition?: number;
      readonly compression?: Compression;
      readonly key?: (value: BytesLike) => BytesLike | null;
    } = {},
  ): Promise<void> {
    const { partition = 0, compression = "none", key = () => null } = options;
    const builder = new RecordBatchBuilder({ compression, bytesMax: 1_000_000 });
    for (const value of values) {
      builder.append({ key: key(value), value, timestamp: this.#clock.now() });
    }
    const records = await builder.seal(NO_PRODUCER);
    const log = this.log(topic, partition);
    stampBatch(records, log.next, 1);
    log.next += values.length;
    log.batches.push({ records, appendTimeMs: this.#clock.now() });
    this.#wake();
  }

  /** Seconds since the batch that holds the offset was appended. */
  ageAt(log: FakePartition, offset: number): number {
    const holds = (records: Uint8Array) => {
      const { baseOffset, lastOffsetDelta } = readBatchHeader(records);
      return offset <= baseOffset + lastOffsetDelta;
    };
    const batch = log.batches.find((it) => holds(it.records));
    return (this.#clock.now() - (batch?.appendTimeMs ?? 0)) / 1_000;
  }

  /** Wakes waiting fetches, after a change that they must see. */
  #wake(): void {
    for (const waiter of [...this.#waiters]) waiter();
  }

  fault(method: Method, ...errors: StreamHouseError[]): void {
    this.faults.set(method, [...(this.faults.get(method) ?? []), ...errors]);
  }

  get connection(): AgentConnection {
    const api = {
      fetch: (request: FetchRequest, call: CallContext) =>
        this.#call("fetch", call, () => this.#fetch(request, call)),
      listOffsets: (request: ListOffsetsRequest, call: CallContext) =>
        this.#call("listOffsets", call, async () => this.#listOffsets(request)),
      ...this.groups.api((method, call, work) => this.#call(method, call, work)),
    };
    return {
      address: this.address,
      api: api as unknown as AgentApi,
      openProducer: () => {
        throw new Error("a consumer does not produce");
      },
      close: async () => {},
    };
  }

  async #call<T>(method: Method, call: CallContext, work: () => Promise<T>): Promise<T> {
    await Promise.resolve();
    if (this.hanging.has(method)) {
      await new Promise((_, reject) => {
        const { signal, timeoutMs = Number.MAX_SAFE_INTEGER } = call;
        const timer = this.#clock.schedule(timeoutMs, () => fail());
        const fail = () => {
          timer.cancel();
          reject(unavailable("the call was aborted"));
        };
        if (signal?.aborted) fail();
        signal?.addEventListener("abort", fail);
      });
    }
    const fault = this.faults.get(method)?.shift();
    if (fault !== undefined) throw fault;
    return work();
  }

  async #fetch(request: FetchRequest, call: CallContext): Promise<FetchResponse> {
    this.fetches.push(request);
    this.groups.checkFetch(request);
    const until = this.#clock.monotonic() + request.maxWaitMs;
    for (;;) {
      const answer = this.#answer(request);
      const ready = answer.some((it) => it.batches.length > 0 || it.error !== undefined);
      const left = until - this.#clock.monotonic();
      if (ready || left <= 0) return { partitions: answer };
      await this.#wait(left, call.signal);
    }
  }

  #wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
    this.waitingFetches++;
    return new Promise((resolve, reject) => {
      const end = () => {
        this.waitingFetches--;
        this.#waiters.delete(done);
        timer.cancel();
        signal?.removeEventListener("abort", onAbort);
      };
      const done = () => {
        end();
        resolve();
      };
      const onAbort = () => {
        end();
        reject(unavailable("aborted"));
      };
      const timer = this.#clock.schedule(ms, done);
      this.#waiters.add(done);
      if (signal?.aborted) onAbort();
      else signal?.addEventListener("abort", onAbort);
    });
  }

  #answer(request: FetchRequest): PartitionData[] {
    let left = request.maxBytes || 8_388_608;
    let first = true;
    return request.partitions.map((asked) => {
      const log = this.#logOf(asked);
      if (log instanceof StreamHouseError) return emptyData(asked, log);
      const batches: FetchedBatch[] = [];
      let own = asked.maxBytes || 1_048_576;
      for (const batch of log.batches) {
        const { baseOffset, lastOffsetDelta, sizeBytes } = readBatchHeader(batch.records);
        if (baseOffset + lastOffsetDelta < asked.offset) continue;
        if (!first && (sizeBytes > left || sizeBytes > own)) break;
        first = false;
        left -= sizeBytes;
        own -= sizeBytes;
        batches.push(batch);
      }
      const data = emptyData(asked, undefined);
      return { ...data, highWatermark: log.next, logStartOffset: log.logStart, batches };
    });
  }

  #logOf({ topicId, partition, offset }: FetchPartition): FakePartition | StreamHouseError {
    const topic = [...this.topics.values()].find((it) => it.id === topicId);
    const log = topic?.logs[partition];
    if (log === undefined) return invalid("TOPIC_NOT_FOUND", `no topic ${topicId}`);
    if (log.error !== undefined) return log.error;
    if (offset >= log.logStart) return log;
    return invalid("OFFSET_OUT_OF_RANGE", `${offset} is below ${log.logStart}`);
  }

  #listOffsets(request: ListOffsetsRequest): ListOffsetsResponse {
    const offsets = request.partitions.map(({ topicId, partition, timestampMs }) => {
      const log = this.#logOf({ topicId, partition, offset: Number.MAX_SAFE_INTEGER, maxBytes: 0 });
      if (log instanceof StreamHouseError) {
        return { topicId, partition, offset: 0, error: toErrorDetail(log) };
      }
      const found = log.batches
        .map((it) => readBatchHeader(it.records))
        .find((it) => it.maxTimestamp >= timestampMs);
      const byTime = found?.baseOffset ?? log.next;
      const offset = timestampMs === -2 ? log.logStart : timestampMs === -1 ? log.next : byTime;
      return { topicId, partition, offset, error: undefined };
    });
    return { offsets };
  }
}

export function unavailable(message: string): StreamHouseError {
  return new StreamHouseError({ code: "AGENT_UNREACHABLE", kind: "unavailable", message });
}

function emptyData(asked: FetchPartition, error: StreamHouseError | undefined): PartitionData {
  return {
    topicId: asked.topicId,
    partition: asked.partition,
    highWatermark: -1,
    logStartOffset: -1,
    batches: [],
    error: error && toErrorDetail(error),
    holderAddress: "",
  };
}
