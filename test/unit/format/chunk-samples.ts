/** What the chunk's tests share: chunks of several topics, and bytes joined. */
import { stampBatch } from "../../../src/format/batch-header.ts";
import { type ChunkInput, type ChunkShare, encodeChunk } from "../../../src/format/chunk.ts";
import { batchOf, NOW, numbered, TOPIC_A, TOPIC_B } from "./samples.ts";

export const RUN = "01J0ZZZZZZZZZZZZZZZZZZZZZZ";

export async function shareOf(
  topicId: string,
  partition: number,
  epoch: number,
  baseOffset: number,
  counts: readonly number[],
): Promise<ChunkShare> {
  const batches: Uint8Array[] = [];
  let offset = baseOffset;
  for (const count of counts) {
    const batch = await batchOf(numbered(count));
    stampBatch(batch, offset, epoch);
    batches.push(batch);
    offset += count;
  }
  return { topicId, partition, epoch, baseOffset, batches };
}

export async function inputOf(flushSequence = 1): Promise<ChunkInput> {
  const shares = [
    await shareOf(TOPIC_A, 0, 3, 1_000, [2, 5]),
    await shareOf(TOPIC_A, 4, 200, 0, [1]),
    await shareOf(TOPIC_B, 1, 1, 2 ** 40, [3]),
  ];
  return { runId: RUN, flushSequence, appendTimeMs: NOW + 50, shares };
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export async function chunkBytes(flushSequence = 1): Promise<Uint8Array> {
  return joined(encodeChunk(await inputOf(flushSequence)).parts);
}
