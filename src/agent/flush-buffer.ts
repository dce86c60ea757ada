/** Accepted batches of all partitions that wait for the next flush, in order of arrival. Owned by the flusher. */
import type { PendingBatch } from "./pending-batch.ts";

/** Settled batches that may keep their places: sweeping them out one by one would cost more. */
const STALE_MAX = 256;

export class FlushBuffer {
  /** Empty before `#head`. May hold batches that were settled meanwhile; they are skipped. */
  #batches: (PendingBatch | undefined)[] = [];
  #head = 0;
  /** Settled batches that still have a place. */
  #stale = 0;
  #bytes = 0;
  #count = 0;

  /** Bytes of the batches (not of the memory they hold). */
  get bytes(): number {
    return this.#bytes;
  }

  get length(): number {
    return this.#count;
  }

  /** The first one, if there is one. */
  get oldest(): PendingBatch | undefined {
    this.#skipSettled();
    return this.#batches[this.#head];
  }

  push(batch: PendingBatch): void {
    this.#batches.push(batch);
    this.#bytes += batch.bytes.length;
    this.#count++;
  }

  /** Puts batches of an undone flush back in front, in their order. */
  putBack(batches: readonly PendingBatch[]): void {
    this.#batches = [...batches, ...this.#batches.slice(this.#head)];
    this.#head = 0;
    for (const batch of batches) this.#bytes += batch.bytes.length;
    this.#count += batches.length;
  }

  /** Takes batches from the front until `bytesMax` would be passed; at least one if there is one. */
  take(bytesMax: number): PendingBatch[] {
    const taken: PendingBatch[] = [];
    let bytes = 0;
    for (;;) {
      this.#skipSettled();
      const batch = this.#batches[this.#head];
      if (batch === undefined) break;
      if (taken.length > 0 && bytes + batch.bytes.length > bytesMax) break;
      taken.push(batch);
      bytes += batch.bytes.length;
      this.#leave();
    }
    this.#bytes -= bytes;
    this.#count -= taken.length;
    this.#compact();
    return taken;
  }

  /** The batch is about to be settled: it no longer counts and will be skipped. */
  remove(batch: PendingBatch): void {
    this.#bytes -= batch.bytes.length;
    this.#count--;
    this.#stale++;
    // While nothing can be flushed nothing is taken either: then this alone bounds the list.
    if (this.#stale > STALE_MAX && this.#stale * 2 > this.#batches.length - this.#head) {
      this.#batches = this.filter((it) => it !== batch);
      this.#head = 0;
      this.#stale = 0;
    }
  }

  /** Memory that the waiting batches keep alive, added up from them. */
  get charge(): number {
    let sum = 0;
    for (const batch of this.#batches) if (batch?.settled === false) sum += batch.charge;
    return sum;
  }

  /** Those that still wait, for which the test holds. */
  filter(test: (batch: PendingBatch) => boolean): PendingBatch[] {
    return this.#batches
      .slice(this.#head)
      .filter((it): it is PendingBatch => it !== undefined && !it.settled && test(it));
  }

  #skipSettled(): void {
    while (this.#batches[this.#head]?.settled) {
      this.#stale--;
      this.#leave();
    }
  }

  /** The first one gives its place up, and is let go of at once. */
  #leave(): void {
    this.#batches[this.#head] = undefined;
    this.#head++;
  }

  #compact(): void {
    if (this.#head < 256 || this.#head * 2 < this.#batches.length) return;
    this.#batches = this.#batches.slice(this.#head);
    this.#head = 0;
  }
}
