/**
 * A chunk is one flush of one agent run, self-describing and scannable forward. Written by the
 * agent's flusher, read by recovery; a share's batches are read by (location, entry) alone.
 *
 * Layout, most significant byte first, positions from the chunk's start:
 * ```
 *  0   7 bytes  "SHCHUNK"
 *  7   uint8    version, 1
 *  8   uint32   total length T, from the first magic byte to the last checksum byte
 * 12   uint32   header length H, its checksum included
 * 16   uint32   index position I
 * 20   int64    flush sequence
 * 28   int64    append time, ms since 1970
 * 36   uint32   number of shares N
 * 40   uint8    run id length R, 1 to 255
 * 41   R bytes  run id, UTF-8
 *      N varints lease epochs, in the index's order
 * H−4  uint32   CRC-32C of bytes 0 to H−5
 * H             record batches, whole, grouped by share in the index's order
 * I             index, see `chunk-index.ts`
 * T−4  uint32   CRC-32C of bytes 0 to T−5
 * ```
 */
import { StreamHouseError } from "../core/errors.ts";
import { readBatchHeader } from "./batch-header.ts";
import { readUint32, writeInt32 } from "./big-endian.ts";
import {
  CHUNK_CRC_BYTES,
  type ChunkHeader,
  chunkHeaderSize,
  encodeChunkHeader,
  type NotAChunk,
  readChunkHeader,
  runIdBytes,
} from "./chunk-header.ts";
import { type ChunkIndexEntry, decodeIndex, encodeIndex } from "./chunk-index.ts";
import { crc32c } from "./crc32c.ts";

/** Lengths are uint32. */
const CHUNK_BYTES_MAX = 0xffff_ffff;

export type { ChunkIndexEntry } from "./chunk-index.ts";

/** Where a chunk lies: an object (or file) of the store, the first byte, and how many. */
export interface ChunkLocation {
  readonly key: string;
  readonly position: number;
  readonly length: number;
}

/** One partition's batches, already stamped with their offsets and epoch. */
export interface ChunkShare {
  /** UUID text. */
  readonly topicId: string;
  readonly partition: number;
  readonly epoch: number;
  readonly baseOffset: number;
  /** Whole batches in offset order, at least one; `baseOffset` is the first one's. */
  readonly batches: readonly Uint8Array[];
}

export interface ChunkInput {
  readonly runId: string;
  readonly flushSequence: number;
  readonly appendTimeMs: number;
  /** Sorted by (topic id, partition), at least one. */
  readonly shares: readonly ChunkShare[];
}

export interface EncodedChunk {
  /** To be written one behind the other; batches are the caller's own arrays, not copies. */
  readonly parts: readonly Uint8Array[];
  readonly length: number;
  readonly entries: readonly ChunkIndexEntry[];
}

/** A chunk whose checksums were right. */
export interface DecodedChunk {
  /** First byte, in what was scanned. */
  readonly position: number;
  readonly length: number;
  readonly runId: string;
  readonly flushSequence: number;
  readonly appendTimeMs: number;
  readonly entries: readonly ChunkIndexEntry[];
}

/**
 * Lays a chunk out. Batches are not copied and not looked into beyond their headers.
 * @throws StreamHouseError `INTERNAL` if a share is empty, or its batches are not contiguous from
 * its base offset
 */
export function encodeChunk(input: ChunkInput): EncodedChunk {
  const runId = runIdBytes(input.runId);
  const epochs = input.shares.map((share) => share.epoch);
  const headerBytes = chunkHeaderSize(runId, epochs);
  const entries: ChunkIndexEntry[] = [];
  const batches: Uint8Array[] = [];
  let position = headerBytes;
  for (const share of input.shares) {
    const entry = shareEntry(share, position, input.appendTimeMs);
    entries.push(entry);
    for (const batch of share.batches) batches.push(batch);
    position += entry.length;
  }
  const index = encodeIndex(entries);
  const totalBytes = position + index.length + CHUNK_CRC_BYTES;
  if (totalBytes > CHUNK_BYTES_MAX) throw internal(`chunk of ${totalBytes} bytes is too large`);
  const { flushSequence, appendTimeMs } = input;
  const header = encodeChunkHeader(
    { totalBytes, headerBytes, indexPosition: position, flushSequence, appendTimeMs, epochs },
    runId,
  );
  let crc = crc32c(header);
  for (const batch of batches) crc = crc32c(batch, crc);
  const tail = new Uint8Array(index.length + CHUNK_CRC_BYTES);
  tail.set(index);
  writeInt32(tail, index.length, crc32c(index, crc));
  return { parts: [header, ...batches, tail], length: totalBytes, entries };
}

