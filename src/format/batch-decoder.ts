/**
 * Decodes the records of a Kafka RecordBatch v2. Keys, values and header values are views into the
 * batch (or into the decompressed records): nothing is copied. Called by the consumer's fetch loop.
 * Trusts nothing: every length is checked against the record that it stands in.
 *
 * A record (https://kafka.apache.org/documentation/#record), all numbers zigzag varints but the
 * attributes:
 * `length | attributes (1 byte, unused) | timestampDelta | offsetDelta | keyLength | key |
 * valueLength | value | headerCount | (nameLength | name | valueLength | value)*`; a length of -1
 * stands for null.
 */
import { StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { RecordHeader } from "../core/record.ts";
import { checkBatchCrc } from "./batch-check.ts";
import { BATCH_HEADER_BYTES, type BatchHeader, readBatchHeader } from "./batch-header.ts";
import { decompress } from "./compression.ts";
import { VarintReader } from "./varint.ts";

/** A decoded record. */
export interface DecodedRecord {
  readonly offset: number;
  /** Ms since 1970. */
  readonly timestamp: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
}

/**
 * Makes what the caller wants from one record, so that no object is made only to be copied from.
 */
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

/** `make` for plain objects. */
export const plainRecord: MakeRecord<DecodedRecord> = (offset, timestamp, key, value, headers) => ({
  offset,
  timestamp,
  key,
  value,
  headers,
});

/** Length, attributes, timestamp, offset, key, value and header count take a byte each at least. */
const RECORD_BYTES_MIN = 7;

const NO_HEADERS: readonly RecordHeader[] = Object.freeze([]);

const utf8 = new TextDecoder();

/**
 * All records of one batch, in order. An uncompressed batch is decoded at once, a compressed one
 * behind a promise.
 * @throws StreamHouseError `CORRUPT_BATCH` (kind `corrupt`) if the CRC, a length, an offset or the
 * count is wrong; the message names neither topic nor partition, the caller adds them. What `make`
 * throws goes through.
 */
export function decodeBatch<T>(
  bytes: Uint8Array,
  make: MakeRecord<T>,
  options: DecodeBatchOptions = {},
): T[] | Promise<T[]> {
  const header = options.header ?? readBatchHeader(bytes);
  if (header.sizeBytes !== bytes.length) {
    throw corrupt(`record batch of ${header.sizeBytes} bytes, ${bytes.length} are there`);
  }
  if (options.checkCrc ?? true) checkBatchCrc(bytes, header);
  const from = options.fromOffset ?? 0;
  if (header.compression === "none") {
    return decodeRecords(new VarintReader(bytes, BATCH_HEADER_BYTES), header, make, from);
  }
  return decompress(header.compression, bytes.subarray(BATCH_HEADER_BYTES)).then((records) =>
    decodeRecords(new VarintReader(records), header, make, from),
  );
}

function decodeRecords<T>(
  reader: VarintReader,
  header: BatchHeader,
  make: MakeRecord<T>,
  fromOffset: number,
): T[] {
  const { baseOffset, baseTimestamp, recordCount } = header;
  const end = reader.end;
  checkCount(header, end - reader.position);
  const records: T[] = [];
  for (let i = 0; i < recordCount; i++) {
    if (reader.position >= end) {
      throw corrupt(`record batch says ${recordCount} records, it ends after ${i}`);
    }
    const length = reader.zigzag();
    const recordEnd = reader.position + length;
    if (length < RECORD_BYTES_MIN - 1 || recordEnd > end) throw overrun("record", i, length);
    if (baseOffset + i < fromOffset) {
      reader.position = recordEnd;
      continue;
    }
    // Everything inside the record is read against the record's end, not the batch's.
    reader.end = recordEnd;
    reader.position++;
    const timestamp = baseTimestamp + reader.zigzag();
    const offsetDelta = reader.zigzag();
    if (offsetDelta !== i)
      throw corrupt(`record ${i} of the batch has offset delta ${offsetDelta}`);
    const key = readBytes(reader, i);
    const value = readBytes(reader, i);
    const headerCount = reader.zigzag();
    const headers = headerCount === 0 ? NO_HEADERS : readHeaders(reader, headerCount, i);
    if (reader.position !== recordEnd) {
      throw corrupt(`record ${i} of the batch has ${recordEnd - reader.position} bytes too many`);
    }
    reader.end = end;
    records.push(make(baseOffset + i, timestamp, key, value, headers));
  }
  if (reader.position !== end) {
    const rest = end - reader.position;
    throw corrupt(`record batch says ${recordCount} records, ${rest} bytes follow them`);
  }
  return records;
}

/**
 * The decoder allocates by the count, so a count that the bytes cannot hold is refused before
 * anything else.
 */
function checkCount(header: BatchHeader, available: number): void {
  const { recordCount } = header;
  if (recordCount > limits.recordsPerBatchMax || recordCount * RECORD_BYTES_MIN > available) {
    throw corrupt(
      `record batch says ${recordCount} records, its ${available} bytes cannot hold them`,
    );
  }
}

function readBytes(reader: VarintReader, record: number): Uint8Array | null {
  const length = reader.zigzag();
  if (length < 0) {
    if (length === -1) return null;
    throw overrun("key or value", record, length);
  }
  const at = reader.position;
  if (at + length > reader.end) throw overrun("key or value", record, length);
  reader.position = at + length;
  // Not `subarray`: on Node's Buffer it is slower and answers a Buffer.
  return new Uint8Array(reader.bytes.buffer, reader.bytes.byteOffset + at, length);
}

function readHeaders(reader: VarintReader, count: number, record: number): RecordHeader[] {
  // A header takes two bytes at least.
  if (count < 0 || count * 2 > reader.end - reader.position)
    throw overrun("headers", record, count);
  const headers: RecordHeader[] = [];
  for (let i = 0; i < count; i++) {
    const name = readBytes(reader, record);
    if (name === null) throw corrupt(`record ${record} of the batch has a header without a name`);
    headers.push([utf8.decode(name), readBytes(reader, record)]);
  }
  return headers;
}

function overrun(what: string, record: number, length: number): StreamHouseError {
  return corrupt(`record ${record} of the batch: ${what} of length ${length} does not fit in it`);
}

function corrupt(message: string): StreamHouseError {
  return new StreamHouseError({ code: "CORRUPT_BATCH", kind: "corrupt", message });
}
