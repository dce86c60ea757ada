/**
 * One `sendBatch()`: many records and one promise. It costs an object for each batch that its records get into, none for each record;
 * which record went where is worked out at the end, and record by record only if some failed.
 */
import { asStreamHouseError, type StreamHouseError } from "../core/errors.ts";
import type { ProducerRecord } from "../core/record.ts";
import { type Accumulator, type Arrival, STALE } from "./accumulator.ts";
import type { Entry, EntryTopic } from "./entry.ts";
import {
  BatchSendError,
  type BatchSendResult,
  type FailedRecords,
  type SentRange,
} from "./send-result.ts";
import type { Progress, TopicState, Waiter } from "./topic-state.ts";
import type { BulkTrace, RetryNote } from "./tracing.ts";

/** Its records in one batch. */
class Share implements Entry {
  readonly #bulk: Bulk;
  readonly partition: number;
  count = 0;
  baseOffset = -1;
  error: StreamHouseError | undefined = undefined;

  constructor(bulk: Bulk, partition: number) {
    this.#bulk = bulk;
    this.partition = partition;
  }

  get takenBack(): boolean {
    return false;
  }

  isOf(bulk: Bulk): boolean {
    return this.#bulk === bulk;
  }

  sent(_topic: EntryTopic, _partition: number, baseOffset: number, now: number): void {
    this.baseOffset = baseOffset;
    this.#bulk.shareSettled(now);
  }

  failed(_topic: EntryTopic, error: StreamHouseError, now: number): void {
    this.error = error;
    this.#bulk.shareSettled(now);
  }

  retried(note: RetryNote): void {
    this.#bulk.retried(note);
  }
}

export interface BulkCallbacks {
  readonly resolve: (result: BatchSendResult) => void;
  readonly reject: (error: unknown) => void;
  /** Counts records that failed without ever being in a batch. */
  readonly refused: (topic: TopicState, records: number, code: string) => void;
}

/** When it was sent, and from which trace. */
export interface BulkOrigin {
  /** Monotonic ms. */
  readonly startedAt: number;
  readonly deadlineAt: number;
  /** Wall clock, ms since 1970: for records without a timestamp. */
  readonly now: number;
  readonly generation: number;
  readonly trace: BulkTrace | undefined;
}

export class Bulk implements Waiter {
  readonly topic: TopicState;
  readonly generation: number;
  readonly deadlineAt: number;
  waiting = false;
  readonly #records: readonly ProducerRecord[];
  readonly #accumulator: Accumulator;
  readonly #callbacks: BulkCallbacks;
  readonly #origin: BulkOrigin;
  /** The next record to place. */
  #position = 0;
  #certain = false;
  /** Partition of each record placed; -1 for those refused before. */
  readonly #partitions: Int32Array;
  readonly #shares: Share[] = [];
  #unsettled = 0;
  readonly #refused = new Map<StreamHouseError, number[]>();

  constructor(
    topic: TopicState,
    records: readonly ProducerRecord[],
    accumulator: Accumulator,
    origin: BulkOrigin,
    callbacks: BulkCallbacks,
  ) {
    this.topic = topic;
    this.generation = origin.generation;
    this.deadlineAt = origin.deadlineAt;
    this.#records = records;
    this.#accumulator = accumulator;
    this.#origin = origin;
    this.#callbacks = callbacks;
    this.#partitions = new Int32Array(records.length);
  }

  get settled(): boolean {
    return false;
  }

  get unplaced(): number {
    return this.#records.length - this.#position;
  }

