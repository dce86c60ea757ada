/**
 * Batches that were fetched and not yet given to the application, in order of arrival and bounded in bytes. The fetch loop
 * pushes, the reading side takes; who waits is woken.
 */
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import { Queue } from "../core/queue.ts";
import { ConsumerRecord, type RecordHeader } from "../core/record.ts";
import { decodeBatch } from "../format/batch-decoder.ts";
import { type BatchHeader, readBatchHeader } from "../format/batch-header.ts";
import type { FetchedBatch } from "../rpc/gen/streamhouse/v1/consumer.ts";
import type { Cursor } from "./cursor.ts";

/** One fetched batch, still encoded. */
export interface Fetched {
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

export class FetchedQueue {
  readonly #queue = new Queue<Fetched>();
  readonly #wakers = new Set<() => void>();
  #bytes = 0;

  /** Bytes of the batches that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Answers whether there was anything new in it. @throws StreamHouseError `CORRUPT_BATCH` */
  push(cursor: Cursor, batch: FetchedBatch): boolean {
    const header = readBatchHeader(batch.records);
    const nextOffset = header.baseOffset + header.lastOffsetDelta + 1;
    if (nextOffset <= cursor.fetchOffset) return false;
    this.#queue.push({
      cursor,
      generation: cursor.generation,
      bytes: batch.records,
      header,
      appendTimeMs: batch.appendTimeMs,
      fromOffset: cursor.fetchOffset,
      nextOffset,
    });
    this.#bytes += batch.records.length;
    cursor.fetchOffset = nextOffset;
    this.wake();
    return true;
  }

  /** The next batch that still counts and is not paused; undefined if there is none. */
  take(): Fetched | undefined {
    const held: Fetched[] = [];
    let found: Fetched | undefined;
    while (found === undefined) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      if (next.generation !== next.cursor.generation) this.#bytes -= next.bytes.length;
      else if (next.cursor.paused) held.push(next);
      else found = next;
    }
    if (found !== undefined) this.#bytes -= found.bytes.length;
    // Batches of paused partitions wait at the end; the order within a partition stays.
    if (held.length > 0 && found !== undefined) this.#keepOrder(held);
    else for (const it of held) this.#queue.push(it);
    return found;
  }

  #keepOrder(held: readonly Fetched[]): void {
    const rest: Fetched[] = [];
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      rest.push(next);
    }
    for (const it of held) this.#queue.push(it);
    for (const it of rest) this.#queue.push(it);
  }

  /** Calls `waker` at each change until the answered function is called. */
  onChange(waker: () => void): () => void {
    this.#wakers.add(waker);
    return () => this.#wakers.delete(waker);
  }

  wake(): void {
    for (const waker of this.#wakers) waker();
  }

  clear(): void {
    this.#queue.clear();
    this.#bytes = 0;
  }
}

/**
 * The records of a fetched batch that were not given out yet.
 * @throws StreamHouseError `CORRUPT_BATCH` naming topic, partition and offsets
 */
export function decodeFetched(
  fetched: Fetched,
  checkCrc: boolean,
): ConsumerRecord[] | Promise<ConsumerRecord[]> {
  const { cursor, header, appendTimeMs, fromOffset } = fetched;
  const { topic, partition } = cursor;
  const make = (
    offset: number,
    timestamp: number,
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers: readonly RecordHeader[],
  ): ConsumerRecord =>
    new ConsumerRecord(topic, partition, offset, timestamp, appendTimeMs, key, value, headers);
  try {
    const records = decodeBatch(fetched.bytes, make, { header, checkCrc, fromOffset });
    if (!(records instanceof Promise)) return records;
    return records.catch((error: unknown) => {
      throw corrupt(fetched, error);
    });
  } catch (error) {
    throw corrupt(fetched, error);
  }
}

function corrupt(fetched: Fetched, thrown: unknown): StreamHouseError {
  const { cursor, header, nextOffset } = fetched;
  const error = asStreamHouseError(thrown, "decoding a batch");
  return new StreamHouseError({
    code: error.code,
    kind: error.kind,
    message:
      `offsets ${header.baseOffset} to ${nextOffset - 1} of ${cursor.topic}/${cursor.partition} cannot be read: ` +
      `${error.message}; seek to ${nextOffset} to go on behind them`,
    cause: error,
  });
}
