/**
 * Walks the chunks of a segment forward and says where they end. Called by recovery at start-up,
 * with the bytes of one segment (a folder's file is rolled at 64 MiB). Must never take bytes inside
 * a record for a chunk: a value can hold anything, also somebody's copy of a segment.
 */
import { type BrokenChunk, type DecodedChunk, readChunk } from "./chunk.ts";
import { CHUNK_MAGIC } from "./chunk-header.ts";

/**
 * Chunk-like headers that are looked at behind a damaged one: records made to look like chunks cost
 * no more.
 */
const CANDIDATES_MAX = 100;

/**
 * What stands at a position:
 * `chunk` a complete chunk with right checksums ·
 * `torn` from here to the end nothing is a complete chunk: the rest of a write that was cut off (to
 * be ignored, unless metadata says that bytes from here on were committed: then they are damaged) ·
 * `corrupt` damaged bytes with a complete chunk after them. Where the damaged chunk's header is
 * sound the scan goes on at `next`, its end; where it is not, `next` is only where a complete chunk
 * *may* begin, and the scan stops: go on with
 * `scanChunks(bytes, next)` if metadata knows a chunk there.
 */
export type ScanStep =
  | { readonly kind: "chunk"; readonly position: number; readonly chunk: DecodedChunk }
  | { readonly kind: "torn"; readonly position: number; readonly reason: string }
  | {
      readonly kind: "corrupt";
      readonly position: number;
      readonly reason: string;
      readonly next: number;
      /** Whether `next` comes from a sound header. */
      readonly sound: boolean;
    };

/** Scans from `from` (a chunk's first byte) to the end. Yields nothing for no bytes. */
export function* scanChunks(bytes: Uint8Array, from = 0): Generator<ScanStep, void, undefined> {
  let position = from;
  while (position < bytes.length) {
    const found = readChunk(bytes, position);
    if (!("problem" in found)) {
      yield { kind: "chunk", position, chunk: found };
      position += found.length;
      continue;
    }
    const step = brokenStep(bytes, position, found);
    yield step;
    if (step.kind === "torn" || !step.sound) return;
    position = step.next;
  }
}

function brokenStep(
  bytes: Uint8Array,
  position: number,
  broken: BrokenChunk,
): Exclude<ScanStep, { kind: "chunk" }> {
  const { reason, totalBytes } = broken;
  if (totalBytes !== undefined) {
    const next = position + totalBytes;
    // At the very end it is as good as cut off: nothing after it was ever written.
    if (next < bytes.length) return { kind: "corrupt", position, reason, next, sound: true };
    return { kind: "torn", position, reason };
  }
  const next = broken.problem === "damaged" ? findChunk(bytes, position + 1) : undefined;
  if (next === undefined) return { kind: "torn", position, reason };
  return { kind: "corrupt", position, reason, next, sound: false };
}

/** First position at or after `from` where a complete chunk stands. */
function findChunk(bytes: Uint8Array, from: number): number | undefined {
  const first = CHUNK_MAGIC[0] as number;
  let candidates = 0;
  for (let at = bytes.indexOf(first, from); at !== -1; at = bytes.indexOf(first, at + 1)) {
    const found = readChunk(bytes, at);
    if (!("problem" in found)) return at;
    if (found.totalBytes !== undefined && ++candidates === CANDIDATES_MAX) return undefined;
  }
  return undefined;
}
