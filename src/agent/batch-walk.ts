/**
 * Walks stored batches without decoding more of a header than it needs: a share may hold very many small batches, and each
 * fetch of a piece of it walks from its start. Called by fetcher and list-offsets.
 */
import { StreamHouseError } from "../core/errors.ts";
import { BATCH_HEADER_BYTES, BATCH_LENGTH_OFFSET } from "../format/batch-header.ts";
import { readInt32, readInt64 } from "../format/big-endian.ts";

/** Positions in a batch's header (see `format/batch-header.ts`). */
const BATCH_LENGTH_AT = 8;
const LAST_OFFSET_DELTA_AT = 23;
const MAX_TIMESTAMP_AT = 35;
const RECORD_COUNT_AT = 57;

/**
 * The whole batches that hold `offset` or later ones, as views.
 * @throws StreamHouseError `CORRUPT_SEGMENT` where the bytes end within a batch
 */
export function* batchesFrom(
  bytes: Uint8Array,
  offset: number,
): Generator<Uint8Array, void, undefined> {
  for (let at = 0; at < bytes.length; ) {
    const end = endOf(bytes, at);
    const last = readInt64(bytes, at) + readInt32(bytes, at + LAST_OFFSET_DELTA_AT);
    if (last >= offset) yield bytes.subarray(at, end);
    at = end;
  }
}

/**
 * Base offset of the first batch with a record at or after `timestampMs` among those that hold `fromOffset` or later ones; undefined if
 * there is none.
 */
export function offsetAtTime(
  bytes: Uint8Array,
  timestampMs: number,
  fromOffset: number,
): number | undefined {
  for (const batch of batchesFrom(bytes, fromOffset)) {
    if (readInt64(batch, MAX_TIMESTAMP_AT) >= timestampMs) return readInt64(batch, 0);
  }
  return undefined;
}

/** The record count that a batch's header claims, unchecked: for spans. 0 if there is no whole header. */
export function claimedRecords(bytes: Uint8Array): number {
  return bytes.length < BATCH_HEADER_BYTES ? 0 : readInt32(bytes, RECORD_COUNT_AT);
}

function endOf(bytes: Uint8Array, at: number): number {
  const room = bytes.length - at;
  const size =
    room < BATCH_HEADER_BYTES
      ? room + 1
      : readInt32(bytes, at + BATCH_LENGTH_AT) + BATCH_LENGTH_OFFSET;
  if (size >= BATCH_HEADER_BYTES && size <= room) return at + size;
  throw new StreamHouseError({
    code: "CORRUPT_SEGMENT",
    kind: "corrupt",
    message: `stored batch at byte ${at} of its share does not end within the share's ${bytes.length} bytes`,
  });
}
