/**
 * A partition whose lease this agent holds: what the append path needs to know of it. Made by the lease manager
 * from a grant, dropped with the lease; a lease taken again is a new object, so nothing stale can be mistaken for it.
 */
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import type { PartitionCells } from "./agent-instruments.ts";
import type { PartitionLog } from "./partition-log.ts";
import type { ProducerStates, SequencedBatch } from "./producer-state.ts";

/** `releasing`: accepts no more, finishes what it has. `lost`: another run has it, or may have. `deleted`: the topic is gone. */
export type HoldPhase = "held" | "releasing" | "lost" | "deleted";

export interface HeldPartitionInit<B extends SequencedBatch> extends TopicPartition {
  readonly topic: string;
  readonly epoch: number;
  readonly nextOffset: number;
  readonly log: PartitionLog;
  readonly producers: ProducerStates<B>;
  readonly cells: PartitionCells;
}

export class HeldPartition<B extends SequencedBatch = SequencedBatch> implements TopicPartition {
  readonly topicId: string;
  readonly topic: string;
  readonly partition: number;
  readonly key: string;
  readonly epoch: number;
  readonly log: PartitionLog;
  readonly producers: ProducerStates<B>;
  readonly cells: PartitionCells;
  phase: HoldPhase = "held";
  /** The next seal begins here; what is not committed yet is provisional. */
  nextOffset: number;
  #pending = 0;
  #idle: (() => void)[] = [];

  constructor(init: HeldPartitionInit<B>) {
    this.topicId = init.topicId;
    this.topic = init.topic;
    this.partition = init.partition;
    this.key = partitionKey(init.topicId, init.partition);
    this.epoch = init.epoch;
    this.nextOffset = init.nextOffset;
    this.log = init.log;
    this.producers = init.producers;
    this.cells = init.cells;
  }

  /** `topic/partition`, for messages. */
  get name(): string {
    return `${this.topic}/${this.partition}`;
  }

  /** Batches accepted and not settled. */
  get pending(): number {
    return this.#pending;
  }

  batchAccepted(): void {
    this.#pending++;
  }

  batchSettled(): void {
    this.#pending--;
    if (this.#pending > 0) return;
    const idle = this.#idle;
    this.#idle = [];
    for (const wake of idle) wake();
  }

  /** Resolves when every accepted batch is settled. */
  whenIdle(): Promise<void> {
    if (this.#pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }
}
