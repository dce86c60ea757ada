/** Topics, partitions, and the rules for their names. */
import { invalid } from "./errors.ts";
import { limits } from "./limits.ts";

/** A topic as the cluster knows it. `id` is a UUID and never reused: a re-created topic is another topic. */
export interface Topic {
  readonly id: string;
  readonly name: string;
  readonly partitions: number;
  /** Records older than this (by append time) are deleted; 0 keeps them for ever. */
  readonly retentionMs: number;
  readonly createdAtMs: number;
}

/** One partition of one topic, by the id that is never reused. */
export interface TopicPartition {
  readonly topicId: string;
  readonly partition: number;
}

/** Key for maps: `topicId/partition`. */
export function partitionKey(topicId: string, partition: number): string {
  return `${topicId}/${partition}`;
}

const NAME = /^[a-zA-Z0-9._-]+$/;

/**
 * Checks a topic or group name by Kafka's rule.
 * @throws StreamHouseError `INVALID_TOPIC_NAME` (field `name`)
 */
export function checkTopicName(name: string): void {
  const ok =
    name.length >= 1 &&
    name.length <= limits.topicNameCharactersMax &&
    name !== "." &&
    name !== ".." &&
    NAME.test(name);
  if (ok) return;
  throw invalid(
    "INVALID_TOPIC_NAME",
    `topic name ${JSON.stringify(name.slice(0, 60))} is not valid: use 1 to ` +
      `${limits.topicNameCharactersMax} of a-z A-Z 0-9 . _ - (and not "." or "..")`,
    { field: "name" },
  );
}

/**
 * Checks a partition number against a topic.
 * @throws StreamHouseError `PARTITION_OUT_OF_RANGE` (field `partition`)
 */
export function checkPartition(topic: Pick<Topic, "name" | "partitions">, partition: number): void {
  if (Number.isInteger(partition) && partition >= 0 && partition < topic.partitions) return;
  throw invalid(
    "PARTITION_OUT_OF_RANGE",
    `partition ${partition} of topic ${topic.name} does not exist: it has partitions 0 to ${topic.partitions - 1}`,
    { field: "partition" },
  );
}
