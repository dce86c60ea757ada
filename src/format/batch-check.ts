/**
 * The door: whether bytes that a client sent are one record batch that may enter the log. Looks at
 * header and checksum only; records are never decoded here. Called by the agent's append gate for
 * every batch.
 */
import { invalid, StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { BATCH_CRC_FROM, type BatchHeader, readBatchHeader } from "./batch-header.ts";
import { crc32c } from "./crc32c.ts";

/** How `checkBatch` bounds timestamps. */
export interface BatchCheckOptions {
  /** The agent's clock, ms since 1970. */
  readonly nowMs: number;
  /** Furthest a record's timestamp may lie ahead of `nowMs`. Default 3,600,000 (Kafka's). */
  readonly timestampFutureMsMax?: number | undefined;
  /** Furthest it may lie back. Default: no bound, so that old data can be loaded. */
  readonly timestampPastMsMax?: number | undefined;
}

const TIMESTAMP_FUTURE_MS_MAX = 3_600_000;

const LOG_APPEND_TIME = 0x08;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const KNOWN_ATTRIBUTES = 0x07 | LOG_APPEND_TIME | TRANSACTIONAL | CONTROL;

/**
 * Checks that `bytes` are exactly one acceptable batch and answers its header. Every refusal has
 * kind `invalid`, or `corrupt` where the bytes are damaged.
 * @throws StreamHouseError `CORRUPT_BATCH`, `UNSUPPORTED_MAGIC`, `UNSUPPORTED_COMPRESSION`,
 * `UNSUPPORTED_ATTRIBUTES`, `TIMESTAMP_OUT_OF_BOUNDS`, `BATCH_TOO_LARGE`
 */
export function checkBatch(bytes: Uint8Array, options: BatchCheckOptions): BatchHeader {
  if (bytes.length > limits.batchBytesMax) {
    throw invalid(
      "BATCH_TOO_LARGE",
      `record batch of ${bytes.length} bytes is over the limit of ${limits.batchBytesMax} bytes: ` +
        "send fewer records in one batch",
    );
  }
  const header = readBatchHeader(bytes);
  checkLengthAndCrc(bytes, header);
  checkAttributes(header);
  checkCounts(header);
  checkProducer(header);
  checkTimestamps(header, options);
  return header;
}

function checkLengthAndCrc(bytes: Uint8Array, header: BatchHeader): void {
  if (header.sizeBytes !== bytes.length) {
    throw corrupt(
      `record batch says that it has ${header.sizeBytes} bytes, ${bytes.length} are there: ` +
        "send exactly one whole batch",
    );
  }
  checkBatchCrc(bytes, header);
}

/**
 * Compares the checksum of a whole batch with the one its header holds.
 * @throws StreamHouseError `CORRUPT_BATCH`
 */
export function checkBatchCrc(bytes: Uint8Array, header: BatchHeader): void {
  const crc = crc32c(bytes.subarray(BATCH_CRC_FROM, header.sizeBytes));
  if (crc === header.crc) return;
  throw corrupt(
    `record batch has CRC-32C ${hex(crc)}, its header says ${hex(header.crc)}: it was damaged on its way`,
  );
}

function checkAttributes(header: BatchHeader): void {
  const { attributes } = header;
  const refuse = (what: string) =>
    invalid("UNSUPPORTED_ATTRIBUTES", `record batch with ${what}: send batches without it`);
  if (attributes & LOG_APPEND_TIME) throw refuse("timestamp type log-append-time");
  if (attributes & TRANSACTIONAL) throw refuse("the transactional bit");
  if (attributes & CONTROL) throw refuse("the control bit");
  const unknown = attributes & ~KNOWN_ATTRIBUTES;
  if (unknown !== 0) throw refuse(`unknown attribute bits 0x${(unknown & 0xffff).toString(16)}`);
}

function checkCounts(header: BatchHeader): void {
  const { recordCount, lastOffsetDelta, baseOffset } = header;
  if (recordCount < 1) throw corrupt("record batch without records");
  if (recordCount > limits.recordsPerBatchMax) {
    throw invalid(
      "BATCH_TOO_LARGE",
      `record batch of ${recordCount} records is over the limit of ${limits.recordsPerBatchMax}`,
    );
  }
  if (lastOffsetDelta !== recordCount - 1) {
    throw corrupt(
      `lastOffsetDelta is ${lastOffsetDelta}, expected ${recordCount - 1} with ${recordCount} records`,
    );
  }
  if (baseOffset < 0) throw corrupt(`baseOffset ${baseOffset} is negative, expected 0`);
}

function checkProducer(header: BatchHeader): void {
  const { producerId, producerEpoch, baseSequence } = header;
  if (producerId < -1) throw corrupt(`producerId ${producerId} is negative`);
  if (producerId === -1) return;
  if (producerEpoch < 0 || baseSequence < 0) {
    throw corrupt(
      `batch of producer ${producerId} has epoch ${producerEpoch} and sequence ${baseSequence}: ` +
        "neither may be negative",
    );
  }
}

function checkTimestamps(header: BatchHeader, options: BatchCheckOptions): void {
  const { baseTimestamp, maxTimestamp } = header;
  const { nowMs } = options;
  if (maxTimestamp < baseTimestamp) {
    throw corrupt(`maxTimestamp ${maxTimestamp} lies before baseTimestamp ${baseTimestamp}`);
  }
  const latest = nowMs + (options.timestampFutureMsMax ?? TIMESTAMP_FUTURE_MS_MAX);
  const earliest = Math.max(0, nowMs - (options.timestampPastMsMax ?? nowMs));
  const outside =
    baseTimestamp < earliest ? baseTimestamp : maxTimestamp > latest ? maxTimestamp : undefined;
  if (outside === undefined) return;
  throw invalid(
    "TIMESTAMP_OUT_OF_BOUNDS",
    `record timestamp ${outside} (ms since 1970) is out of bounds: accepted are ${earliest} to ${latest}`,
  );
}

function hex(crc: number): string {
  return `0x${crc.toString(16).padStart(8, "0")}`;
}

function corrupt(message: string): StreamHouseError {
  return new StreamHouseError({ code: "CORRUPT_BATCH", kind: "corrupt", message });
}
