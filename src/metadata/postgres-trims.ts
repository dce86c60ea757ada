/**
 * Forgetting flushes and merges that nobody can read, in PostgreSQL. One agent at a time: each call takes the counter `trimming`
 * first. It locks no partition, so commits go on meanwhile; a partition whose bounds rise is put into `trims` by whoever raises
 * them, with the bound, and leaves it only if it was looked at with that bound. Part of `createPostgresMetadata`.
 */
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import type { CommittedMerge } from "./merge-store.ts";
import type { CommittedFlush, MetadataStore } from "./metadata-store.ts";
import { endOf, FLUSH_COLUMNS, flushOf } from "./postgres-flushes.ts";
import { arrayOf } from "./postgres-lane.ts";
import { MERGE_COLUMNS, mergeOf } from "./postgres-merges.ts";
import { numbersOf, partitionOf, topicsOf } from "./postgres-partitions.ts";
import type { PostgresPool, PostgresTransaction } from "./postgres-pool.ts";
import { numberOf } from "./sql-rows.ts";

type TrimStore = Pick<MetadataStore, "dropDeadFlushes" | "dropDeadMerges">;

export function createTrimStore(pool: PostgresPool): TrimStore {
  return {
    dropDeadFlushes: (limit) =>
      pool.transaction({ doing: "trimming flushes" }, (tx) => dropDeadFlushes(tx, limit)),
    dropDeadMerges: (limit) =>
      pool.transaction({ doing: "trimming merges" }, (tx) => dropDeadMerges(tx, limit)),
  };
}

interface Trim extends TopicPartition {
  /** What ends here or before is not needed for this partition. */
  readonly neededFrom: number;
}

async function begin(tx: PostgresTransaction): Promise<void> {
  await tx.all("UPDATE counters SET value = value + 1 WHERE name = 'trimming'");
}

async function nextTrim(
  tx: PostgresTransaction,
  table: "trims" | "merge_trims",
): Promise<Trim | undefined> {
  const row = await tx.get(`SELECT topic_id, partition, needed_from FROM ${table} LIMIT 1`);
  if (row === undefined) return undefined;
  return { ...partitionOf(row), neededFrom: numberOf(row, "needed_from") };
}

/** Unless the bound rose since: then there is more to look at. False: it is still there. */
async function finish(
  tx: PostgresTransaction,
  table: "trims" | "merge_trims",
  { topicId, partition, neededFrom }: Trim,
): Promise<void> {
  await tx.all(
    `DELETE FROM ${table} WHERE topic_id = $1 AND partition = $2 AND needed_from <= $3`,
    topicId,
    partition,
    neededFrom,
  );
}

/**
 * Looks only at flushes whose watched partition no longer needs them, at most `limit` of them in a call: each is either dead, or
 * gets another partition to be watched.
 */
async function dropDeadFlushes(tx: PostgresTransaction, limit: number): Promise<CommittedFlush[]> {
  await begin(tx);
  const dead: CommittedFlush[] = [];
  let left = limit;
  while (left > 0) {
    const trim = await nextTrim(tx, "trims");
    if (trim === undefined) break;
    const rows = await tx.all(
      `SELECT ${FLUSH_COLUMNS} FROM flushes WHERE watch_topic_id = $1 AND watch_partition = $2 ` +
        "AND watch_end <= $3 ORDER BY watch_end LIMIT $4",
      trim.topicId,
      trim.partition,
      trim.neededFrom,
      left,
    );
    dead.push(...(await sortOut(tx, rows.map(flushOf))));
    left -= rows.length;
    if (left > 0) await finish(tx, "trims", trim);
  }
  if (dead.length > 0) await doomUnused(tx, dead);
  return dead;
}

