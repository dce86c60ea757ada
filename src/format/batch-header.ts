/**
 * The 61 bytes at the start of every Kafka RecordBatch v2: read, check at the door, stamp. Never looks at the
 * records. Called by the agent for each batch that comes in and by consumers for each that comes out.
 */
import type { Compression } from "./compression.ts";

/** Length of a batch's header; a batch with records is longer. */
export const BATCH_HEADER_BYTES = 61;

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

/** How `checkBatch` bounds timestamps. */
export interface BatchCheckOptions {
  /** The agent's clock, ms since 1970. */
  readonly nowMs: number;
  /** Furthest a record's timestamp may lie ahead of `nowMs`. Default 3,600,000 (Kafka's). */
  readonly timestampFutureMsMax?: number | undefined;
  /** Furthest it may lie back. Default: no bound, so that old data can be loaded. */
  readonly timestampPastMsMax?: number | undefined;
}

/**
 * Decodes the header at `at`. Checks only what it needs to: length, magic, codec, int64s below 2^53.
 * @throws StreamHouseError `CORRUPT_BATCH`, `UNSUPPORTED_MAGIC`, `UNSUPPORTED_COMPRESSION`
 */
export function readBatchHeader(bytes: Uint8Array, at = 0): BatchHeader {
  throw new Error(`not yet: ${bytes.length} ${at}`);
}

/**
 * The door: `bytes` must be exactly one acceptable batch. Answers its header.
 * @throws StreamHouseError `CORRUPT_BATCH`, `UNSUPPORTED_MAGIC`, `UNSUPPORTED_COMPRESSION`,
 * `UNSUPPORTED_ATTRIBUTES`, `TIMESTAMP_OUT_OF_BOUNDS`, `BATCH_TOO_LARGE`; kind `invalid`
 */
export function checkBatch(bytes: Uint8Array, options: BatchCheckOptions): BatchHeader {
  throw new Error(`not yet: ${bytes.length} ${options.nowMs}`);
}

/** Writes the two fields that lie outside the CRC, in place. */
export function stampBatch(bytes: Uint8Array, baseOffset: number, leaderEpoch: number): void {
  throw new Error(`not yet: ${bytes.length} ${baseOffset} ${leaderEpoch}`);
}

/** One batch of several that lie one behind the other. */
export interface BatchView {
  readonly header: BatchHeader;
  /** The whole batch, a view. */
  readonly bytes: Uint8Array;
}

/**
 * Walks batches that lie one behind the other. The CRCs are not checked.
 * @throws StreamHouseError `CORRUPT_BATCH` where the bytes end within a batch, and as `readBatchHeader`
 */
export function* splitBatches(bytes: Uint8Array): Generator<BatchView, void, undefined> {
  yield { header: readBatchHeader(bytes), bytes };
}
