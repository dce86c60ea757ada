/**
 * Decides what is sent next, where, and when: takes batches from the partitions in turn, several in one request, at most
 * `inFlight` requests at an agent, and never so that a batch could overtake an earlier one of its partition. What became of them
 * is the business of `answers.ts`. One microtask and one timer drive it. Made by the producer's door.
 */
import type { Cluster } from "../client/cluster.ts";
import type { AgentConnection } from "../client/transport.ts";
import type { Clock } from "../core/clock.ts";
import { asStreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { Queue } from "../core/queue.ts";
import { NO_PRODUCER } from "../format/batch-builder.ts";
import type { Accumulator } from "./accumulator.ts";
import { Alarm } from "./alarm.ts";
import type { Answers } from "./answers.ts";
import type { ProducerBatch } from "./batch.ts";
import type { ProducerInstruments } from "./instruments.ts";
import { type Cargo, Lane } from "./lane.ts";
import type { ResolvedProducerOptions } from "./options.ts";
import { Requests } from "./requests.ts";
import { type Identity, nextSequence, type ProducerIdentity } from "./sequence.ts";
import type { TopicFinder } from "./topic-finder.ts";
import type { Partition } from "./topic-state.ts";
import type { ProducerTracing } from "./tracing.ts";

export interface SenderComponents {
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly accumulator: Accumulator;
  readonly answers: Answers;
  readonly identity: ProducerIdentity;
  readonly finder: TopicFinder;
  readonly instruments: ProducerInstruments;
  readonly tracing: ProducerTracing;
  /** Aborts when the producer ends. */
  readonly ended: AbortSignal;
}

/** Framing of one batch in a request, beside its records and its topic's name. */
const BATCH_FRAMING_BYTES = 64;

export class Sender {
  readonly #options: ResolvedProducerOptions;
  readonly #components: SenderComponents;
  readonly #alarm: Alarm;
  readonly #requests: Requests;
  readonly #lanes = new Map<AgentConnection, Lane>();
  /** Partitions that may have something to send. */
  readonly #offered = new Queue<Partition>();
  /** Partitions that pause before a retry. */
  readonly #paused = new Set<Partition>();
  #scheduled = false;
  /** No deadline lies before it. */
  #nextDeadline = Number.POSITIVE_INFINITY;

  constructor(options: ResolvedProducerOptions, components: SenderComponents) {
    this.#options = options;
    this.#components = components;
    this.#alarm = new Alarm(components.clock, () => this.#tick());
    this.#requests = new Requests(options, components, (partition) => this.offer(partition));
  }

  /** The partition may have something to send. */
  offer(partition: Partition): void {
    if (!partition.offered) {
      partition.offered = true;
      this.#offered.push(partition);
    }
    this.#schedule();
  }

  /** Everything is looked at again: what it waited for is there. */
  offerAll(): void {
    for (const partition of this.#components.accumulator.live.values()) this.offer(partition);
  }

  wakeAt(at: number): void {
    this.#alarm.ringAt(at);
  }

  deadlineAt(at: number): void {
    if (at >= this.#nextDeadline) return;
    this.#nextDeadline = at;
    this.#alarm.ringAt(at);
  }

  /** Ends the timers and the channels. Everything has been settled before. */
  async close(): Promise<void> {
    this.#alarm.cancel();
    const lanes = [...this.#lanes.values()];
    this.#lanes.clear();
    this.#requests.abandonAll(lanes);
    await Promise.all(lanes.map((lane) => lane.close()));
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // After the running code, so that records sent in one go share batches, and batches requests.
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#components.ended.aborted || !this.#isIdentified()) return;
    const now = this.#components.clock.monotonic();
    for (let it = this.#offered.shift(); it; it = this.#offered.shift()) {
      it.offered = false;
      this.#route(it, now);
    }
    for (const lane of this.#lanes.values()) this.#fill(lane, now);
    this.#restIfIdle();
  }

  /** Nothing runs while nothing is pending: a timer would keep the process alive. */
  #restIfIdle(): void {
    const { accumulator } = this.#components;
    if (accumulator.pending > 0 || accumulator.live.size > 0) return;
    this.#alarm.cancel();
    this.#nextDeadline = Number.POSITIVE_INFINITY;
  }

  #tick(): void {
    const { clock, accumulator, answers, ended } = this.#components;
    if (ended.aborted) return;
    const now = clock.monotonic();
    if (now >= this.#nextDeadline) {
      this.#nextDeadline = Number.POSITIVE_INFINITY;
      const next = answers.expire(now);
      this.#nextDeadline = Math.min(this.#nextDeadline, next);
      this.#requests.abandonLate(this.#lanes.values());
      this.#schedule();
    }
    let next = Math.min(accumulator.ripen(now) ?? this.#nextDeadline, this.#nextDeadline);
    for (const partition of this.#paused) {
      if (partition.retryAt > now) next = Math.min(next, partition.retryAt);
      else {
        this.#paused.delete(partition);
        this.offer(partition);
      }
    }
    if (next < Number.POSITIVE_INFINITY) this.#alarm.ringAt(next);
    this.#restIfIdle();
  }

  // What may be sent

  /** With idempotence nothing is sent before there is an identity. */
  #isIdentified(): boolean {
    const { identity, accumulator } = this.#components;
    if (!this.#options.idempotent || identity.current !== undefined) return true;
    if (accumulator.live.size > 0) identity.ask();
    return false;
  }

  #isSendable(partition: Partition, now: number): boolean {
    const { topic } = partition;
    if (!topic.ready || topic.known === undefined) {
      if (partition.head !== undefined) this.#components.finder.find(topic, { fresh: true });
      return false;
    }
    if (partition.index >= topic.known.partitions) {
      this.#components.answers.partitionLost(partition);
      return false;
    }
    const head = this.#preparedHead(partition);
    if (head === undefined || partition.recovering) return false;
    if (partition.retryAt > now) {
      this.#paused.add(partition);
      this.#alarm.ringAt(partition.retryAt);
      return false;
    }
    // Without sequences order is kept by having one batch on its way.
    if (!this.#options.idempotent) return partition.inFlight.length === 0;
    return this.#isInSequence(partition, head, topic.known.id);
  }

  #isInSequence(partition: Partition, head: ProducerBatch, topicId: string): boolean {
    const { inFlight, basis } = partition;
    if (inFlight.length >= this.#options.inFlight) return false;
    if (!isCounted(partition, topicId)) {
      if (inFlight.length > 0) return false;
      const { identity } = this.#components;
      if (partition.spoiled && basis?.identity === identity.current) {
        // The others go on under the old one meanwhile: agents count for each partition apart.
        identity.ask();
        return false;
      }
    }
    // An agent remembers only so many batches: one that is sent again must still be among them.
    const ordinal = head.ordinal < 0 ? partition.nextOrdinal : head.ordinal;
    return ordinal - (inFlight[0]?.ordinal ?? ordinal) < this.#options.inFlight;
  }

  /** The batch to send next, with its bytes ready; undefined if there is none (yet). */
  #preparedHead(partition: Partition): ProducerBatch | undefined {
    const { accumulator } = this.#components;
    for (let head = partition.head; head; head = partition.head) {
      if (head.phase === "open" && (head.recordCount === 0 || head.needsPreparation)) {
        accumulator.close(partition, head);
      }
      if (head.recordCount === 0 && head.phase !== "sealing") {
        // Everything in it was taken back.
        head.phase = "done";
        partition.queue.shift();
        accumulator.release(head);
        continue;
      }
      if (!head.needsPreparation) return head;
      if (head.phase === "closed") void this.#prepare(partition, head);
      return undefined;
    }
    return undefined;
  }

  async #prepare(partition: Partition, batch: ProducerBatch): Promise<void> {
    try {
      await batch.prepare();
    } catch (thrown) {
      const error = asStreamHouseError(thrown, `compressing a batch for ${partition.topic.name}`);
      if (batch.phase !== "done") this.#components.answers.giveUp(partition, batch, error);
    }
    this.offer(partition);
  }

  // Where it goes

  #route(partition: Partition, now: number): void {
    if (partition.waitingInLane || !this.#isSendable(partition, now)) return;
    const lane = this.#laneOf(partition);
    if (lane === undefined) this.#locate(partition);
    else {
      partition.waitingInLane = true;
      lane.ready.push(partition);
    }
  }

  /** Batches on their way to one agent are not overtaken by others on their way to another. */
  #laneOf(partition: Partition): Lane | undefined {
    const connection = partition.inFlight.length > 0 ? partition.sentTo : partition.connection;
    if (connection === undefined) return undefined;
    let lane = this.#lanes.get(connection);
    if (lane === undefined) {
      lane = new Lane(connection);
      this.#lanes.set(connection, lane);
    }
    return lane;
  }

  #locate(partition: Partition): void {
    const { known } = partition.topic;
    if (partition.locating || known === undefined) return;
    const { cluster, answers, ended } = this.#components;
    partition.locating = true;
    const done = (act: () => void) => {
      partition.locating = false;
      if (ended.aborted) return;
      act();
      this.offer(partition);
    };
    const found = (connection: AgentConnection) => {
      if (partition.topic.known?.id === known.id) partition.connection = connection;
    };
    const failed = (error: unknown) =>
      answers.locateFailed(partition, asStreamHouseError(error, "looking for the lease holder"));
    cluster.holder(known.id, partition.index, ended).then(
      (connection) => done(() => found(connection)),
      (error: unknown) => done(() => failed(error)),
    );
  }

  #fill(lane: Lane, now: number): void {
    while (lane.flights.size < this.#options.inFlight && lane.ready.length > 0) {
      const cargo = this.#load(lane, now);
      if (cargo.length > 0) this.#requests.send(lane, cargo, now);
    }
  }

  /** One batch of each partition in turn, as many as a request takes. */
  #load(lane: Lane, now: number): Cargo[] {
    const cargo: Cargo[] = [];
    let room: number = limits.requestBytesMax;
    for (let left = lane.ready.length; left > 0; left--) {
      const partition = lane.ready.peek();
      if (partition === undefined || cargo.length === limits.batchesPerRequestMax) break;
      const head = this.#isSendable(partition, now) ? partition.head : undefined;
      if (head !== undefined && this.#laneOf(partition) === lane) {
        room -= head.sizeBytes + partition.topic.name.length + BATCH_FRAMING_BYTES;
        if (cargo.length > 0 && (room < 0 || head.alone)) break;
        cargo.push({ partition, batch: this.#take(partition, now) });
        if (head.alone) room = 0;
      } else if (head !== undefined) this.#schedule();
      lane.ready.shift();
      partition.waitingInLane = false;
      this.#route(partition, now);
    }
    return cargo;
  }

  /** Takes the head out, marks it, and counts it as on its way. */
  #take(partition: Partition, now: number): ProducerBatch {
    const { accumulator, instruments, identity } = this.#components;
    if (partition.queue.length === 0 && partition.open !== undefined) {
      accumulator.close(partition, partition.open);
    }
    const batch = partition.queue.shift() as ProducerBatch;
    if (identity.current !== undefined) this.#mark(partition, batch, identity.current);
    else if (batch.attempts === 0) {
      batch.stamp(NO_PRODUCER);
      batch.ordinal = partition.nextOrdinal++;
    }
    batch.attempts++;
    batch.flying = true;
    batch.handedOverAt = now;
    partition.inFlight.push(batch);
    if (batch.attempts === 1) {
      partition.topic.instruments.batchSizeRecords.record(batch.recordCount);
      partition.topic.instruments.batchSizeBytes.record(batch.sizeBytes);
    } else instruments.retried(batch.lastError?.code ?? "INTERNAL");
    return batch;
  }

  /** A batch that is sent again keeps its mark, unless counting began anew. */
  #mark(partition: Partition, batch: ProducerBatch, identity: Identity): void {
    const topicId = partition.topic.known?.id ?? "";
    if (!isCounted(partition, topicId, batch)) {
      partition.rebase({ identity, topicId });
      batch.unstamp();
    }
    const { basis } = partition;
    if (basis === undefined || batch.basis !== undefined) return;
    const baseSequence = partition.nextSequence;
    partition.nextSequence = nextSequence(baseSequence, batch.recordCount);
    batch.stamp({ ...basis.identity, baseSequence });
    batch.basis = basis;
    batch.ordinal = partition.nextOrdinal++;
  }
}

/** Its sequences count on; otherwise they begin anew, as soon as nothing of the old ones is on its way. */
function isCounted(partition: Partition, topicId: string, taken?: ProducerBatch): boolean {
  const { basis, queue, spoiled } = partition;
  if (basis?.topicId !== topicId) return false;
  // What may have been applied can only be sent again as it was.
  return !spoiled || taken?.tainted === true || queue.some((it) => it.tainted);
}
