/**
 * Bodies of S3 requests without copies: what is sent is streamed from the caller's parts, what comes is read into one array of the length
 * that was announced. The AWS SDK takes and gives Node streams on all three runtimes, so this is the one room that touches them.
 * Called by `s3.ts` and `s3-multipart.ts`.
 *
 * Measured with radosgw and 8 MB in 1,000 parts: 10 ms of CPU a PUT when streamed, 19 ms when joined and hashed for the signature.
 */
import { Readable } from "node:stream";
import { StreamHouseError } from "../core/errors.ts";

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

/** As the service's headers have it: the four bytes, big-endian, in base64. */
export function checksumHeader(crc: number): string {
  const bytes = [crc >>> 24, (crc >>> 16) & 255, (crc >>> 8) & 255, crc & 255];
  return btoa(String.fromCharCode(...bytes));
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
