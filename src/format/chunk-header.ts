/**
 * The start of a chunk (layout: `chunk.ts`), which says how long it is, whose it is, and under
 * which lease epochs it was written. It has a checksum of its own, so that a scan can trust the
 * length before it has the rest.
 */
import { StreamHouseError } from "../core/errors.ts";
import { readInt64, readUint32, writeInt32, writeInt64 } from "./big-endian.ts";
import { crc32c } from "./crc32c.ts";
import { VarintReader, varintSize, writeVarint } from "./varint.ts";

/** "SHCHUNK" and the version, 1. */
export const CHUNK_MAGIC: Uint8Array = Uint8Array.of(0x53, 0x48, 0x43, 0x48, 0x55, 0x4e, 0x4b, 1);

/** Magic, lengths and numbers; then come run id, epochs and checksum. */
export const CHUNK_FIXED_BYTES = 41;
export const CHUNK_CRC_BYTES = 4;

const RUN_ID_BYTES_MAX = 255;

export interface ChunkHeader {
  /** The whole chunk, from its magic to its last checksum. */
  readonly totalBytes: number;
  readonly headerBytes: number;
  /** First byte of the index, from the chunk's start. */
  readonly indexPosition: number;
  readonly flushSequence: number;
  readonly appendTimeMs: number;
  readonly runId: string;
  /** Lease epochs, one for each share, in the index's order. */
  readonly epochs: readonly number[];
}

/** Bytes that `encodeChunkHeader` will make. */
export function chunkHeaderSize(runId: Uint8Array, epochs: readonly number[]): number {
  let size = CHUNK_FIXED_BYTES + runId.length + CHUNK_CRC_BYTES;
  for (const epoch of epochs) size += varintSize(epoch);
  return size;
}

/** A run id's bytes. @throws StreamHouseError `INTERNAL` if there are none or more than 255 */
export function runIdBytes(runId: string): Uint8Array {
  const bytes = new TextEncoder().encode(runId);
  if (bytes.length > 0 && bytes.length <= RUN_ID_BYTES_MAX) return bytes;
  throw new StreamHouseError({
    code: "INTERNAL",
    kind: "internal",
    message: `run id of ${bytes.length} bytes: a chunk holds 1 to ${RUN_ID_BYTES_MAX}`,
  });
}

export function encodeChunkHeader(
  header: Omit<ChunkHeader, "runId">,
  runId: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(header.headerBytes);
  bytes.set(CHUNK_MAGIC);
  writeInt32(bytes, 8, header.totalBytes);
  writeInt32(bytes, 12, header.headerBytes);
  writeInt32(bytes, 16, header.indexPosition);
  writeInt64(bytes, 20, header.flushSequence);
  writeInt64(bytes, 28, header.appendTimeMs);
  writeInt32(bytes, 36, header.epochs.length);
  bytes[40] = runId.length;
  bytes.set(runId, CHUNK_FIXED_BYTES);
  let at = CHUNK_FIXED_BYTES + runId.length;
  for (const epoch of header.epochs) at = writeVarint(bytes, at, epoch);
  writeInt32(bytes, at, crc32c(bytes.subarray(0, at)));
  return bytes;
}

/** Why bytes are not a chunk. `short`: they may be the start of one. `damaged`: they are not. */
export interface NotAChunk {
  readonly problem: "short" | "damaged";
  readonly reason: string;
}

/** Reads and verifies the header at `at`, and that the whole chunk is there. */
export function readChunkHeader(bytes: Uint8Array, at: number): ChunkHeader | NotAChunk {
  const available = bytes.length - at;
  for (let i = 0; i < Math.min(CHUNK_MAGIC.length, available); i++) {
    if (bytes[at + i] !== CHUNK_MAGIC[i]) return damaged("no chunk of version 1 begins here");
  }
  if (available < CHUNK_FIXED_BYTES) return short("it ends within the header");
  const totalBytes = readUint32(bytes, at + 8);
  const headerBytes = readUint32(bytes, at + 12);
  const indexPosition = readUint32(bytes, at + 16);
  if (available < headerBytes) return short("it ends within the header");
  const runIdAt = at + CHUNK_FIXED_BYTES;
  const runIdEnd = CHUNK_FIXED_BYTES + (bytes[at + 40] as number);
  const crcAt = headerBytes - CHUNK_CRC_BYTES;
  if (crcAt < runIdEnd) return damaged("header length");
  if (crc32c(bytes.subarray(at, at + crcAt)) !== readUint32(bytes, at + crcAt)) {
    return damaged("header checksum");
  }
  if (available < totalBytes) return short(`${available} of its ${totalBytes} bytes are there`);
  const epochs = readEpochs(bytes.subarray(at + runIdEnd, at + crcAt), readUint32(bytes, at + 36));
  if (epochs === undefined) return damaged("lease epochs");
  return {
    totalBytes,
    headerBytes,
    indexPosition,
    flushSequence: readInt64(bytes, at + 20),
    appendTimeMs: readInt64(bytes, at + 28),
    runId: new TextDecoder().decode(bytes.subarray(runIdAt, at + runIdEnd)),
    epochs,
  };
}

/** Undefined unless the bytes are exactly `count` varints. */
function readEpochs(bytes: Uint8Array, count: number): number[] | undefined {
  if (count > bytes.length) return undefined;
  const reader = new VarintReader(bytes);
  const epochs: number[] = [];
  try {
    for (let i = 0; i < count; i++) epochs.push(reader.varint());
  } catch {
    return undefined;
  }
  return reader.position === bytes.length ? epochs : undefined;
}

function short(reason: string): NotAChunk {
  return { problem: "short", reason };
}

function damaged(reason: string): NotAChunk {
  return { problem: "damaged", reason };
}
