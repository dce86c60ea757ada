/** Partitions as the statements take them: columns as arrays. Used by the rooms `postgres-*.ts`. */
import type { TopicPartition } from "../core/topic.ts";
import { arrayOf } from "./postgres-lane.ts";
import { numberOf, type SqlRow, textOf } from "./sql-rows.ts";

/** As we write them. Another spelling of a UUID is another topic, as in every other store. */
const TOPIC_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const PARTITION_MAX = 2 ** 31 - 1;

/** Whether it can exist at all: what cannot be a key is not sent. */
export function canExist({ topicId, partition }: TopicPartition): boolean {
  return (
    TOPIC_ID.test(topicId) &&
    Number.isInteger(partition) &&
    partition >= 0 &&
    partition <= PARTITION_MAX
  );
}

export function isTopicId(text: string): boolean {
  return TOPIC_ID.test(text);
}

export function topicsOf(partitions: readonly TopicPartition[]): string {
  return arrayOf(partitions.map((it) => it.topicId));
}

export function numbersOf(partitions: readonly TopicPartition[]): string {
  return arrayOf(partitions.map((it) => it.partition));
}

export function partitionOf(row: SqlRow): { topicId: string; partition: number } {
  return { topicId: textOf(row, "topic_id"), partition: numberOf(row, "partition") };
}
