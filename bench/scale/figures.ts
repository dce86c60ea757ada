/**
 * The figures about scale, all of one fleet: what it takes, what it asks of bucket and database, and how long partitions take to find
 * another agent. A fleet is opened by the first contender that needs it and closed by the last.
 */
import { setTimeout as wait } from "node:timers/promises";
import type { Contender, Sample } from "../contender.ts";
import type { ScaleSettings } from "../settings.ts";
import type { Workload } from "../workload.ts";
import type { AgentUse } from "./agent-process.ts";
import type { SharedBackends } from "./cluster.ts";
import { type Calls, Fleet, type FleetOptions } from "./fleet.ts";
import { drizzle, pour } from "./load.ts";
import { settled } from "./settling.ts";

/** Records a second that go on while agents come and go: to every partition once in a while, and nothing that fills a processor. */
const DRIZZLE_PER_SECOND = 200;
const MIB = 2 ** 20;

/** One fleet for several contenders. */
export class SharedFleet {
  readonly options: FleetOptions;
  readonly #backends: SharedBackends;
  #users = 0;
  #opened: Promise<Fleet> | undefined;

  constructor(backends: SharedBackends, options: FleetOptions) {
    this.#backends = backends;
    this.options = options;
  }

  async enter(): Promise<Fleet> {
    this.#users++;
    this.#opened ??= this.#backends.enter().then((it) => Fleet.open(it, this.options));
    return this.#opened;
  }

