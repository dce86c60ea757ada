/**
 * One produce request that waits for its batches: collects their results, and stops waiting when its deadline ends or its
 * caller goes away. Made by the append gate.
 */
import type { StreamHouseError } from "../core/errors.ts";
import type { BatchResult } from "../rpc/gen/streamhouse/v1/producer.ts";
import { toErrorDetail } from "../rpc/status.ts";
import type { BatchWaiter, PendingBatch } from "./pending-batch.ts";

export class ProduceCall implements BatchWaiter {
  readonly promise: Promise<BatchResult[]>;
  readonly #results: BatchResult[];
  readonly #waits: (PendingBatch | undefined)[];
  readonly #onDone: (call: ProduceCall) => void;
  readonly #isOpen: boolean[];
  #open: number;
  #failed = 0;
  #firstError: { readonly slot: number; readonly error: StreamHouseError } | undefined;
  #resolve: (results: BatchResult[]) => void = () => {};
  #reject: (error: StreamHouseError) => void = () => {};

  /** `results` has one entry for each batch, with its ids filled in. */
  constructor(results: BatchResult[], onDone: (call: ProduceCall) => void) {
    this.#results = results;
    this.#open = results.length;
    this.#isOpen = results.map(() => true);
    this.#waits = new Array(results.length);
    this.#onDone = onDone;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  get done(): boolean {
    return this.#open === 0;
  }

  /** Whether the batch has no result yet. */
  isOpen(slot: number): boolean {
    return this.#isOpen[slot] === true;
  }

  /** The batches without a result. */
  openSlots(): number[] {
    return this.#isOpen.flatMap((it, slot) => (it ? slot : []));
  }

  /** The batches it still waits for. */
  *waitingFor(): Generator<PendingBatch, void, undefined> {
    for (const batch of this.#waits) if (batch !== undefined) yield batch;
  }

  /** Which of its batches this one is. */
  slotOf(batch: PendingBatch): number {
    return this.#waits.indexOf(batch);
  }

  /** Waits for a batch; `duplicate`: it is the caller's repetition of one that is pending. */
  waitFor(slot: number, batch: PendingBatch, duplicate: boolean): void {
    this.#waits[slot] = batch;
    batch.addWaiter(this, slot, duplicate);
  }

  batchCommitted(slot: number, batch: PendingBatch, duplicate: boolean): void {
    this.answer(slot, batch.baseOffset, batch.appendTimeMs, duplicate);
  }

  batchFailed(slot: number, error: StreamHouseError): void {
    const result = this.#results[slot] as BatchResult;
    result.error = toErrorDetail(error);
    this.#failed++;
    if (this.#firstError === undefined || slot < this.#firstError.slot) {
      this.#firstError = { slot, error };
    }
    this.#close(slot);
  }

  /** The result of a batch that needs no waiting. */
  answer(slot: number, baseOffset: number, appendTimeMs: number, duplicate: boolean): void {
    const result = this.#results[slot] as BatchResult;
    result.baseOffset = baseOffset;
    result.appendTimeMs = appendTimeMs;
    result.duplicate = duplicate;
    this.#close(slot);
  }

  #close(slot: number): void {
    this.#waits[slot] = undefined;
    this.#isOpen[slot] = false;
    this.#open--;
    if (this.#open > 0) return;
    this.#onDone(this);
    // A call none of whose batches was taken fails as a whole (see the comment at `Produce` in the proto).
    if (this.#firstError !== undefined && this.#failed === this.#results.length) {
      this.#reject(this.#firstError.error);
    } else this.#resolve(this.#results);
  }
}
