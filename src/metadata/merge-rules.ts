/** What every metadata store says of a merge that cannot be one. */
import { StreamHouseError } from "../core/errors.ts";
import type { MergedSegment } from "./merge-store.ts";

/** The entries must be of this partition, and cover it from base to end. */
export function checkSegment(segment: MergedSegment): void {
  let next = segment.baseOffset;
  for (const it of segment.entries) {
    if (it.topicId !== segment.topicId || it.partition !== segment.partition) {
      throw mergeDefect(segment, "it has an entry of another partition");
    }
    if (it.baseOffset !== next || it.recordCount < 1) {
      throw mergeDefect(segment, `an entry begins at offset ${it.baseOffset}, expected ${next}`);
    }
    next += it.recordCount;
  }
  if (next === segment.baseOffset || next !== segment.endOffset) {
    throw mergeDefect(segment, `its entries end at offset ${next}`);
  }
}

export function mergeDefect(segment: MergedSegment, why: string): StreamHouseError {
  const { topicId, partition, baseOffset, endOffset } = segment;
  return new StreamHouseError({
    code: "INTERNAL",
    kind: "internal",
    message:
      `merge of ${topicId}/${partition}, offsets ${baseOffset} to ${endOffset}, cannot be committed: ` +
      `${why}; nothing was applied`,
  });
}
