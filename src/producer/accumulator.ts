/**
 * Gathers records into batches: one open batch for each partition, within one buffer for all. A batch is offered to the sender
 * when it is full, when it has lingered, or when something waits for it (a flush, or sends that find the buffer full).
 * It never talks to the network. Called by the producer's door (records in) and by the sender (batches done).
 */
import type { Clock } from "../core/clock.ts";
import { Queue } from "../core/queue.ts";
import type { BytesLike, HeadersInput, ProducerRecord } from "../core/record.ts";
import { checkPartition } from "../core/topic.ts";
import { BATCH_HEADER_BYTES } from "../format/batch-header.ts";
import { ProducerBatch } from "./batch.ts";
import { Generations } from "./generations.ts";
import type { ProducerInstruments } from "./instruments.ts";
import type { ResolvedProducerOptions } from "./options.ts";
import { KeyPartitioner } from "./partitioner.ts";
import { type Partition, TopicState } from "./topic-state.ts";
import { WaitingLine } from "./waiting-line.ts";

/** What the accumulator asks of the sender. */
export interface AccumulatorEvents {
  /** The partition has a batch to send. */
  offer(partition: Partition): void;
  /** The topic must be looked up; `line.resume()` is called afterwards. */
  find(topic: TopicState, options: { readonly fresh: boolean }): void;
  /** The topic was looked up long ago: it may have more partitions by now. Nothing waits for the answer. */
  refresh(topic: TopicState): void;
  /** A batch has lingered at this moment (monotonic ms). */
  wakeAt(at: number): void;
  /** A batch or a waiting call meets its deadline at this moment. */
  deadlineAt(at: number): void;
}

/** When a record was sent, in both clocks, the flush generation it belongs to, and its headers with the trace's. */
export interface Arrival {
  readonly startedAt: number;
  timestamp: number;
  readonly generation: number;
  headers: HeadersInput | undefined;
}

/** A record whose partition is not known to exist: the topic may have grown, and is looked up once. */
export const STALE: unique symbol = Symbol("stale topic");

