/**
 * Agents and a cluster that do what a test tells them: answer late, out of order, with errors, not at all, or lose an answer after the
 * batch was appended. The log keeps the agent's rules of idempotence: duplicates are recognised, gaps refused, old epochs fenced.
 */
import type { Cluster } from "../../../src/client/cluster.ts";
import type { AgentConnection, ProduceChannel } from "../../../src/client/transport.ts";
import { StreamHouseError, type StreamHouseErrorInit } from "../../../src/core/errors.ts";
import type { Topic } from "../../../src/core/topic.ts";
import { decodeBatch, plainRecord } from "../../../src/format/batch-decoder.ts";
import { type BatchHeader, readBatchHeader } from "../../../src/format/batch-header.ts";
import type { AgentApi, CallContext } from "../../../src/rpc/agent-api.ts";
import type {
  Batch,
  BatchResult,
  ProduceRequest,
  ProduceResponse,
} from "../../../src/rpc/gen/streamhouse/v1/producer.ts";
import { toErrorDetail } from "../../../src/rpc/status.ts";

export interface Logged {
  readonly value: string;
  readonly key: string | null;
  readonly offset: number;
}

interface ProducerState {
  epoch: number;
  next: number;
  last: { readonly sequence: number; readonly count: number; readonly offset: number }[];
}

interface PartitionLog {
  readonly records: { value: string; key: string | null }[];
  readonly producers: Map<number, ProducerState>;
}

const text = new TextDecoder();

/** What is stored, whichever agent took it. */
export class FakeLog {
  readonly #partitions = new Map<string, PartitionLog>();
  #lastProducerId = 0;
  readonly #epochs = new Map<number, number>();
  /** Each `InitProducer` that was answered. */
  readonly inits: { producerId: number; producerEpoch: number }[] = [];

  init(producerId: number, producerEpoch: number): { producerId: number; producerEpoch: number } {
    let answer = { producerId: ++this.#lastProducerId, producerEpoch: 0 };
    if (producerId !== 0) {
      this.#lastProducerId--;
      if (this.#epochs.get(producerId) !== producerEpoch) throw fault("PRODUCER_FENCED", "fenced");
      answer = { producerId, producerEpoch: producerEpoch + 1 };
    }
    this.#epochs.set(answer.producerId, answer.producerEpoch);
    this.inits.push(answer);
    return answer;
  }

  /** Forgets every producer, as an agent does after a day. */
  forgetProducers(): void {
    for (const partition of this.#partitions.values()) partition.producers.clear();
    this.#epochs.clear();
  }

  values(topicId: string, partition: number): string[] {
    return this.partition(topicId, partition).records.map((it) => it.value);
  }

  partition(topicId: string, partition: number): PartitionLog {
    const key = `${topicId}/${partition}`;
    let log = this.#partitions.get(key);
    if (log === undefined) {
      log = { records: [], producers: new Map() };
      this.#partitions.set(key, log);
    }
    return log;
  }

  append(batch: Batch): Omit<BatchResult, "error"> {
    const header = readBatchHeader(batch.records);
    const log = this.partition(batch.topicId, batch.partition);
    const known = this.#checkSequence(log, header);
    const answer = { topicId: batch.topicId, partition: batch.partition, appendTimeMs: 1 };
    if (known !== undefined) return { ...answer, baseOffset: known, duplicate: true };
    const baseOffset = log.records.length;
    const records = decodeBatch(batch.records, plainRecord);
    if (records instanceof Promise) throw new Error("use decoded() before append()");
    for (const it of records) {
      const key = it.key === null ? null : text.decode(it.key);
      log.records.push({ value: text.decode(it.value ?? new Uint8Array()), key });
    }
    this.#noteSequence(log, header, baseOffset);
    return { ...answer, baseOffset, duplicate: false };
  }

  #checkSequence(log: PartitionLog, header: BatchHeader): number | undefined {
    const { producerId, producerEpoch, baseSequence, recordCount } = header;
    if (producerId < 0) return undefined;
    const state = log.producers.get(producerId);
    if (state === undefined) {
      if (baseSequence !== 0) throw fault("UNKNOWN_PRODUCER");
      return undefined;
    }
    if (producerEpoch < state.epoch) throw fault("PRODUCER_FENCED", "fenced");
    const expected = producerEpoch > state.epoch ? 0 : state.next;
    if (baseSequence === expected) return undefined;
    const same = state.last.find((it) => it.sequence === baseSequence && it.count === recordCount);
    if (same !== undefined && state.epoch === producerEpoch) return same.offset;
    throw fault("SEQUENCE_GAP", "unavailable", { retriable: baseSequence > expected });
  }

  #noteSequence(log: PartitionLog, header: BatchHeader, offset: number): void {
    const { producerId, producerEpoch, baseSequence, recordCount } = header;
    if (producerId < 0) return;
    const before = log.producers.get(producerId);
    const last = before?.epoch === producerEpoch ? before.last : [];
    const entry = { sequence: baseSequence, count: recordCount, offset };
    log.producers.set(producerId, {
      epoch: producerEpoch,
      next: baseSequence + recordCount,
      last: [...last, entry].slice(-5),
    });
  }
}

export function fault(
  code: StreamHouseErrorInit["code"],
  kind: StreamHouseErrorInit["kind"] = "unavailable",
  more: Partial<StreamHouseErrorInit> = {},
): StreamHouseError {
  return new StreamHouseError({ code, kind, message: `fake ${code}`, ...more });
}

/** What an agent does with one request. */
export interface Reaction {
  /** Batches are appended (default), or not. */
  readonly apply?: boolean;
  /** Answers this for each batch, in place of what came of it. */
  readonly batchError?: StreamHouseError;
  /** Refuses the request as a whole. */
  readonly reject?: StreamHouseError;
  /** Answers only when this resolves; it is appended at once. */
  readonly until?: Promise<unknown>;
}

export type Script = (request: ProduceRequest, call: CallContext, nth: number) => Reaction;

export class FakeAgent implements AgentConnection {
  readonly address: string;
  readonly api: AgentApi;
  readonly log: FakeLog;
  readonly requests: ProduceRequest[] = [];
  readonly calls: CallContext[] = [];
  script: Script = () => ({});
  onInit: () => void | Promise<void> = () => {};
  /** Requests without an answer. */
  open = 0;
  openMost = 0;
  channels = 0;

