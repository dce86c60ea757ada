/**
 * `streamhouse group reset`: where a group without members is to go on. It shows what it would do; `--execute` does it. Called by
 * `streamhouse.ts`.
 */
import type { Admin, GroupDescription, PartitionOffset } from "../client/admin-api.ts";
import { invalid, StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { checkPartition, checkTopicName } from "../core/topic.ts";
import { type Arguments, type CommandSpec, quote } from "./arguments.ts";
import type { CliIo } from "./cli-io.ts";
import { agentsOption, withHouse } from "./house-options.ts";
import { groupName } from "./lag.ts";
import {
  parseResetPosition,
  type ResetPartition,
  type ResetPosition,
  type ResetStep,
  resetStep,
} from "./reset-position.ts";
import { textTable } from "./text-table.ts";

export const groupResetSpec: CommandSpec = {
  name: "group reset",
  summary: "Set where a consumer group goes on",
  positionals: ["GROUP"],
  options: {
    to: {
      value: "WHERE",
      help: "earliest, latest, an offset, +N or -N records, a time, or a duration ago",
      required: true,
    },
    topic: { value: "T[,…]", help: "these topics; without it, what the group has committed" },
    partition: { value: "P[,…]", help: "these partitions of the topic only" },
    execute: { help: "do it; without it the plan is shown and nothing is changed" },
    "dry-run": { help: "show the plan only, which is the default" },
    json: { help: "print JSON instead of text" },
    ...agentsOption,
  },
  notes: [
    "A time has a zone: 2026-01-31T08:00:00Z. A duration is ISO 8601: PT1H30M is one and a half hours ago, P2D two days.",
    "Refused while the group has live members. An offset beyond the log becomes the nearest end of it.",
  ],
};

interface Request {
  readonly group: string;
  readonly position: ResetPosition;
  /** Empty: what the group has committed. */
  readonly topics: readonly string[];
  readonly partitions: readonly number[] | undefined;
  readonly execute: boolean;
}

export async function runGroupReset(args: Arguments, io: CliIo): Promise<number> {
  const request = requestOf(args);
  const steps = await withHouse(args, io, async ({ admin }) => {
    const described = await admin.describeGroup(request.group);
    refuseLive(described);
    const steps = await plan(admin, described, request);
    const offsets = steps.map(({ topic, partition, offset }) => ({ topic, partition, offset }));
    // In one piece: all of it is done or nothing, and the agents look for members once more.
    if (request.execute) await admin.alterGroupOffsets(request.group, offsets);
    return steps;
  });
  await io.stdout.write(args.has("json") ? [planJson(request, steps)] : planText(steps));
  if (!request.execute) {
    io.stderr("streamhouse: nothing was changed: add --execute to set these offsets");
  }
  return 0;
}

function requestOf(args: Arguments): Request {
  const group = groupName(args, args.positional(0), "GROUP");
  const to = args.value("to") ?? "";
  const position = parseResetPosition(to, Date.now());
  if (position === undefined) {
    throw args.mistake(
      `--to is ${quote(to)}: use earliest, latest, an offset, +N or -N, a time such as 2026-01-31T08:00:00Z, ` +
        "or a duration such as PT1H",
    );
  }
  const topics = list(args, "topic") ?? [];
  for (const name of topics) checkName(args, name);
  const partitions = list(args, "partition")?.map((text) => partitionOf(args, text));
  if (partitions !== undefined && topics.length !== 1) {
    throw args.mistake("--partition needs one --topic that has the partitions");
  }
  const execute = args.has("execute");
  if (execute && args.has("dry-run")) throw args.mistake("use either --execute or --dry-run");
  return { group, position, topics, partitions, execute };
}

function list(args: Arguments, name: string): readonly string[] | undefined {
  const words = args
    .value(name)
    ?.split(",")
    .map((word) => word.trim());
  return words && [...new Set(words)];
}

function checkName(args: Arguments, name: string): void {
  try {
    checkTopicName(name);
  } catch (error) {
    throw StreamHouseError.is(error) ? args.mistake(`--topic: ${error.message}`) : error;
  }
}

function partitionOf(args: Arguments, text: string): number {
  const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (number < limits.partitionsPerTopicMax) return number;
  const most = limits.partitionsPerTopicMax - 1;
  throw args.mistake(`--partition has ${quote(text)}: use whole numbers from 0 to ${most}`);
}

/** Also before a plan is shown: it would not be what is found when the members are gone. */
function refuseLive({ group, members }: GroupDescription): void {
  if (members.length === 0) return;
  const last = Math.ceil(Math.max(...members.map((it) => it.sessionLeftMs)) / 1_000);
  const who = members.length === 1 ? "a live member" : `${members.length} live members`;
  throw new StreamHouseError({
    code: "GROUP_BUSY",
    kind: "conflict",
    message:
      `group ${group} has ${who}: stop its consumers first ` +
      `(one that was killed is out when its session ends, in at most ${last} s)`,
  });
}

async function plan(
  admin: Admin,
  described: GroupDescription,
  request: Request,
): Promise<readonly ResetStep[]> {
  const { group, position } = request;
  const committed = new Map(
    described.lags
      .filter((it) => it.committedOffset !== undefined)
      .map((it) => [`${it.topic}/${it.partition}`, it.committedOffset]),
  );
  const topics =
    request.topics.length > 0
      ? request.topics
      : [...new Set([...committed.keys()].map((name) => name.split("/")[0] ?? ""))].sort();
  if (topics.length === 0) {
    const message = `group ${group} has committed nothing: name its topics with --topic`;
    throw invalid("INVALID_ARGUMENT", message, { field: "topic" });
  }
  const steps: ResetStep[] = [];
  for (const topic of topics) {
    for (const it of await partitionsOf(admin, topic, request, committed)) {
      const step = resetStep(position, it);
      if (step === undefined) throw nothingToShift(group, it);
      steps.push(step);
    }
  }
  return steps;
}

async function partitionsOf(
  admin: Admin,
  topic: string,
  { position, topics, partitions }: Request,
  committed: ReadonlyMap<string, number | undefined>,
): Promise<readonly ResetPartition[]> {
  const found = await admin.describeTopic(topic);
  for (const partition of partitions ?? []) checkPartition(found, partition);
  const times =
    position.kind === "time" ? await admin.offsets(topic, new Date(position.timeMs)) : [];
  const atTime = new Map(times.map((it: PartitionOffset) => [it.partition, it.offset]));
  return found.partitionList
    .map(({ partition, logStartOffset: earliest, highWatermark: latest }) => ({
      ...{ topic, partition, earliest, latest },
      committed: committed.get(`${topic}/${partition}`),
      atTime: atTime.get(partition),
    }))
    .filter((it) => partitions?.includes(it.partition) ?? true)
    .filter((it) => topics.length > 0 || it.committed !== undefined);
}

function nothingToShift(group: string, { topic, partition }: ResetPartition): StreamHouseError {
  const message =
    `group ${group} has committed nothing in ${topic}/${partition}: there is nothing to count from, ` +
    "use earliest, latest, an offset or a time";
  return invalid("INVALID_ARGUMENT", message, { field: "to" });
}

function planJson({ group, execute }: Request, steps: readonly ResetStep[]): string {
  const offsets = steps.map(({ topic, partition, committed, offset, clamped }) => ({
    ...{ topic, partition, committed: committed ?? null, offset, clamped },
  }));
  return JSON.stringify({ group, executed: execute, offsets });
}

function planText(steps: readonly ResetStep[]): readonly string[] {
  const headings = ["TOPIC", "PARTITION", "COMMITTED", "NEW OFFSET", "NOTE"];
  const rows = steps.map(({ topic, partition, committed, offset, clamped }) => [
    ...[topic, partition, committed ?? "-", offset],
    clamped ? "as far as the log goes" : "",
  ]);
  return textTable(headings, rows);
}
