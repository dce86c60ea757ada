/**
 * The 61 bytes at the start of every Kafka RecordBatch v2: read, stamp, walk. Never looks at the
 * records behind them. Used by the agent for each batch that comes in and by consumers for each
 * that comes out.
 *
 * Layout (https://kafka.apache.org/documentation/#recordbatch), most significant byte first:
 * ```
 *  0 int64 baseOffset            23 int32 lastOffsetDelta
 *  8 int32 batchLength           27 int64 baseTimestamp
 * 12 int32 partitionLeaderEpoch  35 int64 maxTimestamp
 * 16 int8  magic (2)             43 int64 producerId
 * 17 uint32 crc (of 21 and on)   51 int16 producerEpoch
 * 21 int16 attributes            53 int32 baseSequence
 *                                57 int32 recordCount, then the records
 * ```
 */
import { invalid, StreamHouseError } from "../core/errors.ts";
import {
  readInt16,
  readInt32,
  readInt64,
  readUint32,
  writeInt32,
  writeInt64,
} from "./big-endian.ts";
import { type Compression, compressionOf } from "./compression.ts";

/** Length of a batch's header; a batch with records is longer. */
export const BATCH_HEADER_BYTES = 61;

/** `batchLength` counts the bytes after itself: this many come before. */
export const BATCH_LENGTH_OFFSET = 12;

/** Where the bytes begin that the CRC covers: the attributes, to the end of the batch. */
export const BATCH_CRC_FROM = 21;

/** A batch's header, decoded. Ids and sequences are -1 where the batch has no producer. */
export interface BatchHeader {
  readonly baseOffset: number;
  /** Bytes after this field, as on the wire: `sizeBytes - 12`. */
  readonly batchLength: number;
  /** The lease epoch, stamped by the agent. */
  readonly partitionLeaderEpoch: number;
  readonly magic: number;
  /** CRC-32C as stored (unsigned), over everything after it. */
  readonly crc: number;
  readonly attributes: number;
  readonly compression: Compression;
  readonly lastOffsetDelta: number;
  /** Timestamp of the first record, ms since 1970. */
  readonly baseTimestamp: number;
  /** Largest timestamp of the records, ms since 1970. */
  readonly maxTimestamp: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly recordCount: number;
  /** The whole batch, header included. */
  readonly sizeBytes: number;
}

/**
 * Decodes the header at `at`. Checks what decoding needs: length, magic, codec, int64s below 2^53,
 * a count that is not negative.
 * @throws StreamHouseError `CORRUPT_BATCH`, `UNSUPPORTED_MAGIC`, `UNSUPPORTED_COMPRESSION`
 */
export function readBatchHeader(bytes: Uint8Array, at = 0): BatchHeader {
  const available = bytes.length - at;
  if (available < BATCH_HEADER_BYTES) {
    throw corrupt(
      `a record batch has at least ${BATCH_HEADER_BYTES} bytes, ${available} are there`,
    );
  }
  // The magic's place is the same in all three of Kafka's formats, so it is looked at first.
  const magic = bytes[at + 16] as number;
  if (magic !== 2) {
    throw invalid(
      "UNSUPPORTED_MAGIC",
      `record batch with magic ${magic}: only magic 2 (Kafka 0.11 and later) is supported`,
    );
  }
  const batchLength = readInt32(bytes, at + 8);
  if (batchLength < BATCH_HEADER_BYTES - BATCH_LENGTH_OFFSET) {
    throw corrupt(`batchLength ${batchLength} is shorter than a batch's header`);
  }
  const attributes = readInt16(bytes, at + 21);
  const recordCount = readInt32(bytes, at + 57);
  if (recordCount < 0) throw corrupt(`recordCount ${recordCount} is negative`);
  return {
    baseOffset: safeInt64(bytes, at, "baseOffset"),
    batchLength,
    partitionLeaderEpoch: readInt32(bytes, at + 12),
    magic,
    crc: readUint32(bytes, at + 17),
    attributes,
    compression: compressionOf(attributes),
    lastOffsetDelta: readInt32(bytes, at + 23),
    baseTimestamp: safeInt64(bytes, at + 27, "baseTimestamp"),
    maxTimestamp: safeInt64(bytes, at + 35, "maxTimestamp"),
    producerId: safeInt64(bytes, at + 43, "producerId"),
    producerEpoch: readInt16(bytes, at + 51),
    baseSequence: readInt32(bytes, at + 53),
    recordCount,
    sizeBytes: batchLength + BATCH_LENGTH_OFFSET,
  };
}

/** Writes the two fields that lie outside the CRC, in place. */
export function stampBatch(bytes: Uint8Array, baseOffset: number, leaderEpoch: number): void {
  writeInt64(bytes, 0, baseOffset);
  writeInt32(bytes, 12, leaderEpoch);
}

/** One batch of several that lie one behind the other. */
export interface BatchView {
  readonly header: BatchHeader;
  /** The whole batch, a view. */
  readonly bytes: Uint8Array;
}

/**
 * Walks batches that lie one behind the other. The CRCs are not checked.
 * @throws StreamHouseError `CORRUPT_BATCH` where the bytes end within a batch, and as
 * `readBatchHeader`
 */
export function* splitBatches(bytes: Uint8Array): Generator<BatchView, void, undefined> {
  let at = 0;
  while (at < bytes.length) {
    const header = readBatchHeader(bytes, at);
    const end = at + header.sizeBytes;
    if (end > bytes.length) {
      throw corrupt(
        `record batch at byte ${at} has ${header.sizeBytes} bytes, ${bytes.length - at} are there`,
      );
    }
    yield { header, bytes: bytes.subarray(at, end) };
    at = end;
  }
}

function safeInt64(bytes: Uint8Array, at: number, field: string): number {
  const value = readInt64(bytes, at);
  if (Number.isSafeInteger(value)) return value;
  throw corrupt(`${field} lies beyond 2^53, which no record here can reach`);
}

function corrupt(message: string): StreamHouseError {
  return new StreamHouseError({ code: "CORRUPT_BATCH", kind: "corrupt", message });
}