  constructor(address: string, log: FakeLog) {
    this.address = address;
    this.log = log;
    const initProducer: AgentApi["initProducer"] = async (request) => {
      await this.onInit();
      return this.log.init(request.producerId, request.producerEpoch);
    };
    this.api = new Proxy({ initProducer } as AgentApi, {
      get(target, name) {
        if (name === "initProducer") return target.initProducer;
        throw new Error(`the fake agent has no ${String(name)}`);
      },
    });
  }

  openProducer(): ProduceChannel {
    this.channels++;
    let broken = false;
    return {
      get broken() {
        return broken;
      },
      produce: (request, call) => this.#produce(request, call),
      close: async () => {
        broken = true;
      },
    };
  }

  async #produce(request: ProduceRequest, call: CallContext): Promise<ProduceResponse> {
    // A copy: the producer may mark its bytes anew after the answer.
    const kept = {
      ...request,
      batches: request.batches.map((it) => ({ ...it, records: it.records.slice() })),
    };
    this.requests.push(kept);
    this.calls.push(call);
    this.open++;
    this.openMost = Math.max(this.openMost, this.open);
    const reaction = this.script(kept, call, this.requests.length);
    try {
      const results = this.#results(kept, reaction);
      await reaction.until;
      if (reaction.reject !== undefined) throw reaction.reject;
      return { results };
    } finally {
      this.open--;
    }
  }

  #results(request: ProduceRequest, reaction: Reaction): BatchResult[] {
    return request.batches.map((batch) => {
      const { topicId, partition } = batch;
      let error = reaction.batchError;
      let applied: Omit<BatchResult, "error"> | undefined;
      const apply = reaction.apply ?? (reaction.batchError ?? reaction.reject) === undefined;
      if (apply) {
        try {
          applied = this.log.append(batch);
        } catch (thrown) {
          if (!StreamHouseError.is(thrown)) throw thrown;
          error ??= thrown;
        }
      }
      if (error === undefined && applied !== undefined) return { ...applied, error: undefined };
      const none = { topicId, partition, baseOffset: -1, appendTimeMs: 0, duplicate: false };
      return { ...none, error: error && toErrorDetail(error) };
    });
  }

  async close(): Promise<void> {}
}

export class FakeCluster implements Cluster {
  readonly log: FakeLog = new FakeLog();
  readonly agents: readonly FakeAgent[];
  readonly topics: Map<string, Topic> = new Map();
  /** Which agent holds a partition, as far as clients are told. */
  readonly holders: Map<string, FakeAgent> = new Map();
  readonly noted: StreamHouseError[] = [];
  onTopic: (name: string, fresh: boolean) => void | Promise<void> = () => {};
  onHolder: () => void = () => {};
  lookups = 0;
  #ids = 0;

  constructor(agents = 1) {
    this.agents = Array.from(
      { length: agents },
      (_, i) => new FakeAgent(`agent-${i}:7070`, this.log),
    );
  }

  get agent(): FakeAgent {
    return this.agents[0] as FakeAgent;
  }

  addTopic(name: string, partitions = 1): Topic {
    const id = `00000000-0000-4000-8000-${String(++this.#ids).padStart(12, "0")}`;
    const topic = { id, name, partitions, retentionMs: 0, createdAtMs: 0 };
    this.topics.set(name, topic);
    return topic;
  }

  async topic(name: string, options: { readonly fresh?: boolean } = {}): Promise<Topic> {
    this.lookups++;
    await this.onTopic(name, options.fresh ?? false);
    const topic = this.topics.get(name);
    if (topic === undefined) throw fault("TOPIC_NOT_FOUND", "invalid");
    return topic;
  }

  async holder(topicId: string, partition: number): Promise<AgentConnection> {
    this.onHolder();
    return this.holders.get(`${topicId}/${partition}`) ?? this.agent;
  }

  async any(): Promise<AgentConnection> {
    return this.agent;
  }

  async all(): Promise<readonly AgentConnection[]> {
    return this.agents;
  }

  note(topicId: string, partition: number, error: unknown): void {
    if (!StreamHouseError.is(error)) return;
    this.noted.push(error);
    const holder = this.agents.find((it) => it.address === error.holderAddress);
    if (holder !== undefined) this.holders.set(`${topicId}/${partition}`, holder);
  }

  async close(): Promise<void> {}
}
