/**
 * Whether an object that is there already is the very one that was to be put: the answer to an earlier attempt was lost. Only for keys
 * that nobody else writes. Called by the object sink, and by whoever puts under a key of its own.
 */
import type { ObjectStore } from "./object-store.ts";
import { checksumOf, isJoined, lengthOf } from "./parts.ts";

/** By length and checksum; where the store tells no checksum the object is read and compared. False if there is none. */
export async function holdsExactly(
  store: ObjectStore,
  key: string,
  parts: readonly Uint8Array[],
  signal?: AbortSignal,
): Promise<boolean> {
  const found = await store.head(key, signal);
  if (found?.size !== lengthOf(parts)) return false;
  if (found.crc32c !== undefined) return found.crc32c === checksumOf(parts);
  return isJoined(parts, await store.get(key, undefined, signal));
}
