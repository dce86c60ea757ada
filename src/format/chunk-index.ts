/**
 * The packed index of a chunk: about 24 bytes a partition. The chunk carries it, and the metadata store keeps the same
 * blob with the flush.
 */
import type { ChunkIndexEntry } from "./chunk.ts";

/** Packs entries in the order given (grouping by topic makes it short). */
export function encodeIndex(entries: readonly ChunkIndexEntry[]): Uint8Array {
  throw new Error(`not yet: ${entries.length}`);
}

/** @throws StreamHouseError `CORRUPT_SEGMENT` */
export function decodeIndex(bytes: Uint8Array): ChunkIndexEntry[] {
  throw new Error(`not yet: ${bytes.length}`);
}
