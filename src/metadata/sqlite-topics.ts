/** Topics and the bounds of their partitions, in SQLite. Part of `createSqliteMetadata`. */
import { createUuid, type RandomBytes } from "../core/ids.ts";
import { limits } from "../core/limits.ts";
import { checkTopicName, type Topic, type TopicPartition } from "../core/topic.ts";
import type { MetadataStore, PartitionBounds } from "./metadata-store.ts";
import { numberOf, type SqlRow, textOf } from "./sql-rows.ts";
import type { SqliteDatabase } from "./sqlite-database.ts";
import {
  checkPartitions,
  checkRetention,
  partitionsCannotFall,
  tooManyTopics,
  topicExists,
  topicNotFound,
} from "./topic-rules.ts";

type TopicStore = Pick<
  MetadataStore,
  | "createTopic"
  | "alterTopic"
  | "deleteTopic"
  | "listTopics"
  | "partitionBounds"
  | "advanceLogStart"
>;

/** Groups make their targets anew when it has changed. */
const NEW_VERSION = "UPDATE counters SET value = value + 1 WHERE name = 'topics'";

const SELECT_TOPIC = "SELECT topic_id, name, partitions, retention_ms, created_at_ms FROM topics";

export function createTopicStore(db: SqliteDatabase, random: RandomBytes): TopicStore {
  return {
    async createTopic(spec) {
      checkTopicName(spec.name);
      checkPartitions(spec.partitions);
      checkRetention(spec.retentionMs);
      return db.write("creating a topic", (nowMs) => createTopic(db, spec, random, nowMs));
    },
    async alterTopic(name, change) {
      if (change.partitions !== undefined) checkPartitions(change.partitions);
      if (change.retentionMs !== undefined) checkRetention(change.retentionMs);
      return db.write("altering a topic", () => alterTopic(db, name, change));
    },
    async deleteTopic(name) {
      return db.write("deleting a topic", () => deleteTopic(db, name));
    },
    async listTopics() {
      return db.read("listing topics", () => db.all(`${SELECT_TOPIC} ORDER BY name`).map(topicOf));
    },
    async partitionBounds(partitions) {
      return db.read("reading partition bounds", () =>
        partitions.flatMap((it) => boundsOf(db, it) ?? []),
      );
    },
    async advanceLogStart(bounds) {
      db.write("raising log starts", () => {
        for (const it of bounds) advanceLogStart(db, it, it.logStartOffset);
      });
    },
  };
}

function createTopic(
  db: SqliteDatabase,
  spec: Pick<Topic, "name" | "partitions" | "retentionMs">,
  random: RandomBytes,
  nowMs: number,
): Topic {
  if (findTopic(db, spec.name) !== undefined) {
    throw topicExists(spec.name);
  }
  const count = numberOf(db.get("SELECT count(*) AS topics FROM topics") ?? {}, "topics");
  if (count >= limits.topicsMax) {
    throw tooManyTopics();
  }
  const { name, partitions, retentionMs } = spec;
  const topic = { id: createUuid(random), name, partitions, retentionMs, createdAtMs: nowMs };
  db.run(
    "INSERT INTO topics (topic_id, name, partitions, retention_ms, created_at_ms) VALUES (?, ?, ?, ?, ?)",
    topic.id,
    name,
    partitions,
    retentionMs,
    nowMs,
  );
  addPartitions(db, topic.id, 0, partitions);
  db.run(NEW_VERSION);
  return topic;
}

function alterTopic(
  db: SqliteDatabase,
  name: string,
  change: { readonly partitions?: number | undefined; readonly retentionMs?: number | undefined },
): Topic {
  const topic = mustFind(db, name);
  const { partitions = topic.partitions, retentionMs = topic.retentionMs } = change;
  if (partitions < topic.partitions) {
    throw partitionsCannotFall(name, topic.partitions, partitions);
  }
  db.run(
    "UPDATE topics SET partitions = ?, retention_ms = ? WHERE topic_id = ?",
    partitions,
    retentionMs,
    topic.id,
  );
  addPartitions(db, topic.id, topic.partitions, partitions);
  db.run(NEW_VERSION);
  return { ...topic, partitions, retentionMs };
}

function deleteTopic(db: SqliteDatabase, name: string): Topic {
  const topic = mustFind(db, name);
  // Its flushes and merges go when trimming comes by.
  for (const table of ["trims", "merge_trims"]) {
    db.run(
      `INSERT OR IGNORE INTO ${table} (topic_id, partition) SELECT topic_id, partition FROM partitions WHERE topic_id = ?`,
      topic.id,
    );
  }
  for (const table of ["partitions", "producer_states", "assignments", "offsets", "topics"]) {
    db.run(`DELETE FROM ${table} WHERE topic_id = ?`, topic.id);
  }
  db.run(NEW_VERSION);
  return topic;
}

function addPartitions(db: SqliteDatabase, topicId: string, from: number, to: number): void {
  for (let partition = from; partition < to; partition++) {
    db.run(
      "INSERT INTO partitions (topic_id, partition, next_offset, log_start, run_id, epoch) VALUES (?, ?, 0, 0, NULL, 0)",
      topicId,
      partition,
    );
  }
}

function advanceLogStart(db: SqliteDatabase, partition: TopicPartition, wanted: number): void {
  const bounds = boundsOf(db, partition);
  if (bounds === undefined) return;
  const logStart = Math.min(wanted, bounds.nextOffset);
  if (!(logStart > bounds.logStartOffset)) return;
  const { topicId } = partition;
  db.run(
    "UPDATE partitions SET log_start = ? WHERE topic_id = ? AND partition = ?",
    logStart,
    topicId,
    partition.partition,
  );
  for (const table of ["trims", "merge_trims"]) {
    db.run(
      `INSERT OR IGNORE INTO ${table} (topic_id, partition) VALUES (?, ?)`,
      topicId,
      partition.partition,
    );
  }
}

function boundsOf(db: SqliteDatabase, it: TopicPartition): PartitionBounds | undefined {
  const row = db.get(
    "SELECT next_offset, log_start FROM partitions WHERE topic_id = ? AND partition = ?",
    it.topicId,
    it.partition,
  );
  if (row === undefined) return undefined;
  return {
    topicId: it.topicId,
    partition: it.partition,
    nextOffset: numberOf(row, "next_offset"),
    logStartOffset: numberOf(row, "log_start"),
  };
}

function findTopic(db: SqliteDatabase, name: string): Topic | undefined {
  const row = db.get(`${SELECT_TOPIC} WHERE name = ?`, name);
  return row === undefined ? undefined : topicOf(row);
}

function mustFind(db: SqliteDatabase, name: string): Topic {
  const topic = findTopic(db, name);
  if (topic !== undefined) return topic;
  throw topicNotFound(name);
}

function topicOf(row: SqlRow): Topic {
  return {
    id: textOf(row, "topic_id"),
    name: textOf(row, "name"),
    partitions: numberOf(row, "partitions"),
    retentionMs: numberOf(row, "retention_ms"),
    createdAtMs: numberOf(row, "created_at_ms"),
  };
}
