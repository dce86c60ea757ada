/**
 * A batch between the append gate and its commit or failure, and who waits for it. It is settled exactly once;
 * a waiter may leave before (its deadline ended), the batch then goes its way without it.
 */
import type { SpanContext } from "@opentelemetry/api";
import type { StreamHouseError } from "../core/errors.ts";
import type { BatchHeader } from "../format/batch-header.ts";
import type { HeldPartition } from "./held-partition.ts";

/** The partition that a batch is for. */
export type Hold = HeldPartition<PendingBatch>;

/** Somebody who waits for batches; `slot` is the waiter's own number for one of them. */
export interface BatchWaiter {
  batchCommitted(slot: number, batch: PendingBatch, duplicate: boolean): void;
  batchFailed(slot: number, error: StreamHouseError): void;
}

/** `buffered` may still be taken back · `sealed` is in a flush whose outcome is open · then one of the ends. */
export type BatchState = "buffered" | "sealed" | "committed" | "failed";

export interface PendingBatchInit {
  readonly partition: Hold;
  readonly bytes: Uint8Array;
  readonly header: BatchHeader;
  /** Memory it keeps alive, which may be more than its own bytes. */
  readonly charge: number;
  /** By the monotonic clock, ms. */
  readonly receivedAt: number;
  /** Of the request's span, for the flush's span. */
  readonly spanContext: SpanContext | undefined;
  /** Written even if nobody waits (any more): acks `buffered` and `none`. */
  readonly keep: boolean;
}

interface Seat {
  readonly waiter: BatchWaiter;
  readonly slot: number;
  readonly duplicate: boolean;
}

export class PendingBatch {
  readonly partition: Hold;
  readonly bytes: Uint8Array;
  readonly recordCount: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly charge: number;
  readonly receivedAt: number;
  readonly spanContext: SpanContext | undefined;
  readonly keep: boolean;
  state: BatchState = "buffered";
  /** Provisional while sealed, final when committed. */
  baseOffset = -1;
  appendTimeMs = 0;
  /** When it first was in a flush, by the monotonic clock; its time limit counts from there. */
  firstSealedAt = -1;
  #seats: Seat[] = [];

  constructor(init: PendingBatchInit) {
    this.partition = init.partition;
    this.bytes = init.bytes;
    this.recordCount = init.header.recordCount;
    this.producerId = init.header.producerId;
    this.producerEpoch = init.header.producerEpoch;
    this.baseSequence = init.header.baseSequence;
    this.charge = init.charge;
    this.receivedAt = init.receivedAt;
    this.spanContext = init.spanContext;
    this.keep = init.keep;
  }

  get settled(): boolean {
    return this.state === "committed" || this.state === "failed";
  }

  /** False: nobody waits and nobody was promised anything, so it may be dropped while it is buffered. */
  get wanted(): boolean {
    return this.keep || this.#seats.length > 0;
  }

  /** `duplicate`: the waiter sent the same batch again. */
  addWaiter(waiter: BatchWaiter, slot: number, duplicate: boolean): void {
    this.#seats.push({ waiter, slot, duplicate });
  }

  removeWaiter(waiter: BatchWaiter): void {
    this.#seats = this.#seats.filter((seat) => seat.waiter !== waiter);
  }

  /** Everybody who waits is told that it failed; the batch itself goes on (outcome unknown). */
  dismissWaiters(error: StreamHouseError): void {
    for (const seat of this.#leave()) seat.waiter.batchFailed(seat.slot, error);
  }

  commit(): void {
    this.state = "committed";
    for (const seat of this.#leave()) seat.waiter.batchCommitted(seat.slot, this, seat.duplicate);
  }

  fail(error: StreamHouseError): void {
    this.state = "failed";
    for (const seat of this.#leave()) seat.waiter.batchFailed(seat.slot, error);
  }

  #leave(): readonly Seat[] {
    const seats = this.#seats;
    this.#seats = [];
    return seats;
  }
}
