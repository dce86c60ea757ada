/** `streamhouse topic create | list | describe | delete`. */
import type { Admin, TopicDescription } from "../client/admin-api.ts";
import { StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { checkTopicName } from "../core/topic.ts";
import type { Arguments, CommandSpec } from "./arguments.ts";
import type { CliIo } from "./cli-io.ts";
import { agentsOption, withHouse } from "./house-options.ts";
import { textTable } from "./text-table.ts";

const json = { json: { help: "print JSON instead of text" } } as const;

export const topicCreateSpec: CommandSpec = {
  name: "topic create",
  summary: "Create a topic",
  positionals: ["NAME"],
  options: {
    partitions: { value: "N", help: "how many partitions; can be raised later", fallback: "1" },
    "retention-ms": { value: "MS", help: "delete records this old; 0 keeps them", fallback: "0" },
    ...agentsOption,
  },
};

export async function runTopicCreate(args: Arguments, io: CliIo): Promise<number> {
  const name = topicName(args);
  const partitions = args.whole("partitions", 1, limits.partitionsPerTopicMax) ?? 1;
  const retentionMs = args.whole("retention-ms", 0, limits.offsetMax) ?? 0;
  const topic = await withAdmin(args, io, (admin) =>
    admin.createTopic(name, { partitions, retentionMs }),
  );
  const word = topic.partitions === 1 ? "partition" : "partitions";
  await io.stdout.write([`created topic ${topic.name} with ${topic.partitions} ${word}`]);
  return 0;
}

export const topicListSpec: CommandSpec = {
  name: "topic list",
  summary: "List the topics",
  positionals: [],
  options: { ...json, ...agentsOption },
};

export async function runTopicList(args: Arguments, io: CliIo): Promise<number> {
  const topics = await withAdmin(args, io, (admin) => admin.listTopics());
  if (args.has("json")) {
    await io.stdout.write([
      JSON.stringify(
        topics.map(({ name, id, partitions, retentionMs, createdAtMs }) => ({
          name,
          id,
          partitions,
          retentionMs,
          createdAtMs,
        })),
      ),
    ]);
    return 0;
  }
  const rows = topics.map((topic) => [topic.name, topic.partitions]);
  await io.stdout.write(textTable(["TOPIC", "PARTITIONS"], rows));
  return 0;
}

export const topicDescribeSpec: CommandSpec = {
  name: "topic describe",
  summary: "Show a topic and its partitions",
  positionals: ["NAME"],
  options: { ...json, ...agentsOption },
};

export async function runTopicDescribe(args: Arguments, io: CliIo): Promise<number> {
  const name = topicName(args);
  const topic = await withAdmin(args, io, (admin) => admin.describeTopic(name));
  await io.stdout.write(args.has("json") ? [describeJson(topic)] : describeText(topic));
  return 0;
}

export const topicDeleteSpec: CommandSpec = {
  name: "topic delete",
  summary: "Delete a topic and its records",
  positionals: ["NAME"],
  options: agentsOption,
};

export async function runTopicDelete(args: Arguments, io: CliIo): Promise<number> {
  const name = topicName(args);
  await withAdmin(args, io, (admin) => admin.deleteTopic(name));
  await io.stdout.write([`deleted topic ${name}`]);
  return 0;
}

/** The first word as a topic's name: a bad one is a mistake in the arguments and needs no agent to say so. */
export function topicName(args: Arguments): string {
  const name = args.positional(0);
  try {
    checkTopicName(name);
  } catch (error) {
    throw StreamHouseError.is(error) ? args.mistake(error.message) : error;
  }
  return name;
}

function withAdmin<T>(args: Arguments, io: CliIo, ask: (admin: Admin) => Promise<T>): Promise<T> {
  return withHouse(args, io, (house) => ask(house.admin));
}

function describeJson(topic: TopicDescription): string {
  const { name, id, retentionMs, createdAtMs } = topic;
  const partitions = topic.partitionList.map((it) => ({
    partition: it.partition,
    logStartOffset: it.logStartOffset,
    highWatermark: it.highWatermark,
    agent: it.holder?.address ?? null,
    leaseEpoch: it.leaseEpoch,
  }));
  return JSON.stringify({ name, id, retentionMs, createdAtMs, partitions });
}

function describeText(topic: TopicDescription): readonly string[] {
  const kept = topic.retentionMs === 0 ? "for ever" : `for ${topic.retentionMs} ms`;
  const rows = topic.partitionList.map((it) => [
    it.partition,
    it.logStartOffset,
    it.highWatermark,
    it.holder?.address ?? "nobody",
  ]);
  return [
    `topic       ${topic.name}`,
    `id          ${topic.id}`,
    `created     ${new Date(topic.createdAtMs).toISOString()}`,
    `records     kept ${kept}`,
    "",
    ...textTable(["PARTITION", "LOG START", "HIGH WATERMARK", "AGENT"], rows),
  ];
}
