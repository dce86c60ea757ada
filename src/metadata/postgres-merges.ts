/** Merged segments, and keys that were given up, in PostgreSQL. Part of `createPostgresMetadata`. */
import { StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import { decodeIndex, encodeIndex } from "../format/chunk-index.ts";
import { checkSegment, mergeDefect } from "./merge-rules.ts";
import type { CommittedMerge, MergedSegment, MergeOutcome } from "./merge-store.ts";
import type { MetadataStore } from "./metadata-store.ts";
import { DEFECT, SWEPT, sqlState } from "./postgres-errors.ts";
import { arrayOf } from "./postgres-lane.ts";
import { canExist, partitionOf } from "./postgres-partitions.ts";
import type { PostgresPool } from "./postgres-pool.ts";
import { bytesOf, numberOf, type SqlRow, textOf } from "./sql-rows.ts";
import { drawIdentity, identityText } from "./store-identity.ts";

type MergeTable = Pick<
  MetadataStore,
  | "commitMerge"
  | "listMerges"
  | "listDoomed"
  | "forgetDoomed"
  | "sweepKeys"
  | "forgetSwept"
  | "identity"
>;

export const MERGE_COLUMNS =
  "merge_id, topic_id, partition, base_offset, end_offset, object_key, position, length, entries";

/** Commits wait while keys are swept: so many at a time. */
const SWEPT_AT_ONCE_MAX = 500;

export function createMergeStore(pool: PostgresPool, random: RandomBytes): MergeTable {
  return {
    async identity() {
      const [row = {}] = await pool.run(
        // Asked again it answers the same.
        { doing: "telling the database's identity", reads: true },
        "INSERT INTO counters AS c (name, value) VALUES ('identity', $1) " +
          "ON CONFLICT (name) DO UPDATE SET value = c.value RETURNING value",
        drawIdentity(random),
      );
      return identityText(numberOf(row, "value"));
    },
    async commitMerge(runId, segment) {
      checkSegment(segment);
      return commitMerge(pool, runId, segment);
    },
    async listMerges(afterMergeId, limit) {
      const rows = await pool.run(
        { doing: "listing merges", reads: true },
        `SELECT ${MERGE_COLUMNS} FROM merges WHERE merge_id > $1 ORDER BY merge_id LIMIT $2`,
        afterMergeId,
        limit,
      );
      return rows.map(mergeOf);
    },
    async listDoomed(olderThanMs, limit) {
      const rows = await pool.run(
        { doing: "listing doomed objects", reads: true },
        "SELECT d.object_key FROM doomed d WHERE d.doomed_at_ms <= (SELECT now_ms()) - $1::int8 " +
          "AND NOT EXISTS (SELECT 1 FROM flushes f WHERE f.object_key = d.object_key) " +
          "ORDER BY d.doomed_at_ms, d.object_key LIMIT $2",
        olderThanMs,
        limit,
      );
      return rows.map((row) => textOf(row, "object_key"));
    },
    async forgetDoomed(keys) {
      const sql = "DELETE FROM doomed WHERE object_key = ANY ($1::text[])";
      await pool.run({ doing: "forgetting doomed objects" }, sql, arrayOf(keys));
    },
    sweepKeys: (keys) => sweepKeys(pool, keys),
    async forgetSwept(olderThanMs) {
      const [row = {}] = await pool.run(
        { doing: "forgetting swept keys" },
        "WITH gone AS (DELETE FROM swept WHERE swept_at_ms < (SELECT now_ms()) - $1::int8 RETURNING true) " +
          "SELECT count(*) AS forgotten FROM gone",
        olderThanMs,
      );
      return numberOf(row, "forgotten");
    },
  };
}

async function sweepKeys(pool: PostgresPool, keys: readonly string[]): Promise<string[]> {
  const swept = new Set<string>();
  for (let at = 0; at < keys.length; at += SWEPT_AT_ONCE_MAX) {
    const rows = await pool.run(
      { doing: "sweeping keys" },
      "SELECT sweep_keys($1::text[]) AS key",
      arrayOf(keys.slice(at, at + SWEPT_AT_ONCE_MAX)),
    );
    for (const row of rows) swept.add(textOf(row, "key"));
  }
  return keys.filter((key) => swept.has(key));
}

async function commitMerge(
  pool: PostgresPool,
  runId: string,
  segment: MergedSegment,
): Promise<MergeOutcome> {
  const { topicId, partition, baseOffset, endOffset, location, entries } = segment;
  if (!canExist(segment)) return "stale";
  try {
    const [row = {}] = await pool.run(
      { doing: "committing a merge" },
      "SELECT commit_merge($1, $2::uuid, $3, $4, $5, $6, $7, $8, $9, $10::int8[]) AS outcome",
      runId,
      topicId,
      partition,
      baseOffset,
      endOffset,
      location.key,
      location.position,
      location.length,
      encodeIndex(entries),
      arrayOf([...new Set(entries.map((it) => it.epoch))]),
    );
    return textOf(row, "outcome") as MergeOutcome;
  } catch (error) {
    const cause = StreamHouseError.is(error) ? error.cause : error;
    if (sqlState(cause) === SWEPT) return "swept";
    if (sqlState(cause) === DEFECT) throw mergeDefect(segment, (cause as Error).message);
    throw error;
  }
}

export function mergeOf(row: SqlRow): CommittedMerge {
  return {
    mergeId: numberOf(row, "merge_id"),
    ...partitionOf(row),
    baseOffset: numberOf(row, "base_offset"),
    endOffset: numberOf(row, "end_offset"),
    location: {
      key: textOf(row, "object_key"),
      position: numberOf(row, "position"),
      length: numberOf(row, "length"),
    },
    entries: decodeIndex(bytesOf(row, "entries")),
  };
}
