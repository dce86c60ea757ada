/** Reads a partition's share of a committed chunk back from the store. */
import { closed } from "../core/errors.ts";
import type { ChunkIndexEntry, ChunkLocation } from "../format/chunk.ts";
import type { ObjectStore } from "./object-store.ts";

export interface ReadShareOptions {
  /** First byte wanted, counted from the share's start; must be a batch's first byte. Default 0. */
  readonly from?: number;
  /** About how many bytes; the answer ends with a whole batch and has at least one. Default: all of the share. */
  readonly maxBytes?: number;
  /** Also checks each batch's CRC-32C. Default false: headers only. */
  readonly verifyCrc?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * The whole record batches of `entry`, as stored.
 * @throws StreamHouseError `CORRUPT_SEGMENT` naming key and position, and what the store's `get` throws
 */
export async function readShare(
  _store: ObjectStore,
  _location: ChunkLocation,
  _entry: ChunkIndexEntry,
  _options: ReadShareOptions = {},
): Promise<Uint8Array> {
  throw closed("segment reader (not written yet)");
}
