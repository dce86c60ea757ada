/**
 * What the chunk files of a folder hold, without metadata: complete chunks, torn tails, damage between. Reads one file at a
 * time (they are rolled at 64 MiB). It changes nothing. Called by tests after a kill, later by recovery.
 */
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import type { DecodedChunk } from "../format/chunk.ts";
import { type ScanStep, scanChunks } from "../format/chunk-scan.ts";
import { segmentsPrefix } from "../format/keys.ts";
import { createFolderStore } from "./folder.ts";

export interface ScannedSegment {
  readonly key: string;
  readonly size: number;
  /** Complete, checksums right; positions from the file's start. */
  readonly chunks: readonly DecodedChunk[];
  /** Where nothing complete follows any more: the rest of a write that was cut off. Harmless unless it was committed. */
  readonly torn: Extract<ScanStep, { kind: "torn" }> | undefined;
  /** Bytes that are no chunk, with more after them. */
  readonly corrupt: readonly Extract<ScanStep, { kind: "corrupt" }>[];
}

/** In key order, that is by day, run and flush sequence. @throws StreamHouseError as the folder store's `get` */
export async function* scanFolder(dir: string): AsyncGenerator<ScannedSegment, void, undefined> {
  const store = createFolderStore(dir);
  for await (const { key, size } of store.list(segmentsPrefix(""))) {
    const chunks: DecodedChunk[] = [];
    const corrupt: Extract<ScanStep, { kind: "corrupt" }>[] = [];
    let torn: ScannedSegment["torn"];
    for (const step of scanChunks(await store.get(key))) {
      if (step.kind === "chunk") chunks.push(step.chunk);
      else if (step.kind === "torn") torn = step;
      else corrupt.push(step);
    }
    yield { key, size, chunks, torn, corrupt };
  }
  await store.close();
}

/** Offsets of a partition that no chunk holds, `from` inclusive, `to` exclusive. */
export interface OffsetGap extends TopicPartition {
  readonly from: number;
  readonly to: number;
}

/**
 * Gaps between what the chunks hold of each partition. Chunks count by (lease epoch, flush sequence), and a later one cuts off
 * what an earlier one holds beyond its base offset: that was never committed.
 */
export function offsetGaps(chunks: Iterable<DecodedChunk>): OffsetGap[] {
  const shares = [...chunks].flatMap((chunk) =>
    chunk.entries.map((entry) => ({ ...entry, flushSequence: chunk.flushSequence })),
  );
  shares.sort((a, b) => a.epoch - b.epoch || a.flushSequence - b.flushSequence);
  const ends = new Map<string, number>();
  let gaps: OffsetGap[] = [];
  for (const { topicId, partition, baseOffset, recordCount } of shares) {
    const key = partitionKey(topicId, partition);
    const end = ends.get(key);
    if (end !== undefined && baseOffset < end) {
      // A gap beyond the cut was one in what is cut off.
      gaps = gaps.filter(
        (gap) => gap.topicId !== topicId || gap.partition !== partition || gap.to < baseOffset,
      );
    }
    if (end !== undefined && baseOffset > end) {
      gaps.push({ topicId, partition, from: end, to: baseOffset });
    }
    ends.set(key, baseOffset + recordCount);
  }
  return gaps;
}