  async leave(): Promise<void> {
    if (--this.#users > 0) return;
    const opened = this.#opened;
    this.#opened = undefined;
    try {
      await (await opened)?.close();
    } finally {
      await this.#backends.leave();
    }
  }
}

/** `scale-{produce,idle,join,leave,kill}-AGENTS-PARTITIONS` */
export function fleetContenders(
  settings: ScaleSettings,
  workload: Workload,
  shared: SharedFleet,
  only: readonly ("produce" | "idle" | "join" | "leave" | "kill")[],
): Contender[] {
  const { agents, partitions } = shared.options;
  const who = `${agents} agent${agents === 1 ? "" : "s"}, ${partitions.toLocaleString("en-US")} partitions`;
  const load = { partitions, values: workload.values };
  const measures = {
    produce: {
      unit: "records/s",
      note: "durable records to every partition in turn, as fast as they are acknowledged",
      measure: (fleet: Fleet) =>
        observed(fleet, () => pour(fleet.house, load, settings.pourSeconds)),
    },
    idle: {
      unit: "per second",
      note: "transactions that the database commits while nothing is sent",
      measure: (fleet: Fleet) => idle(fleet, settings.idleSeconds),
    },
    join: {
      unit: "s",
      note: "one more agent: from when it serves until the last partition that is its own has moved",
      measure: (fleet: Fleet) => moved(fleet, load, "join"),
    },
    leave: {
      unit: "s",
      note: "SIGTERM to one agent more than these: until these hold every partition",
      measure: (fleet: Fleet) => moved(fleet, load, "stop"),
    },
    kill: {
      unit: "s",
      note: "SIGKILL to one agent more than these: until these hold every partition; its lease runs on for 10 s at most",
      measure: (fleet: Fleet) => moved(fleet, load, "kill"),
    },
  } as const;
  return only.map((what) => {
    const { unit, note, measure } = measures[what];
    let fleet: Fleet | undefined;
    return {
      name: `scale-${what}-${agents}-${partitions}`,
      unit,
      limits: [],
      note: `${who}: ${note}`,
      async prepare() {
        fleet = await shared.enter();
      },
      round: () => {
        if (fleet === undefined) throw new Error("round() before prepare()");
        return measure(fleet);
      },
      close: () => shared.leave(),
    };
  });
}

/** Runs the work, and says what it asked of bucket and database, and of the agents. */
async function observed(fleet: Fleet, work: () => Promise<number>): Promise<Sample> {
  const before = await look(fleet);
  const value = await work();
  const after = await look(fleet);
  const seconds = (after.at - before.at) / 1_000;
  const calls = (name: string) => {
    const [from, to] = [before.calls.get(name), after.calls.get(name)];
    const count = (to?.count ?? 0) - (from?.count ?? 0);
    return {
      count,
      ms: (((to?.seconds ?? 0) - (from?.seconds ?? 0)) * 1_000) / Math.max(1, count),
    };
  };
  return {
    value,
    also: {
      "PUTs/s": calls("put").count / seconds,
      "GETs/s": calls("get").count / seconds,
      "ms a PUT": calls("put").ms,
      "ms a commit": calls("commit").ms,
      "ms a flush": calls("flush").ms,
      "transactions/s": (after.transactions - before.transactions) / seconds,
      "CPU % of the producer": percent(before.ownCpuMs, after.ownCpuMs, seconds),
      "CPU % of the busiest agent": busiest(before.use, after.use, seconds),
      "largest RSS, MiB": largest(after.use, "rssBytes"),
      "largest heap, MiB": largest(after.use, "heapBytes"),
    },
  };
}

async function idle(fleet: Fleet, seconds: number): Promise<Sample> {
  const { value: _, also } = await observed(fleet, async () => {
    await wait(seconds * 1_000);
    return 0;
  });
  const { "transactions/s": value = Number.NaN, ...rest } = also ?? {};
  return { value, also: rest };
}

interface Look {
  readonly at: number;
  readonly calls: Calls;
  readonly transactions: number;
  readonly ownCpuMs: number;
  readonly use: readonly AgentUse[];
}

async function look(fleet: Fleet): Promise<Look> {
  const [calls, transactions] = [await fleet.calls(), await fleet.database.transactions()];
  // The collection before the answer is no work of the agent's: looked at last before, and first after, it would still count once.
  const use = await fleet.use();
  const { user, system } = process.cpuUsage();
  return { at: performance.now(), calls, transactions, use, ownCpuMs: (user + system) / 1_000 };
}

function busiest(before: readonly AgentUse[], after: readonly AgentUse[], seconds: number): number {
  return Math.max(...after.map((it, i) => percent(before[i]?.cpuMs ?? 0, it.cpuMs, seconds)));
}

function percent(beforeMs: number, afterMs: number, seconds: number): number {
  return (afterMs - beforeMs) / seconds / 10;
}

function largest(use: readonly AgentUse[], what: "rssBytes" | "heapBytes"): number {
  return Math.max(...use.map((it) => it[what])) / MIB;
}

/**
 * An agent comes, or the last one goes, while records are sent. The fleet is as large afterwards as before: who has come is stopped
 * again, and who has gone comes back, both outside of what is measured.
 */
async function moved(
  fleet: Fleet,
  load: Parameters<typeof drizzle>[1],
  how: "join" | "stop" | "kill",
): Promise<Sample> {
  if (how !== "join") await fleet.join();
  const before = (await settled(fleet.database, load.partitions)).byRun;
  const rain = drizzle(fleet.house, load, DRIZZLE_PER_SECOND);
  await wait(1_000);
  rain.mark();
  const begin = performance.now();
  const runs = await runsThatGo(fleet, how, before);
  const from = how === "join" ? performance.now() : begin;
  const after = await settled(fleet.database, load.partitions, runs);
  const { slowestMs, acknowledged, failed } = await rain.stop();
  if (how === "join") {
    await fleet.leave("stop");
    await settled(fleet.database, load.partitions);
  }
  return {
    value: Math.max(0, after.at - from) / 1_000,
    also: {
      "slowest send, s": slowestMs / 1_000,
      acknowledged,
      failed,
      "partitions moved": movedBetween(before, after.byRun),
    },
  };
}

/** Lets it happen. Answers the runs that must hold nothing in the end. */
async function runsThatGo(
  fleet: Fleet,
  how: "join" | "stop" | "kill",
  before: ReadonlyMap<string, number>,
): Promise<ReadonlySet<string>> {
  if (how === "join") {
    await fleet.join();
    return new Set();
  }
  // The run that started last is the newest ULID.
  const last = [...before.keys()].sort().at(-1) ?? "";
  await fleet.leave(how);
  return new Set([last]);
}

function movedBetween(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): number {
  let moved = 0;
  for (const [run, partitions] of after) moved += Math.max(0, partitions - (before.get(run) ?? 0));
  return moved;
}
