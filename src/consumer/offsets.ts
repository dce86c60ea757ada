/** Where reading begins and ends: committed offsets, and offsets by position or time, asked of the agents. */
import { StreamHouseError } from "../core/errors.ts";
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import { fromErrorDetail } from "../rpc/status.ts";
import { askAny, type CallComponents, type Persistence } from "./calls.ts";
import type { OffsetReset } from "./options.ts";

/** `timestamp_ms` of ListOffsets for the two ends of the log. */
export const LATEST = -1;
export const EARLIEST = -2;

/** Offsets by partition key. @throws StreamHouseError of the first partition that has none */
export async function listOffsets(
  parts: CallComponents,
  partitions: readonly TopicPartition[],
  timestampMs: number,
  persistence: Persistence = {},
): Promise<Map<string, number>> {
  const asked = partitions.map(({ topicId, partition }) => ({ topicId, partition, timestampMs }));
  const answer = await askAny(
    parts,
    ({ api }, call) => api.listOffsets({ partitions: asked }, call),
    persistence,
  );
  const found = new Map<string, number>();
  for (const it of answer.offsets) {
    if (it.error !== undefined) throw fromErrorDetail(it.error);
    found.set(partitionKey(it.topicId, it.partition), it.offset);
  }
  return found;
}

/** Committed offsets of a group by partition key; partitions without one are left out. */
export async function committedOffsets(
  parts: CallComponents,
  group: string,
  partitions: readonly TopicPartition[],
  persistence: Persistence = {},
): Promise<Map<string, number>> {
  const asked = partitions.map(({ topicId, partition }) => ({ topicId, partition }));
  const answer = await askAny(
    parts,
    ({ api }, call) => api.fetchOffsets({ group, partitions: asked }, call),
    persistence,
  );
  return new Map(answer.offsets.map((it) => [partitionKey(it.topicId, it.partition), it.offset]));
}

export interface StartRule {
  readonly group: string | undefined;
  readonly offsetReset: OffsetReset;
  readonly startOffset: number | undefined;
}

/** A partition to begin in, and (by manual assignment) where. */
export interface Beginning extends TopicPartition {
  readonly topic: string;
  readonly offset?: number | undefined;
}

export interface Start {
  readonly offset: number;
  /** -1 for none. */
  readonly committed: number;
}

/**
 * Where to begin in each partition: the offset given for it, or its committed offset, or what `offsetReset` says.
 * @throws StreamHouseError `OFFSET_OUT_OF_RANGE` with `offsetReset: "error"` and no committed offset
 */
export async function startOffsets(
  parts: CallComponents,
  rule: StartRule,
  partitions: readonly Beginning[],
): Promise<Map<string, Start>> {
  const starts = new Map<string, Start>();
  if (partitions.length === 0) return starts;
  const { group, offsetReset, startOffset } = rule;
  const committed =
    group === undefined ? new Map() : await committedOffsets(parts, group, partitions);
  const open: Beginning[] = [];
  for (const it of partitions) {
    const key = partitionKey(it.topicId, it.partition);
    const offset: number | undefined = committed.get(key);
    const begin = it.offset ?? offset ?? startOffset;
    if (begin === undefined) open.push(it);
    else starts.set(key, { offset: begin, committed: offset ?? -1 });
  }
  if (open.length === 0) return starts;
  if (offsetReset === "error") throw noOffset(open[0], group);
  const ends = await listOffsets(parts, open, offsetReset === "latest" ? LATEST : EARLIEST);
  for (const [key, offset] of ends) starts.set(key, { offset, committed: -1 });
  return starts;
}

function noOffset(partition: Beginning | undefined, group: string | undefined): StreamHouseError {
  return new StreamHouseError({
    code: "OFFSET_OUT_OF_RANGE",
    kind: "invalid",
    message:
      `${group === undefined ? "there is no" : `group ${group} has no committed`} offset of ` +
      `${partition?.topic}/${partition?.partition} to begin at, and offsetReset is "error": ` +
      'commit or seek first, or use offsetReset "earliest" or "latest"',
  });
}
