/**
 * The newest committed batches, whole, in memory: what consumers at the tail are answered from without touching
 * the store. First in, first out over all partitions, bounded by the memory that the batches keep alive. Filled by the
 * flusher at commit, read by the fetcher, emptied for a partition when its lease goes.
 */
import { Queue } from "../core/queue.ts";
import type { TopicPartition } from "../core/topic.ts";
import { partitionKey } from "../core/topic.ts";
import type { CounterCell } from "../telemetry/cells.ts";

/** A committed batch. Nobody writes into its bytes any more. */
export interface CachedBatch {
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly bytes: Uint8Array;
  readonly appendTimeMs: number;
  /** Memory it keeps alive. */
  readonly charge: number;
}

/** One partition's batches; contiguous, the oldest at `head`. */
class Tail {
  readonly key: string;
  /** Empty before `head`, so that what was evicted is let go at once. */
  batches: (CachedBatch | undefined)[] = [];
  head = 0;
  /** False once dropped: what the queue still knows of it is skipped. */
  live = true;

  constructor(key: string) {
    this.key = key;
  }

  get length(): number {
    return this.batches.length - this.head;
  }

  shift(): CachedBatch | undefined {
    const batch = this.batches[this.head];
    if (batch === undefined) return undefined;
    this.batches[this.head] = undefined;
    this.head++;
    if (this.head >= 64 && this.head * 2 >= this.batches.length) {
      this.batches = this.batches.slice(this.head);
      this.head = 0;
    }
    return batch;
  }
}

export class TailCache {
  readonly #bytesMax: number;
  readonly #evictions: Pick<CounterCell, "add"> | undefined;
  readonly #tails = new Map<string, Tail>();
  /** One entry for each batch, in the order of commits: whose turn it is to lose its oldest. */
  #order = new Queue<Tail>();
  /** Entries of dropped tails in it. */
  #dead = 0;
  #bytes = 0;

  /** `evictions` counts the batches that had to make room. */
  constructor(bytesMax: number, evictions?: Pick<CounterCell, "add">) {
    this.#bytesMax = bytesMax;
    this.#evictions = evictions;
  }

  /** Memory held, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds a batch that follows the partition's last one. */
  add(topicId: string, partition: number, batch: CachedBatch): void {
    if (this.#bytesMax === 0) return;
    const key = partitionKey(topicId, partition);
    let tail = this.#tails.get(key);
    if (tail !== undefined && tail.batches.at(-1)?.endOffset !== batch.baseOffset) {
      this.#drop(tail);
      tail = undefined;
    }
    if (tail === undefined) {
      tail = new Tail(key);
      this.#tails.set(key, tail);
    }
    tail.batches.push(batch);
    this.#order.push(tail);
    this.#bytes += batch.charge;
    while (this.#bytes > this.#bytesMax) this.#evict();
  }

  /** Batches from the one that holds `offset`, up to `bytesMax` but at least one; none if that one is not here. */
  read(log: TopicPartition, offset: number, bytesMax: number): readonly CachedBatch[] {
    const tail = this.#tails.get(partitionKey(log.topicId, log.partition));
    const first = tail?.batches[tail.head];
    if (tail === undefined || first === undefined || offset < first.baseOffset) return [];
    let low = tail.head;
    let high = tail.batches.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if ((tail.batches[mid] as CachedBatch).endOffset > offset) high = mid;
      else low = mid + 1;
    }
    let bytes = 0;
    let end = low;
    for (; end < tail.batches.length; end++) {
      const length = (tail.batches[end] as CachedBatch).bytes.length;
      if (end > low && bytes + length > bytesMax) break;
      bytes += length;
    }
    return tail.batches.slice(low, end) as CachedBatch[];
  }

  drop(topicId: string, partition: number): void {
    const tail = this.#tails.get(partitionKey(topicId, partition));
    if (tail !== undefined) this.#drop(tail);
  }

  #drop(tail: Tail): void {
    for (let i = tail.head; i < tail.batches.length; i++) {
      this.#bytes -= (tail.batches[i] as CachedBatch).charge;
    }
    this.#dead += tail.length;
    tail.live = false;
    tail.batches = [];
    tail.head = 0;
    this.#tails.delete(tail.key);
    // Not for each: a run that is lost drops thousands of partitions at once.
    if (this.#dead * 2 > this.#order.length) this.#forgetDead();
  }

  #forgetDead(): void {
    const order = new Queue<Tail>();
    for (const it of this.#order) if (it.live) order.push(it);
    this.#order = order;
    this.#dead = 0;
  }

  #evict(): void {
    const tail = this.#order.shift();
    if (tail === undefined) return;
    if (!tail.live) {
      this.#dead--;
      return;
    }
    this.#evictions?.add(1);
    this.#bytes -= tail.shift()?.charge ?? 0;
    if (tail.length === 0) {
      tail.live = false;
      this.#tails.delete(tail.key);
    }
  }
}
