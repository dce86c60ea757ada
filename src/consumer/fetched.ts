/**
 * Batches that were fetched and not yet given to the application, in order of arrival and counted in bytes. The fetch loop
 * pushes, the reader takes. It also keeps the place of a refusal, so that what came before is given out first.
 */
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import { Queue } from "../core/queue.ts";
import { ConsumerRecord, type RecordHeader } from "../core/record.ts";
import { decodeBatch } from "../format/batch-decoder.ts";
import { type BatchHeader, readBatchHeader } from "../format/batch-header.ts";
import type { FetchedBatch } from "../rpc/gen/streamhouse/v1/consumer.ts";
import type { Cursor } from "./cursor.ts";
import { Notifier } from "./notifier.ts";

/** One fetched batch, still encoded. */
export interface Fetched {
  readonly kind: "batch";
  readonly cursor: Cursor;
  readonly generation: number;
  readonly bytes: Uint8Array;
  readonly header: BatchHeader;
  readonly appendTimeMs: number;
  /** Records below it were given out before. */
  readonly fromOffset: number;
  /** Offset after its last record. */
  readonly nextOffset: number;
}

/** The partition cannot be read on from here. */
export interface Stop {
  readonly kind: "stop";
  readonly cursor: Cursor;
  readonly generation: number;
  readonly error: StreamHouseError;
}

/** Fetches that may begin too late before records are taken for lost. */
const GAP_TRIES = 3;

export class FetchedQueue {
  /** Told at each change: somebody may have something to read now, or to fetch. */
  readonly changes: Notifier = new Notifier();
  #queue = new Queue<Fetched | Stop>();
  /** Entries of partitions that were full when their turn came, before those of the same partition in the queue. */
  readonly #aside = new Map<Cursor, Queue<Fetched | Stop>>();
  #bytes = 0;
  #records = 0;

  /** Records of the batches that wait, without those that were given out before. */
  get records(): number {
    return this.#records;
  }

  /** Bytes of the batches that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Appends a batch, unless it lies before the cursor.
   * @throws StreamHouseError if its header cannot be read; `CORRUPT_SEGMENT` if records between the cursor and it are missing
   */
  push(cursor: Cursor, batch: FetchedBatch): void {
    const bytes = batch.records;
    const header = readBatchHeader(bytes);
    const nextOffset = header.baseOffset + header.lastOffsetDelta + 1;
    if (nextOffset <= cursor.fetchOffset) return;
    // Nothing is skipped in silence, whatever an agent answers.
    if (header.baseOffset > cursor.fetchOffset) throw gap(cursor, header.baseOffset);
    const { fetchOffset: fromOffset, fetchGeneration: generation } = cursor;
    const { appendTimeMs } = batch;
    this.#queue.push({
      kind: "batch",
      cursor,
      generation,
      bytes,
      header,
      appendTimeMs,
      fromOffset,
      nextOffset,
    });
    this.#bytes += bytes.length;
    this.#records += nextOffset - Math.max(header.baseOffset, fromOffset);
    cursor.fetchOffset = nextOffset;
    this.changes.notify();
  }

  /** The reader learns of the error when it has given out what was fetched before it. */
  stop(cursor: Cursor, error: StreamHouseError): void {
    this.#queue.push({ kind: "stop", cursor, generation: cursor.fetchGeneration, error });
    this.changes.notify();
  }

  /** The oldest entry that still counts; undefined if there is none. */
  take(): Fetched | Stop | undefined {
    for (let next = this.#shift(); next !== undefined; next = this.#shift()) {
      if (next.cursor.full && counts(next)) {
        this.#putAside(next);
        continue;
      }
      if (next.kind === "batch") this.#uncount(next);
      if (counts(next)) return next;
    }
    return undefined;
  }

  /** From what was put aside, where there is room again; otherwise the oldest. */
  #shift(): Fetched | Stop | undefined {
    for (const [cursor, entries] of this.#aside) {
      if (cursor.full) continue;
      const entry = entries.shift();
      if (entry !== undefined) return entry;
      this.#aside.delete(cursor);
    }
    return this.#queue.shift();
  }

  #putAside(entry: Fetched | Stop): void {
    const entries = this.#aside.get(entry.cursor);
    if (entries !== undefined) {
      entries.push(entry);
      return;
    }
    const fresh = new Queue<Fetched | Stop>();
    fresh.push(entry);
    this.#aside.set(entry.cursor, fresh);
  }

  /** Lets go of what will not be given out any more, so that its bytes make room. */
  prune(): void {
    for (const [cursor, entries] of this.#aside) {
      const kept = this.#pruned(entries);
      if (kept.length > 0) this.#aside.set(cursor, kept);
      else this.#aside.delete(cursor);
    }
    this.#queue = this.#pruned(this.#queue);
    this.changes.notify();
  }

  #pruned(entries: Queue<Fetched | Stop>): Queue<Fetched | Stop> {
    const kept = new Queue<Fetched | Stop>();
    for (let it = entries.shift(); it !== undefined; it = entries.shift()) {
      if (counts(it)) kept.push(it);
      else if (it.kind === "batch") this.#uncount(it);
    }
    return kept;
  }

  #uncount({ bytes, header, fromOffset, nextOffset }: Fetched): void {
    this.#bytes -= bytes.length;
    this.#records -= nextOffset - Math.max(header.baseOffset, fromOffset);
  }

  clear(): void {
    this.#queue.clear();
    this.#aside.clear();
    this.#bytes = 0;
    this.#records = 0;
  }
}

