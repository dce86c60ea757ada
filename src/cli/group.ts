/** `streamhouse group list | describe | delete`. (`group reset` has a room of its own.) Called by `streamhouse.ts`. */
import type {
  GroupDescription,
  MemberDescription,
  MemberPartitionDescription,
  PartitionLagDescription,
} from "../client/admin-api.ts";
import type { Arguments, CommandSpec } from "./arguments.ts";
import type { CliIo } from "./cli-io.ts";
import { agentsOption, withHouse } from "./house-options.ts";
import { groupName } from "./lag.ts";
import { textTable } from "./text-table.ts";

const json = { json: { help: "print JSON instead of text" } } as const;

export const groupListSpec: CommandSpec = {
  name: "group list",
  summary: "List the consumer groups",
  positionals: [],
  options: { ...json, ...agentsOption },
};

export async function runGroupList(args: Arguments, io: CliIo): Promise<number> {
  const groups = await withHouse(args, io, ({ admin }) => admin.listGroups());
  const sorted = [...groups].sort((a, b) => (a.group < b.group ? -1 : 1));
  if (args.has("json")) {
    const rows = sorted.map(({ group, state, members, epoch }) => ({
      ...{ group, state, members, epoch },
    }));
    await io.stdout.write([JSON.stringify(rows)]);
    return 0;
  }
  const rows = sorted.map(({ group, state, members, epoch }) => [group, state, members, epoch]);
  await io.stdout.write(textTable(["GROUP", "STATE", "MEMBERS", "EPOCH"], rows));
  return 0;
}

export const groupDescribeSpec: CommandSpec = {
  name: "group describe",
  summary: "Show a consumer group: its members, what each has, its offsets and lag",
  positionals: ["GROUP"],
  options: { ...json, ...agentsOption },
  notes: [
    "A group is empty without live members, reconciling while a partition is on its way from one member to another.",
  ],
};

export async function runGroupDescribe(args: Arguments, io: CliIo): Promise<number> {
  const group = groupName(args, args.positional(0), "GROUP");
  const found = await withHouse(args, io, ({ admin }) => admin.describeGroup(group));
  if (found.epoch === 0 && found.members.length === 0 && found.lags.length === 0) {
    io.stderr(`streamhouse: there is no group ${group}: nobody joined it or committed for it`);
    return 1;
  }
  await io.stdout.write(args.has("json") ? [groupJson(found)] : groupText(found));
  return 0;
}

export const groupDeleteSpec: CommandSpec = {
  name: "group delete",
  summary: "Delete a consumer group and its offsets",
  positionals: ["GROUP"],
  options: agentsOption,
  notes: ["Refused while the group has live members."],
};

export async function runGroupDelete(args: Arguments, io: CliIo): Promise<number> {
  const group = groupName(args, args.positional(0), "GROUP");
  await withHouse(args, io, ({ admin }) => admin.deleteGroup(group));
  await io.stdout.write([`deleted group ${group}`]);
  return 0;
}

function byPlace(a: MemberPartitionDescription, b: MemberPartitionDescription): number {
  if (a.topic !== b.topic) return a.topic < b.topic ? -1 : 1;
  return a.partition - b.partition;
}

/** Who reads which partition now: also what a member is about to let go of is still its own. */
function readersOf(members: readonly MemberDescription[]): ReadonlyMap<string, string> {
  const readers = members.flatMap(({ memberId, assigned, revoking }) =>
    [...assigned, ...revoking].map((it) => [`${it.topicId}/${it.partition}`, memberId] as const),
  );
  return new Map(readers);
}

function groupJson({ group, state, epoch, members, lags, asOfMs }: GroupDescription): string {
  const readers = readersOf(members);
  const places = (partitions: readonly MemberPartitionDescription[]) =>
    [...partitions].sort(byPlace).map(({ topic, partition }) => ({ topic, partition }));
  return JSON.stringify({
    ...{ group, state, epoch, asOfMs },
    members: members.map((it) => ({
      memberId: it.memberId,
      instanceId: it.instanceId === "" ? null : it.instanceId,
      clientId: it.clientId,
      epoch: it.epoch,
      topics: it.topics,
      sessionLeftMs: it.sessionLeftMs,
      assigned: places(it.assigned),
      lettingGo: places(it.revoking),
    })),
    partitions: [...lags].sort(byPlace).map((it) => ({
      topic: it.topic,
      partition: it.partition,
      memberId: readers.get(`${it.topicId}/${it.partition}`) ?? null,
      committed: it.committedOffset ?? null,
      highWatermark: it.highWatermark,
      lagRecords: it.error === undefined ? it.lagRecords : null,
      lagSeconds: it.error === undefined ? it.lagSeconds : null,
      lostRecords: it.lostRecords,
      error: it.error?.code ?? null,
    })),
  });
}

function groupText({ group, state, epoch, members, lags }: GroupDescription): readonly string[] {
  const head = [`group     ${group}`, `state     ${state}`, `epoch     ${epoch}`, ""];
  const memberRows = members.map((it) => [
    it.memberId,
    it.instanceId === "" ? "-" : it.instanceId,
    it.clientId === "" ? "-" : it.clientId,
    it.epoch,
    `${(it.sessionLeftMs / 1_000).toFixed(1)} s`,
    placesText(it.assigned),
    placesText(it.revoking),
  ]);
  const memberHeadings = [
    ...["MEMBER", "INSTANCE", "CLIENT", "EPOCH"],
    ...["SESSION LEFT", "HAS", "LETS GO"],
  ];
  const memberTable =
    members.length === 0 ? ["no live members"] : textTable(memberHeadings, memberRows);
  const headings = ["TOPIC", "PARTITION", "COMMITTED", "HIGH WATERMARK", "LAG", "LAG SECONDS"];
  const readers = readersOf(members);
  const rows = [...lags].sort(byPlace).map((it) => lagRow(it, readers));
  const lagTable =
    lags.length === 0 ? ["no offsets"] : textTable([...headings, "LOST", "MEMBER"], rows);
  return [...head, ...memberTable, "", ...lagTable];
}

function lagRow(
  it: PartitionLagDescription,
  readers: ReadonlyMap<string, string>,
): readonly (string | number)[] {
  const known = it.error === undefined;
  return [
    it.topic,
    it.partition,
    it.committedOffset ?? "-",
    it.highWatermark,
    known ? it.lagRecords : it.error.code,
    known ? it.lagSeconds.toFixed(3) : "-",
    it.lostRecords,
    readers.get(`${it.topicId}/${it.partition}`) ?? "-",
  ];
}

/** `orders/0-2,5 mails/0`: a member may have hundreds. */
export function placesText(partitions: readonly MemberPartitionDescription[]): string {
  const byTopic = Map.groupBy([...partitions].sort(byPlace), (it) => it.topic);
  const texts = [...byTopic].map(([topic, places]) => {
    const runs: [number, number][] = [];
    for (const { partition } of places) {
      const last = runs.at(-1);
      if (last !== undefined && last[1] + 1 === partition) last[1] = partition;
      else runs.push([partition, partition]);
    }
    return `${topic}/${runs.map(([from, to]) => (from === to ? from : `${from}-${to}`)).join(",")}`;
  });
  return texts.length === 0 ? "-" : texts.join(" ");
}