export class Accumulator {
  readonly #options: ResolvedProducerOptions;
  readonly #clock: Clock;
  readonly #instruments: ProducerInstruments;
  readonly #events: AccumulatorEvents;
  readonly #keys = new KeyPartitioner();
  readonly #topics = new Map<string, TopicState>();
  /** Batches that are not done, and where they belong. Oldest first. */
  readonly live: Map<ProducerBatch, Partition> = new Map();
  /** Open batches that linger, oldest first; those closed meanwhile are passed over. */
  readonly #lingering = new Queue<ProducerBatch>();
  readonly generations: Generations = new Generations();
  /** Calls that wait. */
  readonly line: WaitingLine;
  #used = 0;
  #taken = 0;
  #settled = 0;
  /** Handed to the builder for each record, so that none is made. */
  readonly #scratch: {
    key: BytesLike | null | undefined;
    value: BytesLike | null;
    headers: HeadersInput | undefined;
    timestamp: number;
  } = { key: null, value: null, headers: undefined, timestamp: 0 };

  constructor(
    options: ResolvedProducerOptions,
    clock: Clock,
    instruments: ProducerInstruments,
    events: AccumulatorEvents,
  ) {
    this.#options = options;
    this.#clock = clock;
    this.#instruments = instruments;
    this.#events = events;
    this.line = new WaitingLine(
      {
        isFull: () => this.full,
        makeRoom: () => this.#hastenAll(),
        find: events.find,
        deadlineAt: events.deadlineAt,
      },
      this.generations,
    );
  }

  /** Records that have not settled. */
  get pending(): number {
    return this.#taken - this.#settled;
  }

  /** Records taken since the beginning. */
  get takenEver(): number {
    return this.#taken;
  }

  /** No room: calls wait, and lingering batches do not. */
  get full(): boolean {
    return this.#used >= this.#options.bufferBytes;
  }

  /** A topic that was sent to before. */
  knownTopic(name: string): TopicState | undefined {
    return this.#topics.get(name);
  }

  /** The topic, from now on. */
  addTopic(name: string): TopicState {
    const topic = new TopicState(name, this.#instruments);
    this.#topics.set(name, topic);
    return topic;
  }

  /** Whether a record of this topic can go into a batch now, with nothing before it in a queue. */
  canPlace(topic: TopicState): boolean {
    return topic.ready && this.line.isOpen && !this.full;
  }

  /** Counts records that were taken. */
  taken(topic: TopicState, records: number): void {
    this.#taken += records;
    topic.pending += records;
    topic.instruments.pendingRecords.add(records);
  }

  /** Counts records whose callers have been told. */
  settled(topic: TopicState, records: number): void {
    this.#settled += records;
    topic.pending -= records;
    topic.instruments.pendingRecords.add(-records);
  }

  /**
   * Puts a record into its batch; the caller adds its entry there. Answers `STALE` if the partition may exist only since the
   * topic was looked up; with `certain` that is an error.
   * @throws StreamHouseError for a record that no batch takes
   */
  place(
    topic: TopicState,
    record: ProducerRecord,
    arrival: Arrival,
    certain: boolean,
  ): ProducerBatch | typeof STALE {
    const { known } = topic;
    const chosen = this.#choose(topic, record);
    if (chosen !== undefined && known !== undefined) {
      if (!certain && Number.isInteger(chosen) && chosen >= known.partitions) return STALE;
      checkPartition(known, chosen);
    }
    const scratch = this.#scratch;
    scratch.key = record.key;
    scratch.value = record.value;
    scratch.headers = arrival.headers;
    scratch.timestamp = arrival.timestamp;
    for (;;) {
      const partition = topic.partitions[chosen ?? topic.sticky] as Partition;
      const batch = this.#openBatch(partition, arrival);
      const size = this.#append(batch, partition, record);
      if (size === undefined) {
        this.close(partition, batch);
        continue;
      }
      batch.recordCount++;
      batch.unsettled++;
      batch.charged += size;
      this.#used += size;
      // Another one of this size would not fit: it need not linger for it.
      if (batch.builder.sizeBytes + size > this.#options.batchBytes) this.close(partition, batch);
      return batch;
    }
  }

  #append(batch: ProducerBatch, partition: Partition, record: ProducerRecord): number | undefined {
    const scratch = this.#scratch;
    try {
      return batch.builder.append(scratch);
    } catch (error) {
      if (scratch.headers !== record.headers) {
        // With the trace's headers it is over a limit, or was before: what becomes of a record does not depend on a trace.
        scratch.headers = record.headers;
        return this.#append(batch, partition, record);
      }
      if (batch.recordCount === 0) {
        partition.open = undefined;
        batch.phase = "done";
        this.release(batch);
      }
      throw error;
    }
  }

  /** Undefined: any partition will do. */
  #choose(topic: TopicState, record: ProducerRecord): number | undefined {
    if (record.partition !== undefined) return record.partition;
    const { partitioner } = this.#options;
    if (partitioner !== undefined && topic.known !== undefined) {
      const own = partitioner(topic.known, record);
      if (own !== undefined) return own;
    }
    const { key } = record;
    if (key === undefined || key === null || topic.known === undefined) return undefined;
    return this.#keys.partition(key, topic.known.partitions);
  }

  #openBatch(partition: Partition, arrival: Arrival): ProducerBatch {
    const open = partition.open;
    if (open !== undefined) {
      // The first record's deadline is the whole batch's: a later one gets another batch rather than a much shorter deadline.
      const tooOld = arrival.startedAt - open.startedAt > this.#options.deliveryTimeoutMs / 8;
      if (!tooOld && arrival.generation >= open.generation) return open;
      this.close(partition, open);
    }
    return this.#begin(partition, arrival);
  }

  #begin(partition: Partition, arrival: Arrival): ProducerBatch {
    const { lingerMs, deliveryTimeoutMs, compression, batchBytes } = this.#options;
    const deadlineAt = arrival.startedAt + deliveryTimeoutMs;
    const batch = new ProducerBatch({
      partition: partition.index,
      compression,
      batchBytes,
      bytesExpected: partition.bytesBefore,
      generation: arrival.generation,
      startedAt: arrival.startedAt,
      deadlineAt,
    });
    partition.open = batch;
    if (arrival.startedAt >= partition.topic.refreshAt) this.#events.refresh(partition.topic);
    this.live.set(batch, partition);
    batch.charged = BATCH_HEADER_BYTES;
    this.#used += BATCH_HEADER_BYTES;
    this.generations.enter(batch.generation);
    this.#events.deadlineAt(deadlineAt);
    if (lingerMs === 0 || batch.generation < this.generations.current) {
      batch.due = true;
      this.#events.offer(partition);
    } else {
      batch.lingersUntil = this.#clock.monotonic() + lingerMs;
      this.#lingering.push(batch);
      this.#events.wakeAt(batch.lingersUntil);
    }
    return batch;
  }

  /** The open batch takes no more records. */
  close(partition: Partition, batch: ProducerBatch): void {
    partition.open = undefined;
    partition.bytesBefore = batch.sizeBytes;
    batch.phase = "closed";
    partition.queue.push(batch);
    partition.topic.turn(partition.index);
    this.#events.offer(partition);
  }

  /** Offers batches that have lingered; answers when the next one will have, if any lingers. */
  ripen(now: number): number | undefined {
    for (;;) {
      const batch = this.#lingering.peek();
      if (batch === undefined) return undefined;
      if (batch.phase === "open" && !batch.due && batch.lingersUntil > now)
        return batch.lingersUntil;
      this.#lingering.shift();
      this.#hasten(batch);
    }
  }

  #hasten(batch: ProducerBatch): void {
    const partition = this.live.get(batch);
    if (partition === undefined || batch.phase !== "open") return;
    batch.due = true;
    this.#events.offer(partition);
  }

  #hastenAll(): void {
    for (let batch = this.#lingering.shift(); batch; batch = this.#lingering.shift()) {
      this.#hasten(batch);
    }
  }

  /** A batch is done: gives its room to those who wait. */
  release(batch: ProducerBatch): void {
    if (!this.live.delete(batch)) return;
    this.#used -= batch.charged;
    this.generations.leave(batch.generation);
    this.line.admit();
  }

  /** Forgets a topic that does not exist, once nothing of it is left. */
  forget(topic: TopicState): void {
    if (topic.pending === 0 && this.#topics.get(topic.name) === topic) {
      this.#topics.delete(topic.name);
    }
  }

  /** Resolves when everything taken before has settled; nothing of it lingers. */
  flush(): Promise<void> {
    const over = this.generations.next();
    this.#hastenAll();
    return over;
  }
}