function shareEntry(share: ChunkShare, position: number, appendTimeMs: number): ChunkIndexEntry {
  const { topicId, partition, epoch, baseOffset } = share;
  let length = 0;
  let recordCount = 0;
  let minTimestamp = Number.POSITIVE_INFINITY;
  let maxTimestamp = Number.NEGATIVE_INFINITY;
  for (const batch of share.batches) {
    const header = readBatchHeader(batch);
    if (header.baseOffset !== baseOffset + recordCount) {
      throw internal(
        `batch of ${topicId}/${partition} has base offset ${header.baseOffset}, ` +
          `expected ${baseOffset + recordCount}`,
      );
    }
    length += batch.length;
    recordCount += header.recordCount;
    minTimestamp = Math.min(minTimestamp, header.baseTimestamp);
    maxTimestamp = Math.max(maxTimestamp, header.maxTimestamp);
  }
  if (recordCount === 0) throw internal(`share of ${topicId}/${partition} holds no record`);
  return {
    topicId,
    partition,
    epoch,
    position,
    length,
    baseOffset,
    recordCount,
    minTimestamp,
    maxTimestamp,
    appendTimeMs,
  };
}

/**
 * Decodes and verifies the chunk at `at`; bytes behind it are not looked at.
 * @throws StreamHouseError `CORRUPT_SEGMENT` naming the position
 */
export function decodeChunk(bytes: Uint8Array, at = 0): DecodedChunk {
  const chunk = readChunk(bytes, at);
  if (!("problem" in chunk)) return chunk;
  throw new StreamHouseError({
    code: "CORRUPT_SEGMENT",
    kind: "corrupt",
    message: `no complete chunk at byte ${at}: ${chunk.reason}`,
  });
}

/** Why bytes are not a complete chunk, and how long it claims to be where its header is sound. */
export interface BrokenChunk extends NotAChunk {
  readonly totalBytes?: number | undefined;
}

/** `decodeChunk` that answers what is wrong, for scans. */
export function readChunk(bytes: Uint8Array, at: number): DecodedChunk | BrokenChunk {
  const header = readChunkHeader(bytes, at);
  if ("problem" in header) return header;
  const bad = (reason: string): BrokenChunk => {
    return { problem: "damaged", reason, totalBytes: header.totalBytes };
  };
  const { totalBytes, indexPosition } = header;
  const crcAt = totalBytes - CHUNK_CRC_BYTES;
  if (indexPosition < header.headerBytes || indexPosition > crcAt) return bad("index position");
  if (crc32c(bytes.subarray(at, at + crcAt)) !== readUint32(bytes, at + crcAt)) {
    return bad("checksum");
  }
  let entries: ChunkIndexEntry[];
  try {
    entries = decodeIndex(bytes.subarray(at + indexPosition, at + crcAt));
  } catch (error) {
    return bad((error as Error).message);
  }
  if (!agree(header, entries)) return bad("header and index disagree");
  const { runId, flushSequence, appendTimeMs } = header;
  return { position: at, length: totalBytes, runId, flushSequence, appendTimeMs, entries };
}

function agree(header: ChunkHeader, entries: readonly ChunkIndexEntry[]): boolean {
  if (entries.length !== header.epochs.length) return false;
  return entries.every(
    (entry, i) =>
      entry.epoch === header.epochs[i] &&
      entry.position >= header.headerBytes &&
      entry.position + entry.length <= header.indexPosition,
  );
}

function internal(message: string): StreamHouseError {
  return new StreamHouseError({ code: "INTERNAL", kind: "internal", message });
}
