/**
 * A chunk is one flush of one agent run, self-describing and scannable forward. Layout: see `encodeChunk`. Written
 * by the agent's flusher, read by recovery; a share's batches are read by (location, entry) alone.
 */

/** Where a chunk lies: an object (or file) of the store, the first byte, and how many. */
export interface ChunkLocation {
  readonly key: string;
  readonly position: number;
  readonly length: number;
}

/** One partition's share of a chunk: what the chunk's own index and the metadata's packed index blob both hold. */
export interface ChunkIndexEntry {
  readonly topicId: string;
  readonly partition: number;
  /** Lease epoch under which it was written. */
  readonly epoch: number;
  /** First byte of the share, counted from the chunk's start. */
  readonly position: number;
  readonly length: number;
  readonly baseOffset: number;
  readonly recordCount: number;
  /**
   * Smallest base timestamp (a batch's first record) and largest maximum timestamp of the share's batch
   * headers, ms since 1970. Records are never decoded for it.
   */
  readonly minTimestamp: number;
  readonly maxTimestamp: number;
  /** When the flush was sealed, ms since 1970 by the agent's clock. */
  readonly appendTimeMs: number;
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

/** @throws StreamHouseError `INTERNAL` if a share's batches are not contiguous from its base offset */
export function encodeChunk(input: ChunkInput): EncodedChunk {
  throw new Error(`not yet: ${input.runId}`);
}

/**
 * Decodes and verifies the chunk at `at`.
 * @throws StreamHouseError `CORRUPT_SEGMENT` naming the position
 */
export function decodeChunk(bytes: Uint8Array, at = 0): DecodedChunk {
  throw new Error(`not yet: ${bytes.length} ${at}`);
}
