/** Merged segments in SQLite. Part of `createSqliteMetadata`. */
import { decodeIndex, encodeIndex } from "../format/chunk-index.ts";
import { checkSegment, mergeDefect } from "./merge-rules.ts";
import type { CommittedMerge, MergedSegment, MergeOutcome } from "./merge-store.ts";
import type { MetadataStore } from "./metadata-store.ts";
import { bytesOf, numberOf, type SqlRow, textOf } from "./sql-rows.ts";
import type { SqliteDatabase } from "./sqlite-database.ts";
import { isLive } from "./sqlite-leases.ts";
import { doom, isSwept } from "./sqlite-sweeps.ts";

type MergeTable = Pick<MetadataStore, "commitMerge" | "listMerges" | "dropDeadMerges">;

const COLUMNS =
  "merge_id, topic_id, partition, base_offset, end_offset, object_key, position, length, entries";

export function createMergeStore(db: SqliteDatabase): MergeTable {
  return {
    async commitMerge(runId, segment) {
      checkSegment(segment);
      return db.write("committing a merge", (nowMs) => commitMerge(db, runId, segment, nowMs));
    },
    async listMerges(afterMergeId, limit) {
      const sql = `SELECT ${COLUMNS} FROM merges WHERE merge_id > ? ORDER BY merge_id LIMIT ?`;
      return db.read("listing merges", () => db.all(sql, afterMergeId, limit).map(mergeOf));
    },
    async dropDeadMerges(limit) {
      return db.write("trimming merges", (nowMs) => dropDeadMerges(db, limit, nowMs));
    },
  };
}

function commitMerge(
  db: SqliteDatabase,
  runId: string,
  segment: MergedSegment,
  nowMs: number,
): MergeOutcome {
  const { topicId, partition, baseOffset, endOffset, entries, location } = segment;
  const known = db.get("SELECT 1 FROM merges WHERE object_key = ?", location.key);
  if (known !== undefined) return "committed";
  const row = db.get(
    "SELECT next_offset, max(log_start, merged_until) AS merged_until, run_id, epoch FROM partitions " +
      "WHERE topic_id = ? AND partition = ?",
    topicId,
    partition,
  );
  if (row === undefined) return "stale";
  const holds = row.run_id === runId && isLive(db, runId, nowMs);
  if (!holds || entries.some((it) => it.epoch !== row.epoch)) return "fenced";
  if (row.merged_until !== baseOffset) return "stale";
  if (endOffset > numberOf(row, "next_offset")) {
    throw mergeDefect(segment, `the partition ends at offset ${row.next_offset}`);
  }
  if (isSwept(db, location.key)) return "swept";
  db.run(
    "INSERT INTO merges (topic_id, partition, base_offset, end_offset, object_key, position, length, entries) " +
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    topicId,
    partition,
    baseOffset,
    endOffset,
    location.key,
    location.position,
    location.length,
    encodeIndex(entries),
  );
  db.run(
    "UPDATE partitions SET merged_until = ? WHERE topic_id = ? AND partition = ?",
    endOffset,
    topicId,
    partition,
  );
  db.run("INSERT OR IGNORE INTO trims (topic_id, partition) VALUES (?, ?)", topicId, partition);
  return "committed";
}

function dropDeadMerges(db: SqliteDatabase, limit: number, nowMs: number): CommittedMerge[] {
  const dead: CommittedMerge[] = [];
  while (dead.length < limit) {
    const trim = db.get("SELECT topic_id, partition FROM merge_trims LIMIT 1");
    if (trim === undefined) break;
    const at = [textOf(trim, "topic_id"), numberOf(trim, "partition")] as const;
    const bounds = db.get(
      "SELECT log_start FROM partitions WHERE topic_id = ? AND partition = ?",
      ...at,
    );
    const logStart = bounds === undefined ? Number.MAX_SAFE_INTEGER : numberOf(bounds, "log_start");
    const sql =
      `SELECT ${COLUMNS} FROM merges WHERE topic_id = ? AND partition = ? AND end_offset <= ? ` +
      "ORDER BY end_offset LIMIT ?";
    const found = db.all(sql, ...at, logStart, limit - dead.length).map(mergeOf);
    for (const merge of found) {
      db.run("DELETE FROM merges WHERE merge_id = ?", merge.mergeId);
      // A merge has an object of its own: its key is unique.
      doom(db, merge.location.key, nowMs);
    }
    dead.push(...found);
    if (dead.length < limit) {
      db.run("DELETE FROM merge_trims WHERE topic_id = ? AND partition = ?", ...at);
    }
  }
  return dead;
}

function mergeOf(row: SqlRow): CommittedMerge {
  return {
    mergeId: numberOf(row, "merge_id"),
    topicId: textOf(row, "topic_id"),
    partition: numberOf(row, "partition"),
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
