/** `streamhouse lag GROUP`: how far a consumer group has read, as the agents know it. */
import type { PartitionLagDescription } from "../client/admin-api.ts";
import { StreamHouseError } from "../core/errors.ts";
import { checkTopicName } from "../core/topic.ts";
import type { Arguments, CommandSpec } from "./arguments.ts";
import type { CliIo } from "./cli-io.ts";
import { agentsOption, withHouse } from "./house-options.ts";
import { textTable } from "./text-table.ts";

export const lagSpec: CommandSpec = {
  name: "lag",
  summary: "Show how far a consumer group has read",
  positionals: ["GROUP"],
  options: { json: { help: "print JSON instead of text" }, ...agentsOption },
  notes: [
    "Lag is counted in one consistent snapshot; its seconds are the age of the first record not yet committed.",
  ],
};

export async function runLag(args: Arguments, io: CliIo): Promise<number> {
  const group = groupName(args, args.positional(0), "GROUP");
  const description = await withHouse(args, io, (house) => house.admin.describeGroup(group));
  if (description.lags.length === 0 && description.members.length === 0) {
    io.stderr(`streamhouse: group ${group} has no members and has committed nothing`);
    return 1;
  }
  const lags = sorted(description.lags);
  const failed = lags.find((lag) => lag.error !== undefined);
  if (failed?.error !== undefined) throw failed.error;
  await io.stdout.write(args.has("json") ? [lagJson(lags)] : lagText(lags));
  return 0;
}

/** Checks a group's name, which follows the rule of topic names. */
export function groupName(args: Arguments, name: string, where: string): string {
  try {
    checkTopicName(name);
  } catch (error) {
    if (!StreamHouseError.is(error)) throw error;
    throw args.mistake(`${where}: ${error.message.replace("topic name", "group name")}`);
  }
  return name;
}

function sorted(lags: readonly PartitionLagDescription[]): readonly PartitionLagDescription[] {
  return [...lags].sort((a, b) =>
    a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1,
  );
}

function lagJson(lags: readonly PartitionLagDescription[]): string {
  return JSON.stringify(
    lags.map((lag) => ({
      topic: lag.topic,
      partition: lag.partition,
      committed: lag.committedOffset ?? null,
      highWatermark: lag.highWatermark,
      lagRecords: lag.lagRecords,
      lagSeconds: lag.lagSeconds,
    })),
  );
}

function lagText(lags: readonly PartitionLagDescription[]): readonly string[] {
  const rows = lags.map((lag) => [
    lag.topic,
    lag.partition,
    lag.committedOffset ?? "-",
    lag.highWatermark,
    lag.lagRecords,
    lag.lagSeconds.toFixed(3),
  ]);
  const headings = ["TOPIC", "PARTITION", "COMMITTED", "HIGH WATERMARK", "LAG", "LAG SECONDS"];
  return textTable(headings, rows);
}
