/**
 * What the index keeps of a merged segment. Each agent holds the index of the whole log in memory, so small shares that were appended
 * close together become one piece. Pure. Called by the merger; the bound on a piece's time is also retention's.
 */
import type { ChunkIndexEntry } from "../format/chunk.ts";

/** Longer than this no piece grows: about what one read brings anyway. */
const PIECE_BYTES_MAX = 262_144;

/**
 * Time that the shares of one piece may lie apart, ms: a second, or a hundredth of their age where that is more. So lag, which counts
 * from the oldest record of a piece, is never too young, and too old by a second or one percent at most.
 */
const PIECE_MS = 1_000;
const AGE_SHARE = 0.01;

/** A piece's newest record is at most so much younger than its oldest, ms. */
export const PIECE_MS_MAX = 60_000;

/**
 * Joins neighbouring shares into pieces. `shares`: whole shares of one partition in offset order, contiguous, positions counted from
 * the segment's start. A piece's append time is its oldest share's.
 */
export function joinPieces(shares: readonly ChunkIndexEntry[], nowMs: number): ChunkIndexEntry[] {
  const pieces: ChunkIndexEntry[] = [];
  let newestMs = 0;
  for (const share of shares) {
    const piece = pieces.at(-1);
    if (piece !== undefined && mayJoin(piece, newestMs, share, nowMs)) {
      pieces[pieces.length - 1] = {
        ...piece,
        length: piece.length + share.length,
        recordCount: piece.recordCount + share.recordCount,
        minTimestamp: Math.min(piece.minTimestamp, share.minTimestamp),
        maxTimestamp: Math.max(piece.maxTimestamp, share.maxTimestamp),
      };
    } else pieces.push(share);
    newestMs = share.appendTimeMs;
  }
  return pieces;
}

/** Where the clock went back a new piece begins: within one, append times only rise. */
function mayJoin(
  piece: ChunkIndexEntry,
  newestMs: number,
  share: ChunkIndexEntry,
  nowMs: number,
): boolean {
  const { appendTimeMs } = share;
  if (piece.length + share.length > PIECE_BYTES_MAX || appendTimeMs < newestMs) return false;
  const apartMs = Math.max(PIECE_MS, (nowMs - appendTimeMs) * AGE_SHARE);
  return appendTimeMs - piece.appendTimeMs <= Math.min(apartMs, PIECE_MS_MAX);
}
