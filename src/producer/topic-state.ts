/**
 * What the producer holds of one topic: its partitions, and their batches in the order in which they must be appended.
 * State only: the accumulator fills it, the sender empties it.
 */
import type { AgentConnection } from "../client/transport.ts";
import type { StreamHouseError } from "../core/errors.ts";
import { Queue } from "../core/queue.ts";
import type { Topic } from "../core/topic.ts";
import type { ProducerBatch } from "./batch.ts";
import type { ProducerInstruments, TopicInstruments } from "./instruments.ts";
import type { Basis } from "./sequence.ts";

/** How far a waiter came: `full` = no room in the buffer, `stale` = the topic must be looked up again. */
export type Progress = "done" | "full" | "stale";

/** A call that could not be taken at once: its topic is not known yet, or the buffer is full. */
export interface Waiter {
  readonly topic: TopicState;
  readonly generation: number;
  /** Monotonic ms. */
  readonly deadlineAt: number;
  /** The caller took it back meanwhile. */
  readonly settled: boolean;
  /** Its records that are in no batch and have not settled. */
  readonly unplaced: number;
  /** It stands in a line, and flushes wait for it. Kept by the line. */
  waiting: boolean;
  /** Puts into batches what it can. */
  advance(): Progress;
  /** Fails what is not in a batch yet. */
  fail(error: StreamHouseError): void;
}

export class TopicState {
  readonly name: string;
  readonly #instruments: ProducerInstruments;
  /** As last looked up; undefined until it was found. */
  known: Topic | undefined = undefined;
  partitions: Partition[] = [];
  instruments: TopicInstruments;
  /** Records that were taken and have not settled. */
  pending = 0;
  /** A look-up is under way: nothing is placed or sent meanwhile. */
  finding = false;
  /** When it is looked up again to see whether it has more partitions. Monotonic ms. */
  refreshAt = 0;
  /** What the last look-up failed with; for the message when a deadline ends. */
  lastError: StreamHouseError | undefined = undefined;
  /** Calls that wait for the look-up. */
  waiters: Queue<Waiter> = new Queue();
  /** The partition that records without a key go to until its batch is closed. */
  sticky = 0;

  constructor(name: string, instruments: ProducerInstruments) {
    this.name = name;
    this.#instruments = instruments;
    this.instruments = instruments.unknownTopic;
  }

  /** Records can be placed. */
  get ready(): boolean {
    return this.known !== undefined && !this.finding;
  }

  /** Takes over what a look-up said. `start` picks the first partition for records without a key. */
  learn(topic: Topic, start: number): void {
    if (this.known === undefined) {
      this.sticky = start % topic.partitions;
      const instruments = this.#instruments.topic(this.name);
      this.instruments.pendingRecords.add(-this.pending);
      instruments.pendingRecords.add(this.pending);
      this.instruments = instruments;
    }
    for (const partition of this.partitions) {
      if (this.known?.id !== topic.id) partition.connection = undefined;
    }
    while (this.partitions.length < topic.partitions) {
      this.partitions.push(new Partition(this, this.partitions.length));
    }
    this.known = topic;
    this.lastError = undefined;
    if (this.sticky >= topic.partitions) this.sticky = 0;
  }

  /** Turns to the next partition if `index` is the one that records without a key go to. */
  turn(index: number): void {
    if (index !== this.sticky || this.known === undefined) return;
    this.sticky = (index + 1) % this.known.partitions;
  }
}

export class Partition {
  readonly topic: TopicState;
  readonly index: number;
  /** Takes records. */
  open: ProducerBatch | undefined = undefined;
  /** Closed and not on their way, in order; those that are sent again come first. */
  readonly queue: ProducerBatch[] = [];
  /** On their way, in the order of sending. */
  readonly inFlight: ProducerBatch[] = [];
  /** What `nextSequence` counts for. Undefined before the first batch. */
  basis: Basis | undefined = undefined;
  nextSequence = 0;
  /** What `basis` says is of no use any more: agents refuse what is counted so. */
  spoiled = false;
  /** Size of the batch before: the next one's buffer begins with it, so that a busy partition's need not grow. */
  bytesBefore = 0;
  /** Counts the batches that got a sequence. */
  nextOrdinal = 0;
  /** The agent that holds it, as far as we know. */
  connection: AgentConnection | undefined = undefined;
  locating = false;
  /** Where `inFlight` went. */
  sentTo: AgentConnection | undefined = undefined;
  /** Failures since the last success: sets the pause before the next try. */
  failures = 0;
  /** The last failure named another holder, which was tried without a pause. */
  followed = false;
  /** Nothing is sent before this moment. Monotonic ms. */
  retryAt = 0;
  /** After a failure nothing overtakes: what is on its way is awaited first. */
  recovering = false;
  lastError: StreamHouseError | undefined = undefined;
  /** Marks of the sender's lists, so that none holds it twice. */
  offered = false;
  waitingInLane = false;

  constructor(topic: TopicState, index: number) {
    this.topic = topic;
    this.index = index;
  }

  /** The batch that must be sent next, if there is one to send now. */
  get head(): ProducerBatch | undefined {
    const first = this.queue[0];
    if (first !== undefined) return first;
    return this.open?.due === true ? this.open : undefined;
  }

  /** Puts a batch that is to be sent again where its order wants it. */
  requeue(batch: ProducerBatch): void {
    const at = this.queue.findIndex((it) => it.ordinal < 0 || it.ordinal > batch.ordinal);
    if (at < 0) this.queue.push(batch);
    else this.queue.splice(at, 0, batch);
  }

  /** Starts counting anew; what waits here gets new sequences when it is sent. Only while nothing is on its way. */
  rebase(basis: Basis): void {
    this.basis = basis;
    this.spoiled = false;
    this.nextSequence = 0;
    for (const batch of this.queue) batch.unstamp();
  }
}