  advance(): Progress {
    const records = this.#records;
    const { startedAt, now, generation, trace } = this.#origin;
    const arrival: Arrival = { startedAt, timestamp: now, generation, headers: undefined };
    while (this.#position < records.length) {
      if (this.#accumulator.full) return "full";
      const record = records[this.#position] as ProducerRecord;
      try {
        arrival.timestamp = record.timestamp ?? now;
        const { headers } = record;
        arrival.headers = trace === undefined ? headers : trace.headersOf(headers, this.#position);
        const batch = this.#accumulator.place(this.topic, record, arrival, this.#certain);
        if (batch === STALE) {
          this.#certain = true;
          return "stale";
        }
        this.#enter(batch.entries, batch.partition);
        if (trace !== undefined || batch.isTraced) batch.addOrigin(trace);
      } catch (error) {
        this.#refuse(asStreamHouseError(error, "sendBatch"), this.#position, this.#position + 1);
      }
      this.#position++;
    }
    this.#finishIfOver(startedAt);
    return "done";
  }

  #enter(entries: Entry[], partition: number): void {
    this.#partitions[this.#position] = partition;
    const last = entries[entries.length - 1];
    if (last instanceof Share && last.isOf(this)) {
      last.count++;
      return;
    }
    const share = new Share(this, partition);
    share.count = 1;
    entries.push(share);
    this.#shares.push(share);
    this.#unsettled++;
  }

  /** Fails the records that are in no batch yet. */
  fail(error: StreamHouseError): void {
    this.#refuse(error, this.#position, this.#records.length);
    this.#position = this.#records.length;
    this.#finishIfOver(this.#origin.startedAt);
  }

  #refuse(error: StreamHouseError, from: number, to: number): void {
    if (from === to) return;
    let indexes = this.#refused.get(error);
    if (indexes === undefined) {
      indexes = [];
      this.#refused.set(error, indexes);
    }
    for (let i = from; i < to; i++) {
      indexes.push(i);
      this.#partitions[i] = -1;
    }
    this.#callbacks.refused(this.topic, to - from, error.code);
  }

  /** One of its batches failed and is sent again. */
  retried(note: RetryNote): void {
    this.#origin.trace?.retried(note);
  }

  shareSettled(now: number): void {
    this.#unsettled--;
    this.#finishIfOver(now);
  }

  #finishIfOver(now: number): void {
    if (this.#unsettled > 0 || this.#position < this.#records.length) return;
    const { startedAt, trace } = this.#origin;
    const { instruments } = this.topic;
    if (!instruments.perBatch) {
      const seconds = Math.max(0, now - startedAt) / 1_000;
      instruments.sendDuration.recordIn(seconds, trace?.origin);
    }
    const ranges = rangesOf(this.#shares);
    const count = ranges.reduce((sum, range) => sum + range.count, 0);
    const result: BatchSendResult = { topic: this.topic.name, count, ranges };
    if (count === this.#records.length) {
      trace?.sent();
      this.#callbacks.resolve(result);
      return;
    }
    const error = new BatchSendError(result, this.#failed());
    trace?.failed(error);
    this.#callbacks.reject(error);
  }

  #failed(): FailedRecords[] {
    const failed: FailedRecords[] = [];
    for (const [error, indexes] of this.#refused) failed.push({ partition: -1, indexes, error });
    // The shares of a partition are in the order of its records: walk both side by side.
    const failing = new Map<number, number[]>();
    for (const { partition, error } of this.#shares) if (error) failing.set(partition, []);
    this.#partitions.forEach((partition, i) => {
      failing.get(partition)?.push(i);
    });
    const walked = new Map<number, number>();
    for (const { partition, count, error } of this.#shares) {
      const from = walked.get(partition) ?? 0;
      walked.set(partition, from + count);
      const indexes = failing.get(partition)?.slice(from, from + count) ?? [];
      if (error !== undefined) failed.push({ partition, indexes, error });
    }
    return failed;
  }
}

/** What was sent, joined where it lies one behind the other. */
function rangesOf(shares: readonly Share[]): SentRange[] {
  const sent = shares.filter((share) => share.error === undefined);
  // Array.prototype.sort is stable: without offsets the shares of a partition keep the order of the records.
  sent.sort((a, b) => a.partition - b.partition || a.baseOffset - b.baseOffset);
  const ranges: { partition: number; baseOffset?: number; count: number }[] = [];
  for (const { partition, baseOffset, count } of sent) {
    const last = ranges[ranges.length - 1];
    const joins =
      last?.partition === partition &&
      (baseOffset < 0 || (last.baseOffset ?? -1) + last.count === baseOffset);
    if (joins) last.count += count;
    else if (baseOffset < 0) ranges.push({ partition, count });
    else ranges.push({ partition, baseOffset, count });
  }
  return ranges;
}
