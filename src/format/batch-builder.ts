/**
 * Encodes records into one Kafka RecordBatch v2, straight into the buffer that is sent. Called by
 * the producer's accumulator, one builder for each open batch. Knows nothing of topics, time or
 * networks.
 */
import { invalid, StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { BATCH_CRC_FROM, BATCH_HEADER_BYTES, BATCH_LENGTH_OFFSET } from "./batch-header.ts";
import { writeInt16, writeInt32, writeInt64 } from "./big-endian.ts";
import { type Compression, codecId, compress } from "./compression.ts";
import { crc32c } from "./crc32c.ts";
import {
  type BatchRecord,
  RECORD_SLACK,
  recordBytesBound,
  recordBytesExact,
  writeRecord,
} from "./record-codec.ts";

export type { BatchRecord } from "./record-codec.ts";

export interface RecordBatchBuilderOptions {
  readonly compression: Compression;
  /** The batch is full at this many bytes before compression; at most `limits.batchBytesMax`. */
  readonly bytesMax: number;
  /** First size of the buffer, which grows by doubling. Default 16 KiB. */
  readonly bytesInitial?: number | undefined;
}

/** The producer's mark on a batch; all -1 for a batch without one. */
export interface ProducerStamp {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
}

/** The stamp of batches that no producer id covers (acks buffered and none). */
export const NO_PRODUCER: ProducerStamp = { producerId: -1, producerEpoch: -1, baseSequence: -1 };

const BYTES_INITIAL = 16_384;
const MAGIC = 2;
/** The year 144,683: beyond it the zigzag of a difference would leave the exact numbers. */
const TIMESTAMP_MAX = 2 ** 52 - 1;

export class RecordBatchBuilder {
  readonly #compression: Compression;
  readonly #bytesMax: number;
  #bytes: Uint8Array;
  /** Where the next record begins. */
  #at = BATCH_HEADER_BYTES;
  #count = 0;
  #baseTimestamp = -1;
  #maxTimestamp = -1;
  #sealed = false;

  constructor(options: RecordBatchBuilderOptions) {
    this.#compression = options.compression;
    this.#bytesMax = Math.min(options.bytesMax, limits.batchBytesMax);
    const initial = Math.min(options.bytesInitial ?? BYTES_INITIAL, this.#bytesMax);
    this.#bytes = new Uint8Array(Math.max(initial, BATCH_HEADER_BYTES));
  }

  get recordCount(): number {
    return this.#count;
  }

  /** Bytes so far before compression, header included. */
  get sizeBytes(): number {
    return this.#at;
  }

  /**
   * Adds a record and answers its encoded size in bytes, or undefined when the batch has no room
   * left for it (seal this one and begin another; the builder is unchanged). The first record
   * always fits.
   * @throws StreamHouseError `RECORD_TOO_LARGE` naming the limit; `INVALID_ARGUMENT` for a key,
   * value, header or timestamp of a wrong type or over its limit
   */
  append(record: BatchRecord): number | undefined {
    if (this.#sealed) throw sealedAlready();
    checkTimestamp(record.timestamp);
    if (this.#count === limits.recordsPerBatchMax) return undefined;
    // Strings are measured as if every character took three bytes; only near a limit it is worth to
    // count.
    let size = recordBytesBound(record);
    if (size > limits.recordBytesMax || size > this.#bytesMax - this.#at) {
      size = recordBytesExact(record, record.timestamp - this.#base(record), this.#count);
      if (size > limits.recordBytesMax) throw recordTooLarge(size);
      if (this.#count > 0 && size > this.#bytesMax - this.#at) return undefined;
    }
    this.#reserve(size + RECORD_SLACK);
    return this.#write(record);
  }

  /**
   * Finishes the batch: base offset 0, CRC set. Without compression it answers at once with a view
   * of the builder's own buffer (nothing is copied); with compression a promise. The builder cannot
   * be used again.
   * @throws StreamHouseError `INTERNAL` if it holds no record or was sealed before
   */
  seal(stamp: ProducerStamp): Uint8Array | Promise<Uint8Array> {
    if (this.#sealed) throw sealedAlready();
    if (this.#count === 0) throw internal("a record batch without records cannot be sealed");
    this.#sealed = true;
    const plain = this.#bytes.subarray(0, this.#at);
    if (this.#compression === "none") return this.#finish(plain, "none", stamp);
    return compress(this.#compression, plain.subarray(BATCH_HEADER_BYTES)).then((records) => {
      // Data that does not shrink can outgrow the limit by the codec's framing: it goes as it is.
      const size = BATCH_HEADER_BYTES + records.length;
      if (size > limits.batchBytesMax) return this.#finish(plain, "none", stamp);
      const bytes = new Uint8Array(size);
      bytes.set(records, BATCH_HEADER_BYTES);
      return this.#finish(bytes, this.#compression, stamp);
    });
  }

  #base(record: BatchRecord): number {
    return this.#count === 0 ? record.timestamp : this.#baseTimestamp;
  }

  #write(record: BatchRecord): number {
    const { timestamp } = record;
    const base = this.#base(record);
    const start = this.#at;
    this.#at = writeRecord(this.#bytes, start, record, timestamp - base, this.#count);
    this.#baseTimestamp = base;
    if (timestamp > this.#maxTimestamp) this.#maxTimestamp = timestamp;
    this.#count++;
    return this.#at - start;
  }

  #reserve(more: number): void {
    const needed = this.#at + more;
    if (needed <= this.#bytes.length) return;
    const wanted = Math.min(this.#bytes.length * 2, this.#bytesMax);
    const grown = new Uint8Array(Math.max(wanted, needed));
    grown.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = grown;
  }

  #finish(bytes: Uint8Array, compression: Compression, stamp: ProducerStamp): Uint8Array {
    writeInt64(bytes, 0, 0);
    writeInt32(bytes, 8, bytes.length - BATCH_LENGTH_OFFSET);
    writeInt32(bytes, 12, -1);
    bytes[16] = MAGIC;
    writeInt16(bytes, 21, codecId(compression));
    writeInt32(bytes, 23, this.#count - 1);
    writeInt64(bytes, 27, this.#baseTimestamp);
    writeInt64(bytes, 35, this.#maxTimestamp);
    writeInt32(bytes, 57, this.#count);
    restampProducer(bytes, stamp);
    return bytes;
  }
}

/**
 * Rewrites the producer's mark of a sealed batch in place and its CRC with it. Not while the bytes
 * are on their way.
 */
export function restampProducer(bytes: Uint8Array, stamp: ProducerStamp): void {
  writeInt64(bytes, 43, stamp.producerId);
  writeInt16(bytes, 51, stamp.producerEpoch);
  writeInt32(bytes, 53, stamp.baseSequence);
  writeInt32(bytes, 17, crc32c(bytes.subarray(BATCH_CRC_FROM)));
}

function checkTimestamp(timestamp: number): void {
  if (Number.isInteger(timestamp) && timestamp >= 0 && timestamp <= TIMESTAMP_MAX) return;
  throw invalid(
    "INVALID_ARGUMENT",
    `record timestamp ${timestamp} is not valid: use whole milliseconds since 1970`,
    { field: "timestamp" },
  );
}

function recordTooLarge(size: number): StreamHouseError {
  return invalid(
    "RECORD_TOO_LARGE",
    `record of ${size} bytes (encoded) is over the limit of ${limits.recordBytesMax} bytes: ` +
      "split it, or store the payload elsewhere and send a reference",
    { field: "value" },
  );
}

function sealedAlready(): StreamHouseError {
  return internal("a sealed record batch cannot be changed: make a new builder");
}

function internal(message: string): StreamHouseError {
  return new StreamHouseError({ code: "INTERNAL", kind: "internal", message });
}
