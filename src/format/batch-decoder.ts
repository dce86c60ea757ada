/**
 * Decodes the records of a Kafka RecordBatch v2. Keys, values and header values are views into the batch (or into
 * the decompressed records): nothing is copied. Called by the consumer's fetch loop.
 */
import type { RecordHeader } from "../core/record.ts";
import type { BatchHeader } from "./batch-header.ts";

/** A decoded record. */
export interface DecodedRecord {
  readonly offset: number;
  /** Ms since 1970. */
  readonly timestamp: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
}

/** Makes what the caller wants from one record, so that no object is made only to be copied from. */
export type MakeRecord<T> = (
  offset: number,
  timestamp: number,
  key: Uint8Array | null,
  value: Uint8Array | null,
  headers: readonly RecordHeader[],
) => T;

export interface DecodeBatchOptions {
  /** The batch's header if it has been read already. */
  readonly header?: BatchHeader | undefined;
  /** Check the CRC first (default true). */
  readonly checkCrc?: boolean | undefined;
  /** Leave out records below this offset. Default: none. */
  readonly fromOffset?: number | undefined;
}

/**
 * All records of one batch, in order. An uncompressed batch is decoded at once, a compressed one behind a promise.
 * @throws StreamHouseError `CORRUPT_BATCH` (kind `corrupt`) if the CRC, a length or the count is wrong; the message names
 * neither topic nor partition, the caller adds them
 */
export function decodeBatch<T>(
  bytes: Uint8Array,
  make: MakeRecord<T>,
  options: DecodeBatchOptions = {},
): T[] | Promise<T[]> {
  throw new Error(`not yet: ${bytes.length} ${make.length} ${options.checkCrc}`);
}

/** `make` for plain objects. */
export const plainRecord: MakeRecord<DecodedRecord> = (offset, timestamp, key, value, headers) => ({
  offset,
  timestamp,
  key,
  value,
  headers,
});