/** Another agent may have them; after some tries they are taken for lost, and the application is told which. */
function gap(cursor: Cursor, baseOffset: number): StreamHouseError {
  const { failures, fetchOffset, name, partition, topic } = cursor;
  return new StreamHouseError({
    code: "CORRUPT_SEGMENT",
    kind: "corrupt",
    retriable: failures < GAP_TRIES,
    message: `offsets ${fetchOffset} to ${baseOffset - 1} are missing in what an agent answered for ${name}; seek to ${baseOffset} to go on without them`,
    range: { topic, partition, firstOffset: fetchOffset, lastOffset: baseOffset - 1 },
  });
}

/** Not of a partition that was seeked, paused, taken away or failed since, or that is about to be taken away. */
function counts(entry: Fetched | Stop): boolean {
  return entry.generation === entry.cursor.fetchGeneration && entry.cursor.deliverable;
}

/**
 * The records of a fetched batch that were not given out yet. `runs` is told where records begin that have one timestamp: it is known
 * here for nothing, and looking at every record again to measure its age would cost a fortieth of reading it.
 * @throws StreamHouseError `CORRUPT_BATCH` naming topic, partition and offsets
 */
export function decodeFetched(
  fetched: Fetched,
  checkCrc: boolean,
  runs: number[] = [],
): ConsumerRecord[] | Promise<ConsumerRecord[]> {
  const { cursor, header, appendTimeMs, fromOffset } = fetched;
  const { topic, partition } = cursor;
  let made = 0;
  let latest = Number.NaN;
  const make = (
    offset: number,
    timestamp: number,
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers: readonly RecordHeader[],
  ): ConsumerRecord => {
    if (timestamp !== latest) {
      latest = timestamp;
      runs.push(made);
    }
    made++;
    return new ConsumerRecord(
      topic,
      partition,
      offset,
      timestamp,
      appendTimeMs,
      key,
      value,
      headers,
    );
  };
  try {
    const records = decodeBatch(fetched.bytes, make, { header, checkCrc, fromOffset });
    if (Array.isArray(records)) return records;
    return records.catch((error: unknown) => {
      throw unreadable(fetched, error);
    });
  } catch (error) {
    throw unreadable(fetched, error);
  }
}

function unreadable(fetched: Fetched, thrown: unknown): StreamHouseError {
  const { cursor, fromOffset, nextOffset } = fetched;
  const error = asStreamHouseError(thrown, "decoding a batch");
  return new StreamHouseError({
    code: error.code,
    kind: error.kind,
    message:
      `offsets ${fromOffset} to ${nextOffset - 1} of ${cursor.name} cannot be read: ` +
      `${error.message}; seek to ${nextOffset} to go on behind them`,
    range: {
      topic: cursor.topic,
      partition: cursor.partition,
      firstOffset: fromOffset,
      lastOffset: nextOffset - 1,
    },
    cause: error,
  });
}
