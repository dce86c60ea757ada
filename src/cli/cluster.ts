/** `streamhouse cluster`: the agents, what each does, and who leads how many partitions of which topic. */
import type { AgentDescription, ClusterDescription } from "../client/admin-api.ts";
import type { Topic } from "../core/topic.ts";
import type { Arguments, CommandSpec } from "./arguments.ts";
import type { CliIo } from "./cli-io.ts";
import { agentsOption, withHouse } from "./house-options.ts";
import { textTable } from "./text-table.ts";

export const clusterSpec: CommandSpec = {
  name: "cluster",
  summary: "Show the agents, their leases and their load",
  positionals: [],
  options: { json: { help: "print JSON instead of text" }, ...agentsOption },
  notes: [
    "The load is what an agent told with its last renewal: means over the seconds before it.",
    "An agent is expired when its time ran out by the clock of the metadata store, retiring while it hands over and stops.",
  ],
};

/** What both forms of the output are made from. */
interface Seen {
  readonly cluster: ClusterDescription;
  readonly topics: readonly Topic[];
}

export async function runCluster(args: Arguments, io: CliIo): Promise<number> {
  const seen = await withHouse(args, io, async ({ admin }): Promise<Seen> => {
    const cluster = await admin.describeCluster();
    return { cluster, topics: await admin.listTopics() };
  });
  await io.stdout.write(args.has("json") ? [clusterJson(seen)] : clusterText(seen));
  return 0;
}

/** Partitions of each topic by the agent run that holds them. */
function leasesByTopic({ cluster, topics }: Seen) {
  const counts = new Map<string, Map<string, number>>();
  for (const { topicId, runId } of cluster.leases) {
    const byRun = counts.get(topicId) ?? new Map<string, number>();
    counts.set(topicId, byRun.set(runId, (byRun.get(runId) ?? 0) + 1));
  }
  return topics.map(({ name, id, partitions }) => {
    const byRun = counts.get(id) ?? new Map<string, number>();
    const led = [...byRun.values()].reduce((sum, it) => sum + it, 0);
    return { name, partitions, byRun, withoutLease: Math.max(0, partitions - led) };
  });
}

function clusterJson(seen: Seen): string {
  const agents = seen.cluster.agents.map((it) => ({
    agentId: it.agentId,
    runId: it.runId,
    address: it.address,
    state: stateOf(it),
    startedAtMs: it.startedAtMs,
    expiresAtMs: it.expiresAtMs,
    leases: it.leases,
    load: it.load ?? null,
  }));
  const topics = leasesByTopic(seen).map(({ name, partitions, byRun, withoutLease }) => ({
    name,
    partitions,
    leases: [...byRun].map(([runId, partitions]) => ({ runId, partitions })),
    withoutLease,
  }));
  return JSON.stringify({ answeredByRunId: seen.cluster.answeredByRunId, agents, topics });
}

function clusterText(seen: Seen): readonly string[] {
  const { agents } = seen.cluster;
  const headings = [
    ...["AGENT", "ADDRESS", "STATE", "STARTED", "LEASES"],
    ...["RECORDS/S", "IN KIB/S", "OUT KIB/S", "FLUSHES/S"],
  ];
  const rows = agents.map((it) => [
    it.agentId,
    it.address === "" ? "embedded" : it.address,
    stateOf(it),
    new Date(it.startedAtMs).toISOString(),
    it.leases,
    rate(it.load?.recordsInPerSecond),
    rate(it.load && it.load.bytesInPerSecond / 1_024),
    rate(it.load && it.load.bytesOutPerSecond / 1_024),
    rate(it.load?.flushesPerSecond),
  ]);
  const topics = leasesByTopic(seen);
  if (topics.length === 0) return [...textTable(headings, rows), "", "no topics"];
  const topicHeadings = ["TOPIC", "PARTITIONS", ...agents.map((it) => it.agentId), "NOBODY"];
  const topicRows = topics.map(({ name, partitions, byRun, withoutLease }) => [
    name,
    partitions,
    ...agents.map((it) => byRun.get(it.runId) ?? 0),
    withoutLease,
  ]);
  return [...textTable(headings, rows), "", ...textTable(topicHeadings, topicRows)];
}

function stateOf({ isLive, isRetiring }: AgentDescription): "expired" | "retiring" | "live" {
  if (!isLive) return "expired";
  return isRetiring ? "retiring" : "live";
}

/** A number with one digit keeps the column's places; nothing was told yet: a dash. */
function rate(value: number | undefined): string {
  return value === undefined ? "-" : value.toFixed(1);
}
