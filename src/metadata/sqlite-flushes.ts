/** The log's index in SQLite: committed flushes, and trimming those that nobody can read. Part of `createSqliteMetadata`. */
import { StreamHouseError } from "../core/errors.ts";
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import { type ChunkIndexEntry, decodeIndex, encodeIndex } from "../format/chunk-index.ts";
import type { CommittedFlush, FlushCommit, FlushOutcome, MetadataStore } from "./metadata-store.ts";
import { bytesOf, numberOf, type SqlRow, textOf } from "./sql-rows.ts";
import type { SqliteDatabase } from "./sqlite-database.ts";
import { isLive } from "./sqlite-leases.ts";
import { doom, isSwept } from "./sqlite-sweeps.ts";

type FlushStore = Pick<
  MetadataStore,
  "commitFlush" | "resolveFlush" | "listFlushes" | "dropDeadFlushes"
>;

type Refusal = Extract<FlushOutcome, { status: "refused" }>["partitions"][number];

const COLUMNS = "flush_id, run_id, flush_sequence, object_key, position, length, entries";

export function createFlushStore(db: SqliteDatabase): FlushStore {
  return {
    async commitFlush(flush) {
      return db.write("committing a flush", (nowMs) => commitFlush(db, flush, nowMs));
    },
    async resolveFlush(flush) {
      return db.write("resolving a flush", () => {
        // A COMMIT that failed in its sync can have left a complete transaction behind the end of the log, which a restart
        // would bring back. This write takes its place, so that "absent" stays true.
        db.run("UPDATE counters SET value = value + 1 WHERE name = 'resolves'");
        return isCommitted(db, flush) ? "committed" : "absent";
      });
    },
    async listFlushes(afterFlushId, limit) {
      const sql = `SELECT ${COLUMNS} FROM flushes WHERE flush_id > ? ORDER BY flush_id LIMIT ?`;
      return db.read("listing flushes", () => db.all(sql, afterFlushId, limit).map(flushOf));
    },
    async dropDeadFlushes(limit) {
      return db.write("trimming flushes", (nowMs) => dropDeadFlushes(db, limit, nowMs));
    },
  };
}

function commitFlush(db: SqliteDatabase, flush: FlushCommit, nowMs: number): FlushOutcome {
  const { entries, location } = flush;
  const first = entries[0];
  if (first === undefined) throw defect(flush, "it has no entries");
  const refused: Refusal[] = [];
  let problem: string | undefined;
  const live = isLive(db, flush.runId, nowMs);
  for (const entry of entries) {
    const { topicId, partition } = entry;
    const row = db.get(
      "SELECT next_offset, run_id, epoch FROM partitions WHERE topic_id = ? AND partition = ?",
      topicId,
      partition,
    );
    if (row === undefined) {
      refused.push({ topicId, partition, reason: "deleted" });
    } else if (!live || row.run_id !== flush.runId || row.epoch !== entry.epoch) {
      refused.push({ topicId, partition, reason: "fenced" });
    } else if (row.next_offset !== entry.baseOffset) {
      problem ??= `partition ${topicId}/${partition} goes on at offset ${row.next_offset}, not ${entry.baseOffset}`;
    }
  }
  if (refused.length > 0 || problem !== undefined) {
    // An attempt whose answer was lost is not committed again, and not refused either.
    if (isCommitted(db, flush)) return { status: "committed" };
    if (refused.length > 0) return { status: "refused", partitions: refused };
    throw defect(flush, problem ?? "");
  }
  checkOrder(flush);
  if (isSwept(db, location.key)) return { status: "swept" };
  insertFlush(db, flush, location, first);
  for (const { topicId, partition, baseOffset, recordCount } of entries) {
    db.run(
      "UPDATE partitions SET next_offset = ? WHERE topic_id = ? AND partition = ?",
      baseOffset + recordCount,
      topicId,
      partition,
    );
  }
  for (const { topicId, partition, state } of flush.producerStates) {
    db.run(
      "INSERT INTO producer_states (topic_id, partition, state) VALUES (?, ?, ?) " +
        "ON CONFLICT (topic_id, partition) DO UPDATE SET state = excluded.state",
      topicId,
      partition,
      state,
    );
  }
  return { status: "committed" };
}

function insertFlush(
  db: SqliteDatabase,
  flush: FlushCommit,
  location: FlushCommit["location"],
  watched: ChunkIndexEntry,
): void {
  db.run(
    "INSERT INTO flushes (run_id, flush_sequence, object_key, position, length, entries, " +
      "watch_topic_id, watch_partition, watch_end) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    flush.runId,
    flush.flushSequence,
    location.key,
    location.position,
    location.length,
    encodeIndex(flush.entries),
    watched.topicId,
    watched.partition,
    endOf(watched),
  );
}

