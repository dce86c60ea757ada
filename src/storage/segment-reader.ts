/**
 * Reads a partition's share of a committed chunk back and makes sure that index and object mean the same bytes. It never
 * decodes records. Called by recovery and by tests; the agent's fetches have a reader of their own, which joins
 * neighbours and caches.
 */
import { StreamHouseError } from "../core/errors.ts";
import { BATCH_CRC_FROM, BATCH_HEADER_BYTES, readBatchHeader } from "../format/batch-header.ts";
import type { ChunkIndexEntry, ChunkLocation } from "../format/chunk.ts";
import { crc32c } from "../format/crc32c.ts";
import type { ObjectStore } from "./object-store.ts";

export interface ReadShareOptions {
  /** First byte wanted, counted from the share's start; must be a batch's first byte. Default 0. */
  readonly from?: number | undefined;
  /** About how many bytes; the answer ends with a whole batch and has at least one. Default: all of the share. */
  readonly maxBytes?: number | undefined;
  /** Also checks each batch's CRC-32C. Default false: headers only. */
  readonly verifyCrc?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The whole record batches of `entry`, as stored: contiguous offsets, the entry's epoch, and (without `from` and
 * `maxBytes`) exactly its records and bytes.
 * @throws StreamHouseError `CORRUPT_SEGMENT` naming key and position, and what the store's `get` throws
 */
export async function readShare(
  store: ObjectStore,
  location: ChunkLocation,
  entry: ChunkIndexEntry,
  options: ReadShareOptions = {},
): Promise<Uint8Array> {
  const { from = 0, maxBytes = Number.POSITIVE_INFINITY, signal } = options;
  const start = location.position + entry.position + from;
  const available = entry.length - from;
  if (available <= 0 || from < 0 || entry.position + entry.length > location.length) {
    throw corrupt(location, start, "the index points outside its chunk");
  }
  const length = Math.min(available, Math.max(maxBytes, BATCH_HEADER_BYTES));
  const bytes = await store.get(location.key, { start, length }, signal);
  const check = { location, entry, start, from, verifyCrc: options.verifyCrc ?? false };
  if (length === available) return checkBatches(bytes, check, true);
  const first = sizeOfFirst(bytes, location, start);
  if (first <= length) return checkBatches(bytes, check, false);
  if (first > available) throw corrupt(location, start, "a batch reaches beyond its share");
  const whole = await store.get(location.key, { start, length: first }, signal);
  return checkBatches(whole, check, false);
}

interface ShareCheck {
  readonly location: ChunkLocation;
  readonly entry: ChunkIndexEntry;
  /** Of the bytes, in the object. */
  readonly start: number;
  readonly from: number;
  readonly verifyCrc: boolean;
}

/** The whole batches at the start of `bytes`; with `toTheEnd` there must be nothing else. */
function checkBatches(bytes: Uint8Array, check: ShareCheck, toTheEnd: boolean): Uint8Array {
  const { location, entry, start } = check;
  const end = entry.baseOffset + entry.recordCount;
  let offset = check.from === 0 ? entry.baseOffset : undefined;
  let at = 0;
  while (bytes.length - at >= BATCH_HEADER_BYTES) {
    const size = sizeOfFirst(bytes.subarray(at), location, start + at);
    if (at + size > bytes.length) break;
    const batch = bytes.subarray(at, at + size);
    const header = readBatchHeader(batch);
    const expected = offset ?? header.baseOffset;
    if (header.baseOffset !== expected || header.baseOffset < entry.baseOffset) {
      throw corrupt(location, start + at, `found offset ${header.baseOffset}, not ${expected}`);
    }
    if (header.partitionLeaderEpoch !== entry.epoch) {
      const found = `found lease epoch ${header.partitionLeaderEpoch}, not ${entry.epoch}`;
      throw corrupt(location, start + at, found);
    }
    if (check.verifyCrc && crc32c(batch.subarray(BATCH_CRC_FROM)) !== header.crc) {
      throw corrupt(location, start + at, "a batch's checksum is wrong");
    }
    offset = expected + header.recordCount;
    if (offset > end) throw corrupt(location, start + at, "there are more records than indexed");
    at += size;
  }
  if (!toTheEnd) return bytes.subarray(0, at);
  if (at !== bytes.length) throw corrupt(location, start + at, "a batch reaches beyond its share");
  if (offset !== end) throw corrupt(location, start, `its records end at ${offset}, not ${end}`);
  return bytes;
}

function sizeOfFirst(bytes: Uint8Array, location: ChunkLocation, position: number): number {
  try {
    return readBatchHeader(bytes).sizeBytes;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw corrupt(location, position, why, error);
  }
}

function corrupt(
  location: ChunkLocation,
  position: number,
  why: string,
  cause?: unknown,
): StreamHouseError {
  return new StreamHouseError({
    code: "CORRUPT_SEGMENT",
    kind: "corrupt",
    message: `segment ${location.key} at byte ${position}: ${why}: restore the object, or seek past it`,
    cause,
  });
}
