/** Where reading begins and ends: committed offsets, and offsets by position or time, asked of the agents. */
import { StreamHouseError } from "../core/errors.ts";
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import { fromErrorDetail } from "../rpc/status.ts";
import { askAny, type CallComponents, type Persistence } from "./calls.ts";
import type { OffsetReset, StartOffsets } from "./options.ts";
import { nameOf, ownOffsets } from "./own-offsets.ts";

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
  /** Asked first. */
  readonly startOffsets?: StartOffsets | undefined;
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
  /** Set if there is no offset to begin at, by the rule `error`: the offset is then that of the log's start. */
  readonly failure?: StreamHouseError | undefined;
}

/**
 * Where to begin in each partition: the offset given for it, or the application's own, or its committed offset, or what the rule says.
 */
export async function startOffsets(
  parts: CallComponents,
  rule: StartRule,
  partitions: readonly Beginning[],
  persistence: Persistence = {},
): Promise<Map<string, Start>> {
  const starts = new Map<string, Start>();
  if (partitions.length === 0) return starts;
  const { group, offsetReset, startOffset } = rule;
  const committed =
    group === undefined ? new Map() : await committedOffsets(parts, group, partitions, persistence);
  const own = await applications(parts, rule, partitions, persistence);
  const open: Beginning[] = [];
  for (const it of partitions) {
    const key = partitionKey(it.topicId, it.partition);
    const offset: number | undefined = committed.get(key);
    const begin = it.offset ?? own.get(nameOf(it)) ?? offset ?? startOffset;
    if (begin === undefined) open.push(it);
    else starts.set(key, { offset: begin, committed: offset ?? -1 });
  }
  if (open.length === 0) return starts;
  const end = offsetReset === "latest" ? LATEST : EARLIEST;
  const ends = await listOffsets(parts, open, end, persistence);
  const tops =
    offsetReset === "error" ? await listOffsets(parts, open, LATEST, persistence) : undefined;
  for (const it of open) {
    const key = partitionKey(it.topicId, it.partition);
    const offset = ends.get(key);
    if (offset === undefined) continue;
    const failure = tops && nowhereToBegin(it, group, offset, tops.get(key) ?? offset);
    starts.set(key, { offset, committed: -1, failure });
  }
  return starts;
}

/** Last, so that nothing of ours stands between the application's answer and the first fetch. */
async function applications(
  parts: CallComponents,
  { startOffsets: ask }: StartRule,
  partitions: readonly Beginning[],
  { signal }: Persistence,
): Promise<ReadonlyMap<string, number>> {
  const open = partitions.filter((it) => it.offset === undefined);
  if (ask === undefined || open.length === 0) return new Map();
  return ownOffsets(parts, ask, open, signal);
}

function nowhereToBegin(
  { topic, partition }: Beginning,
  group: string | undefined,
  earliest: number,
  latest: number,
): StreamHouseError {
  return new StreamHouseError({
    code: "OFFSET_OUT_OF_RANGE",
    kind: "invalid",
    message:
      `${group === undefined ? "there is no offset" : `group ${group} has no committed offset`} to begin ` +
      `at in ${topic}/${partition}, and offsetReset is "error": seek to one of ${earliest} (the log's start) to ` +
      `${latest} (its end), or use offsetReset "earliest" or "latest"`,
  });
}

/** The offset that was to be read is not there, and `offsetReset` says `error`. */
export function outOfRange(
  where: { readonly name: string; readonly topic: string; readonly partition: number },
  offset: number,
  earliest: number,
  latest: number,
): StreamHouseError {
  return new StreamHouseError({
    code: "OFFSET_OUT_OF_RANGE",
    kind: "invalid",
    message:
      `offset ${offset} of ${where.name} is out of range: the log has ${earliest} to ${latest - 1} now ` +
      `(next is ${latest}); seek to one of them, or use offsetReset "earliest" or "latest"`,
    range:
      offset < earliest
        ? {
            topic: where.topic,
            partition: where.partition,
            firstOffset: offset,
            lastOffset: earliest - 1,
          }
        : undefined,
  });
}