/** Strictly rising: also no partition twice. */
function checkOrder(flush: FlushCommit): void {
  for (let i = 1; i < flush.entries.length; i++) {
    const [a, b] = [flush.entries[i - 1] as TopicPartition, flush.entries[i] as TopicPartition];
    const rising = a.topicId === b.topicId ? a.partition < b.partition : a.topicId < b.topicId;
    if (!rising) throw defect(flush, `its entries ${i - 1} and ${i} are not in order`);
  }
}

function defect(flush: FlushCommit, why: string): StreamHouseError {
  return new StreamHouseError({
    code: "INTERNAL",
    kind: "internal",
    message: `flush ${flush.flushSequence} of run ${flush.runId} cannot be committed: ${why}; nothing was applied`,
  });
}

function isCommitted(db: SqliteDatabase, flush: FlushCommit): boolean {
  const sql = "SELECT 1 FROM flushes WHERE run_id = ? AND flush_sequence = ?";
  return db.get(sql, flush.runId, flush.flushSequence) !== undefined;
}

function flushOf(row: SqlRow): CommittedFlush {
  return {
    flushId: numberOf(row, "flush_id"),
    runId: textOf(row, "run_id"),
    flushSequence: numberOf(row, "flush_sequence"),
    location: {
      key: textOf(row, "object_key"),
      position: numberOf(row, "position"),
      length: numberOf(row, "length"),
    },
    entries: decodeIndex(bytesOf(row, "entries")),
  };
}

/**
 * Looks only at flushes whose watched partition no longer needs them, at most `limit` of them in a call: each is either dead, or
 * gets another partition to be watched. A partition leaves `trims` when none of its flushes is left to look at.
 */
function dropDeadFlushes(db: SqliteDatabase, limit: number, nowMs: number): CommittedFlush[] {
  const dead: CommittedFlush[] = [];
  const bounds: NeededFrom = new Map();
  let left = limit;
  while (left > 0) {
    const trim = db.get("SELECT topic_id, partition FROM trims LIMIT 1");
    if (trim === undefined) break;
    const partition = { topicId: textOf(trim, "topic_id"), partition: numberOf(trim, "partition") };
    const candidates = unwatched(db, partition, left, bounds);
    for (const flush of candidates) {
      if (rewatch(db, flush, bounds)) continue;
      db.run("DELETE FROM flushes WHERE flush_id = ?", flush.flushId);
      dead.push(flush);
    }
    left -= candidates.length;
    if (left > 0) {
      const sql = "DELETE FROM trims WHERE topic_id = ? AND partition = ?";
      db.run(sql, partition.topicId, partition.partition);
    }
  }
  const keys = new Set(dead.map((it) => it.location.key));
  for (const key of keys) {
    const needed = db.get("SELECT 1 FROM flushes WHERE object_key = ? LIMIT 1", key);
    if (needed === undefined) doom(db, key, nowMs);
  }
  return dead;
}

/** What was looked up in this transaction: flushes with many partitions have the same ones again and again. */
type NeededFrom = Map<string, number | undefined>;

function unwatched(
  db: SqliteDatabase,
  it: TopicPartition,
  limit: number,
  bounds: NeededFrom,
): CommittedFlush[] {
  const neededFrom = neededFromOf(db, it, bounds) ?? Number.MAX_SAFE_INTEGER;
  const sql =
    `SELECT ${COLUMNS} FROM flushes WHERE watch_topic_id = ? AND watch_partition = ? ` +
    "AND watch_end <= ? ORDER BY watch_end LIMIT ?";
  return db.all(sql, it.topicId, it.partition, neededFrom, limit).map(flushOf);
}

/** Finds a partition that still needs the flush. False: there is none. */
function rewatch(db: SqliteDatabase, flush: CommittedFlush, bounds: NeededFrom): boolean {
  for (const entry of flush.entries) {
    const neededFrom = neededFromOf(db, entry, bounds);
    if (neededFrom === undefined || endOf(entry) <= neededFrom) continue;
    db.run(
      "UPDATE flushes SET watch_topic_id = ?, watch_partition = ?, watch_end = ? WHERE flush_id = ?",
      entry.topicId,
      entry.partition,
      endOf(entry),
      flush.flushId,
    );
    return true;
  }
  return false;
}

/**
 * First offset of the partition for which flushes are needed: what is below lies before the log start, or is merged.
 * Undefined: the partition is deleted.
 */
function neededFromOf(
  db: SqliteDatabase,
  it: TopicPartition,
  bounds: NeededFrom,
): number | undefined {
  const key = partitionKey(it.topicId, it.partition);
  const known = bounds.get(key);
  if (known !== undefined || bounds.has(key)) return known;
  const sql =
    "SELECT max(log_start, merged_until) AS needed_from FROM partitions " +
    "WHERE topic_id = ? AND partition = ?";
  const row = db.get(sql, it.topicId, it.partition);
  const neededFrom = row === undefined ? undefined : numberOf(row, "needed_from");
  bounds.set(key, neededFrom);
  return neededFrom;
}

function endOf(entry: ChunkIndexEntry): number {
  return entry.baseOffset + entry.recordCount;
}
