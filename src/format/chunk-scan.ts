/** Walks the chunks of a segment forward and says where they end. Called by recovery at start-up. */
import type { DecodedChunk } from "./chunk.ts";

/**
 * What stands at a position:
 * `chunk` a complete chunk with right checksums ·
 * `torn` from here to the end nothing is a complete chunk: the rest of a write that was cut off (to be ignored, unless metadata
 * says that bytes from here on were committed: then they are damaged) ·
 * `corrupt` damaged bytes with a complete chunk after them, at `next`.
 */
export type ScanStep =
  | { readonly kind: "chunk"; readonly position: number; readonly chunk: DecodedChunk }
  | { readonly kind: "torn"; readonly position: number; readonly reason: string }
  | {
      readonly kind: "corrupt";
      readonly position: number;
      readonly reason: string;
      readonly next: number;
    };

/** Scans from `from` (a chunk's first byte) to the end. */
export function* scanChunks(bytes: Uint8Array, from = 0): Generator<ScanStep, void, undefined> {
  yield { kind: "torn", position: from, reason: `not yet: ${bytes.length}` };
}
