/** Topics and the bounds of their partitions, in PostgreSQL. Part of `createPostgresMetadata`. */
import { createUuid, type RandomBytes } from "../core/ids.ts";
import { limits } from "../core/limits.ts";
import { checkTopicName, type Topic } from "../core/topic.ts";
import type { MetadataStore } from "./metadata-store.ts";
import { arrayOf } from "./postgres-lane.ts";
import { canExist, numbersOf, partitionOf, topicsOf } from "./postgres-partitions.ts";
import type { PostgresPool, PostgresTransaction } from "./postgres-pool.ts";
import { numberOf, type SqlRow, textOf } from "./sql-rows.ts";
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

const COLUMNS = "topic_id, name, partitions, retention_ms, created_at_ms";

export function createTopicStore(pool: PostgresPool, random: RandomBytes): TopicStore {
  return {
    async createTopic(spec) {
      checkTopicName(spec.name);
      checkPartitions(spec.partitions);
      checkRetention(spec.retentionMs);
      const id = createUuid(random);
      return pool.transaction({ doing: "creating a topic" }, (tx) => createTopic(tx, id, spec));
    },
    async alterTopic(name, change) {
      if (change.partitions !== undefined) checkPartitions(change.partitions);
      if (change.retentionMs !== undefined) checkRetention(change.retentionMs);
      return pool.transaction({ doing: "altering a topic" }, (tx) => alterTopic(tx, name, change));
    },
    async deleteTopic(name) {
      return pool.transaction({ doing: "deleting a topic" }, async (tx) => {
        const topic = await mustFind(tx, name, "FOR UPDATE");
        await tx.all("SELECT delete_topic($1)", topic.id);
        await tx.all(NEW_VERSION);
        return topic;
      });
    },
    async listTopics() {
      const rows = await pool.run(
        { doing: "listing topics", reads: true },
        `SELECT ${COLUMNS} FROM topics ORDER BY name`,
      );
      return rows.map(topicOf);
    },
    async partitionBounds(partitions) {
      const asked = partitions.filter(canExist);
      const rows = await pool.run(
        { doing: "reading partition bounds", reads: true },
        "SELECT p.topic_id, p.partition, p.next_offset, p.log_start " +
          "FROM unnest($1::uuid[], $2::int4[]) WITH ORDINALITY i (topic_id, partition, at) " +
          "JOIN partitions p ON p.topic_id = i.topic_id AND p.partition = i.partition ORDER BY i.at",
        topicsOf(asked),
        numbersOf(asked),
      );
      return rows.map((row) => ({
        ...partitionOf(row),
        nextOffset: numberOf(row, "next_offset"),
        logStartOffset: numberOf(row, "log_start"),
      }));
    },
    async advanceLogStart(bounds) {
      const asked = bounds.filter(canExist);
      await pool.run(
        { doing: "raising log starts" },
        "SELECT advance_log_starts($1::uuid[], $2::int4[], $3::int8[])",
        topicsOf(asked),
        numbersOf(asked),
        arrayOf(asked.map((it) => it.logStartOffset)),
      );
    },
  };
}

async function createTopic(
  tx: PostgresTransaction,
  id: string,
  { name, partitions, retentionMs }: Pick<Topic, "name" | "partitions" | "retentionMs">,
): Promise<Topic> {
  const row = await tx.get(
    `INSERT INTO topics (${COLUMNS}) VALUES ($1, $2, $3, $4, now_ms()) ` +
      `ON CONFLICT (name) DO NOTHING RETURNING ${COLUMNS}`,
    id,
    name,
    partitions,
    retentionMs,
  );
  if (row === undefined) throw topicExists(name);
  const count = await tx.get("SELECT count(*) AS topics FROM topics");
  if (numberOf(count ?? {}, "topics") > limits.topicsMax) throw tooManyTopics();
  await addPartitions(tx, id, 0, partitions);
  await tx.all(NEW_VERSION);
  return topicOf(row);
}

async function alterTopic(
  tx: PostgresTransaction,
  name: string,
  change: { readonly partitions?: number | undefined; readonly retentionMs?: number | undefined },
): Promise<Topic> {
  const topic = await mustFind(tx, name, "FOR NO KEY UPDATE");
  const { partitions = topic.partitions, retentionMs = topic.retentionMs } = change;
  if (partitions < topic.partitions) throw partitionsCannotFall(name, topic.partitions, partitions);
  await tx.all(
    "UPDATE topics SET partitions = $2, retention_ms = $3 WHERE topic_id = $1",
    topic.id,
    partitions,
    retentionMs,
  );
  await addPartitions(tx, topic.id, topic.partitions, partitions);
  await tx.all(NEW_VERSION);
  return { ...topic, partitions, retentionMs };
}

async function addPartitions(
  tx: PostgresTransaction,
  topicId: string,
  from: number,
  to: number,
): Promise<void> {
  await tx.all(
    "INSERT INTO partitions (topic_id, partition, next_offset, log_start, merged_until, run_id, epoch) " +
      "SELECT $1, it, 0, 0, 0, NULL, 0 FROM generate_series($2::int4, $3::int4 - 1) it",
    topicId,
    from,
    to,
  );
}

async function mustFind(
  tx: PostgresTransaction,
  name: string,
  lock: "FOR UPDATE" | "FOR NO KEY UPDATE",
): Promise<Topic> {
  const row = await tx.get(`SELECT ${COLUMNS} FROM topics WHERE name = $1 ${lock}`, name);
  if (row === undefined) throw topicNotFound(name);
  return topicOf(row);
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