/** Deletes those that are dead, and answers them; finds for the others a partition that still needs them. */
async function sortOut(
  tx: PostgresTransaction,
  candidates: readonly CommittedFlush[],
): Promise<CommittedFlush[]> {
  if (candidates.length === 0) return [];
  const needed = await neededFrom(tx, candidates);
  const dead: CommittedFlush[] = [];
  const watched: (Trim & { readonly flushId: number })[] = [];
  for (const flush of candidates) {
    const needs = flush.entries.find((it) => {
      const from = needed.get(partitionKey(it.topicId, it.partition));
      return from !== undefined && endOf(it) > from;
    });
    if (needs === undefined) dead.push(flush);
    else watched.push({ ...needs, flushId: flush.flushId, neededFrom: endOf(needs) });
  }
  await tx.all(
    "DELETE FROM flushes WHERE flush_id = ANY ($1::int8[])",
    arrayOf(dead.map((it) => it.flushId)),
  );
  await tx.all(
    "UPDATE flushes f SET watch_topic_id = i.topic_id, watch_partition = i.partition, watch_end = i.ends " +
      "FROM unnest($1::int8[], $2::uuid[], $3::int4[], $4::int8[]) i (flush_id, topic_id, partition, ends) " +
      "WHERE f.flush_id = i.flush_id",
    arrayOf(watched.map((it) => it.flushId)),
    topicsOf(watched),
    numbersOf(watched),
    arrayOf(watched.map((it) => it.neededFrom)),
  );
  return dead;
}

/** First offset of each of their partitions for which flushes are needed; deleted partitions are left out. */
async function neededFrom(
  tx: PostgresTransaction,
  flushes: readonly CommittedFlush[],
): Promise<ReadonlyMap<string, number>> {
  const partitions = new Map<string, TopicPartition>();
  for (const flush of flushes) {
    for (const it of flush.entries) partitions.set(partitionKey(it.topicId, it.partition), it);
  }
  const all = [...partitions.values()];
  const rows = await tx.all(
    "SELECT p.topic_id, p.partition, greatest(p.log_start, p.merged_until) AS needed_from " +
      "FROM unnest($1::uuid[], $2::int4[]) i (topic_id, partition) " +
      "JOIN partitions p ON p.topic_id = i.topic_id AND p.partition = i.partition",
    topicsOf(all),
    numbersOf(all),
  );
  return new Map(
    rows.map((row) => {
      const { topicId, partition } = partitionOf(row);
      return [partitionKey(topicId, partition), numberOf(row, "needed_from")];
    }),
  );
}

async function doomUnused(tx: PostgresTransaction, dead: readonly CommittedFlush[]): Promise<void> {
  await tx.all(
    "INSERT INTO doomed (object_key, doomed_at_ms) SELECT key, (SELECT now_ms()) " +
      "FROM unnest($1::text[]) key WHERE NOT EXISTS (SELECT 1 FROM flushes f WHERE f.object_key = key) " +
      "ON CONFLICT (object_key) DO UPDATE SET doomed_at_ms = excluded.doomed_at_ms",
    arrayOf([...new Set(dead.map((it) => it.location.key))]),
  );
}

async function dropDeadMerges(tx: PostgresTransaction, limit: number): Promise<CommittedMerge[]> {
  await begin(tx);
  const dead: CommittedMerge[] = [];
  while (dead.length < limit) {
    const trim = await nextTrim(tx, "merge_trims");
    if (trim === undefined) break;
    const rows = await tx.all(
      `DELETE FROM merges WHERE merge_id IN (SELECT merge_id FROM merges WHERE topic_id = $1 ` +
        `AND partition = $2 AND end_offset <= $3 ORDER BY end_offset LIMIT $4) RETURNING ${MERGE_COLUMNS}`,
      trim.topicId,
      trim.partition,
      trim.neededFrom,
      limit - dead.length,
    );
    dead.push(...rows.map(mergeOf).sort((a, b) => a.endOffset - b.endOffset));
    if (dead.length < limit) await finish(tx, "merge_trims", trim);
  }
  if (dead.length > 0) {
    // A merge has an object of its own: its key is unique.
    await tx.all(
      "INSERT INTO doomed (object_key, doomed_at_ms) SELECT key, (SELECT now_ms()) FROM unnest($1::text[]) key " +
        "ON CONFLICT (object_key) DO UPDATE SET doomed_at_ms = excluded.doomed_at_ms",
      arrayOf(dead.map((it) => it.location.key)),
    );
  }
  return dead;
}
