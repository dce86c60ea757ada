/** Bytes in several parts, as objects are handed to stores, looked at without joining them. Called by stores, sinks and decorators. */
import { crc32c } from "../format/crc32c.ts";

/** Bytes in all. */
export function lengthOf(parts: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const part of parts) bytes += part.length;
  return bytes;
}

/** CRC-32C of the whole. */
export function checksumOf(parts: readonly Uint8Array[]): number {
  let crc = 0;
  for (const part of parts) crc = crc32c(part, crc);
  return crc;
}

/** Whether `bytes` is what the parts make together. */
export function isJoined(parts: readonly Uint8Array[], bytes: Uint8Array): boolean {
  if (bytes.length !== lengthOf(parts)) return false;
  let at = 0;
  for (const part of parts) {
    for (const byte of part) if (bytes[at++] !== byte) return false;
  }
  return true;
}

/** Cuts the parts into groups of `bytes` each (the last may be shorter), without copying. */
export function* groupsOf(
  parts: readonly Uint8Array[],
  bytes: number,
): Generator<readonly Uint8Array[], void, undefined> {
  let group: Uint8Array[] = [];
  let room = bytes;
  for (const part of parts) {
    for (let at = 0; at < part.length; ) {
      const piece = part.subarray(at, at + room);
      group.push(piece);
      at += piece.length;
      room -= piece.length;
      if (room > 0) continue;
      yield group;
      group = [];
      room = bytes;
    }
  }
  if (group.length > 0) yield group;
}
