/**
 * What one agent asks of the bucket in an hour, counted on the wire, by its flush interval, and what Amazon takes for that.
 * Prices: docs/deployment.md has their source and date.
 */
import { setTimeout as wait } from "node:timers/promises";
import type { Contender, Sample } from "../contender.ts";
import type { ScaleSettings } from "../settings.ts";
import type { Workload } from "../workload.ts";
import type { SharedBackends } from "./cluster.ts";
import { Fleet } from "./fleet.ts";
import { drizzle } from "./load.ts";
import { between, type RequestCounts, startRequestCounter } from "./request-counter.ts";

/** USD for one request: S3 Standard, us-east-1. */
export const PRICES: RequestCounts = {
  ...{ PUT: 0.005 / 1_000, POST: 0.005 / 1_000, LIST: 0.005 / 1_000 },
  ...{ GET: 0.0004 / 1_000, HEAD: 0.0004 / 1_000, DELETE: 0 },
};

/** Records a second while requests are counted: the number of requests does not hang on it, as long as there is always something to flush. */
const RECORDS_PER_SECOND = 500;
const HOUR = 3_600;

export interface CostOptions {
  readonly partitions: number;
  /** 0: nothing is sent. */
  readonly recordsPerSecond: number;
  readonly flushIntervalMs: number;
  /** Settings of the agent beyond that. */
  readonly agent?: Readonly<Record<string, number>>;
}

/** Merging as it is after an hour, in a few seconds: each partition's records are merged when they are that old. */
const MERGING = { mergeAgeMs: 15_000, mergeCheckMs: 1_000, deleteGraceMs: 5_000 };

/** `scale-cost-INTERVAL`, `scale-cost-idle` and `scale-cost-merging` */
export function costContenders(
  settings: ScaleSettings,
  workload: Workload,
  backends: SharedBackends,
): Contender[] {
  const steady = settings.costIntervalsMs.map((flushIntervalMs) => ({
    name: `scale-cost-${flushIntervalMs}ms`,
    options: { partitions: 1_000, recordsPerSecond: RECORDS_PER_SECOND, flushIntervalMs },
  }));
  const idle = { partitions: 1_000, recordsPerSecond: 0, flushIntervalMs: 200 };
  const merging = {
    ...idle,
    partitions: 100,
    recordsPerSecond: RECORDS_PER_SECOND,
    agent: MERGING,
  };
  const all: readonly { readonly name: string; readonly options: CostOptions }[] = [
    ...steady,
    { name: "scale-cost-idle", options: idle },
    { name: "scale-cost-merging", options: merging },
  ];
  return all.map(({ name, options }) => ({
    name,
    unit: "USD/h" as const,
    limits: [],
    note:
      `one agent, ${options.partitions.toLocaleString("en-US")} partitions, ` +
      (options.recordsPerSecond === 0
        ? "nothing sent"
        : `${options.recordsPerSecond} records/s, a flush at most every ${options.flushIntervalMs} ms`) +
      (options.agent === undefined ? "" : ", merged after 15 s instead of an hour"),
    prepare: async () => void (await backends.enter()),
    round: () => count(settings, workload, backends, options),
    close: () => backends.leave(),
  }));
}

async function count(
  settings: ScaleSettings,
  workload: Workload,
  backends: SharedBackends,
  options: CostOptions,
): Promise<Sample> {
  const { partitions, recordsPerSecond, flushIntervalMs } = options;
  const servers = await backends.enter();
  const counter = await startRequestCounter(servers.bucket.endpoint);
  const fleet = await Fleet.open(servers, {
    agents: 1,
    partitions,
    agent: { flushIntervalMs, ...options.agent },
    endpoint: counter.endpoint,
  });
  try {
    const load = { partitions, values: workload.values };
    const rain = recordsPerSecond > 0 ? drizzle(fleet.house, load, recordsPerSecond) : undefined;
    // Merging has begun by then, where it is looked at.
    await wait(options.agent === undefined ? 2_000 : 20_000);
    const [before, start] = [counter.counts(), performance.now()];
    await wait(settings.costSeconds * 1_000);
    const counts = between(before, counter.counts());
    const perHour = HOUR / ((performance.now() - start) / 1_000);
    await rain?.stop();
    return sampleOf(counts, perHour);
  } finally {
    await fleet.close();
    await counter.stop();
    await backends.leave();
  }
}

function sampleOf(counts: RequestCounts, perHour: number): Sample {
  const kinds = Object.entries(counts) as [keyof RequestCounts, number][];
  const usd = kinds.reduce((sum, [kind, number]) => sum + number * perHour * PRICES[kind], 0);
  const also = Object.fromEntries(kinds.map(([kind, number]) => [`${kind}/h`, number * perHour]));
  return { value: usd, also };
}
