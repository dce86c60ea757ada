/**
 * Bodies of S3 requests without copies: what is sent is streamed from the caller's parts, what comes is read into one array of the length
 * that was announced. The AWS SDK takes and gives Node streams on all three runtimes, so this is the one room that touches them.
 * Called by `s3.ts` and `s3-multipart.ts`.
 *
 * Measured with radosgw and 8 MB in 1,000 parts: 10 ms of CPU a PUT when streamed, 19 ms when joined and hashed for the signature.
 */
import { Readable } from "node:stream";
import { StreamHouseError } from "../core/errors.ts";
import { crc32c } from "../format/crc32c.ts";

/** Smaller parts are joined up to this, so that a write to the socket is worth its while. */
const PIECE_BYTES = 65_536;

/** A stream of the parts for one attempt; an empty array for an empty body, which the SDK sends without a stream. */
export function bodyOf(parts: readonly Uint8Array[]): Readable | Uint8Array {
  if (parts.every((it) => it.length === 0)) return new Uint8Array(0);
  return Readable.from(pieces(parts), { objectMode: false });
}

function* pieces(parts: readonly Uint8Array[]): Generator<Uint8Array, void, undefined> {
  let small: Uint8Array[] = [];
  let bytes = 0;
  for (const part of parts) {
    if (part.length === 0) continue;
    if (bytes > 0 && bytes + part.length > PIECE_BYTES) {
      yield join(small, bytes);
      small = [];
      bytes = 0;
    }
    if (part.length >= PIECE_BYTES) {
      yield part;
      continue;
    }
    small.push(part);
    bytes += part.length;
  }
  if (bytes > 0) yield join(small, bytes);
}

function join(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  if (parts.length === 1) return parts[0] as Uint8Array;
  const joined = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

export function lengthOf(parts: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const part of parts) bytes += part.length;
  return bytes;
}

export function checksumOf(parts: readonly Uint8Array[]): number {
  let crc = 0;
  for (const part of parts) crc = crc32c(part, crc);
  return crc;
}

/** As the service's headers have it: the four bytes, big-endian, in base64. */
export function checksumHeader(crc: number): string {
  const bytes = [crc >>> 24, (crc >>> 16) & 255, (crc >>> 8) & 255, crc & 255];
  return btoa(String.fromCharCode(...bytes));
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

/** An SDK answer's body. Not every runtime reports a connection that ended early as an error, so what came is counted. */
export async function readBody(body: unknown, length: number, key: string): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let at = 0;
  if (body !== undefined) {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      if (at + chunk.length > length) throw wrongLength(key, length, at + chunk.length);
      bytes.set(chunk, at);
      at += chunk.length;
    }
  }
  if (at !== length) throw wrongLength(key, length, at);
  return bytes;
}

function wrongLength(key: string, announced: number, came: number): StreamHouseError {
  return new StreamHouseError({
    code: "STORE_UNAVAILABLE",
    kind: "unavailable",
    message: `get of ${key}: ${announced} bytes were announced and ${came} came: the connection broke; try again`,
  });
}
