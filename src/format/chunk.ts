/**
 * A chunk is one flush of one agent run, self-describing and scannable forward. Layout: see the comment at
 * `encodeChunk` (to be written with the codec).
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
  /** Smallest and largest record timestamp, ms since 1970. */
  readonly minTimestamp: number;
  readonly maxTimestamp: number;
  /** When the flush was sealed, ms since 1970 by the agent's clock. */
  readonly appendTimeMs: number;
}
