/** The consistent cut that lag is computed from, in SQLite. Part of `createSqliteMetadata`. */
import type { LagRow, MetadataStore } from "./metadata-store.ts";
import { numberOf, type SqliteDatabase, type SqlRow, textOf } from "./sqlite-database.ts";

/** What was committed, by members dead or alive, and what live members have and never committed. */
const SQL = `
  SELECT o.group_name, o.topic_id, t.name, o.partition, p.next_offset, p.log_start,
    o.committed_offset, o.committed_at_ms
  FROM offsets o
  JOIN topics t ON t.topic_id = o.topic_id
  JOIN partitions p ON p.topic_id = o.topic_id AND p.partition = o.partition
  WHERE (? = '' OR o.group_name = ?)
  UNION ALL
  SELECT a.group_name, a.topic_id, t.name, a.partition, p.next_offset, p.log_start, -1, 0
  FROM assignments a
  JOIN members m ON m.group_name = a.group_name AND m.member_id = a.member_id
    AND m.expires_at_ms > ?
  JOIN topics t ON t.topic_id = a.topic_id
  JOIN partitions p ON p.topic_id = a.topic_id AND p.partition = a.partition
  WHERE (? = '' OR a.group_name = ?) AND NOT EXISTS (
    SELECT 1 FROM offsets o WHERE o.group_name = a.group_name
      AND o.topic_id = a.topic_id AND o.partition = a.partition)
  ORDER BY 1, 3, 4`;

export function createLagStore(db: SqliteDatabase): Pick<MetadataStore, "lagSnapshot"> {
  return {
    async lagSnapshot(group = "") {
      return db.read("taking the lag snapshot", (nowMs) => ({
        asOfMs: nowMs,
        rows: db.all(SQL, group, group, nowMs, group, group).map(lagRowOf),
      }));
    },
  };
}

function lagRowOf(row: SqlRow): LagRow {
  return {
    group: textOf(row, "group_name"),
    topicId: textOf(row, "topic_id"),
    topic: textOf(row, "name"),
    partition: numberOf(row, "partition"),
    nextOffset: numberOf(row, "next_offset"),
    logStartOffset: numberOf(row, "log_start"),
    committedOffset: numberOf(row, "committed_offset"),
    committedAtMs: numberOf(row, "committed_at_ms"),
  };
}
