/** What every metadata store says of topics: their limits, and the errors that name them. */
import { invalid, StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";

/** @throws StreamHouseError `INVALID_ARGUMENT` */
export function checkPartitions(partitions: number): void {
  const max = limits.partitionsPerTopicMax;
  if (Number.isInteger(partitions) && partitions >= 1 && partitions <= max) return;
  throw invalid(
    "INVALID_ARGUMENT",
    `${partitions} partitions are not possible: use a whole number from 1 to ${max}`,
    { field: "partitions" },
  );
}

/** @throws StreamHouseError `INVALID_ARGUMENT` */
export function checkRetention(retentionMs: number): void {
  if (Number.isSafeInteger(retentionMs) && retentionMs >= 0) return;
  throw invalid(
    "INVALID_ARGUMENT",
    `retention of ${retentionMs} ms is not possible: use a whole number from 0 (for ever) on`,
    { field: "retentionMs" },
  );
}

export function topicExists(name: string): StreamHouseError {
  return new StreamHouseError({
    code: "TOPIC_EXISTS",
    kind: "conflict",
    message: `topic ${name} exists already: choose another name, or delete it first`,
    field: "name",
  });
}

export function tooManyTopics(): StreamHouseError {
  return invalid(
    "INVALID_ARGUMENT",
    `there are ${limits.topicsMax} topics, which is the limit: delete one, or put more into partitions or keys`,
  );
}

export function topicNotFound(name: string): StreamHouseError {
  return invalid(
    "TOPIC_NOT_FOUND",
    `topic ${JSON.stringify(name.slice(0, limits.topicNameCharactersMax))} does not exist: create it, or look at the list of topics`,
    { field: "name" },
  );
}

export function partitionsCannotFall(name: string, from: number, to: number): StreamHouseError {
  return invalid(
    "INVALID_ARGUMENT",
    `topic ${name} has ${from} partitions, ${to} were asked for: the number can only rise`,
    { field: "partitions" },
  );
}
