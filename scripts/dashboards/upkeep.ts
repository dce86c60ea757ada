/** A row of the agents' dashboard: merging, deleting and sweeping, which keep a bucket readable and small. */
import * as units from "@grafana/grafana-foundation-sdk/units";
import type { Row } from "./dashboard.ts";
import { graph, heatmap } from "./panels.ts";
import { buckets, max, rate, sum } from "./promql.ts";

export const upkeep: Row = {
  title: "Merging, deleting, sweeping (agents over a bucket)",
  panels: [
    graph({
      title: "Not merged for",
      description:
        "Age of the oldest record that is still in a flush object. Merging begins at mergeAgeMs, an hour: above two it does not keep up.",
      unit: units.Seconds,
      width: 8,
      queries: [[max("compactionBacklogSeconds", ["instance"]), "{{instance}}"]],
      thresholds: [3_900, 7_200],
      runbook: "StreamHouseMergeBacklog",
    }),
    graph({
      title: "Bytes to be merged",
      description: "What a reader of a backlog takes many small reads for. A saw is right.",
      unit: units.BytesIEC,
      width: 8,
      queries: [[max("compactionBacklogBytes", ["instance"]), "{{instance}}"]],
      runbook: "StreamHouseMergeBacklog",
    }),
    graph({
      title: "Merges, by outcome",
      description:
        "committed, when all is well. fenced, stale, swept: somebody was first, and it is looked at again. A code of errors.md: it failed.",
      unit: units.OpsPerSecond,
      width: 8,
      queries: [[rate("compactionMerges", ["outcome"]), "{{outcome}}"]],
      runbook: "StreamHouseMergeErrors",
    }),
    graph({
      title: "Merged, by topic",
      description: "Each byte of a topic is merged once. Much more: see the outcomes.",
      unit: units.BytesPerSecondIEC,
      stacked: true,
      width: 8,
      queries: [[rate("compactionBytes", ["topic"]), "{{topic}}"]],
    }),
    graph({
      title: "Records merged, by topic",
      description: "Over a day as many as were written.",
      unit: units.RecordsPerSecond,
      stacked: true,
      width: 8,
      queries: [[rate("compactionRecords", ["topic"]), "{{topic}}"]],
    }),
    heatmap({
      title: "How long a round takes",
      description: "First read to last commit. Slow: the store, or mergeBytesPerSecondMax.",
      unit: units.Seconds,
      width: 8,
      queries: [[buckets("compactionDuration"), "{{le}}"]],
    }),
    graph({
      title: "Objects deleted",
      description:
        "dead: merged or expired. abandoned: written for nothing. orphan: left by an agent that was killed; many of them mean many kills.",
      unit: units.OpsPerSecond,
      width: 8,
      queries: [[rate("objectsDeleted", ["reason"]), "{{reason}}"]],
    }),
    graph({
      title: "Waiting to be deleted",
      description:
        "Dead, kept for deleteGraceMs for those who read them; counted up to 1,000, by every agent for all.",
      unit: units.Short,
      width: 8,
      queries: [[max("objectsDoomed", []), "objects"]],
    }),
    graph({
      title: "Search for orphans",
      description: "Objects that one of the agents looked at, and searches that failed.",
      unit: units.OpsPerSecond,
      width: 8,
      queries: [
        [rate("sweepObjects", ["instance"]), "{{instance}} objects"],
        [rate("sweepErrors", ["instance"]), "{{instance}} failed"],
      ],
      runbook: "StreamHouseSweepErrors",
    }),
  ],
};

/** Panels of the reads that are served by an agent which does not lead the partition, and of the caches. */
export const elsewhere: Row = {
  title: "Reads from any agent, caches, the store's troubles",
  panels: [
    graph({
      title: "Bytes read from an agent that does not lead",
      description:
        "By topic: consumers with readFrom any, or while the leader is away. All of them: look for the leaders.",
      unit: units.BytesPerSecondIEC,
      queries: [
        [rate("bytesFetchedUnheld", ["topic"]), "{{topic}}"],
        [rate("bytesFetched", ["topic"]), "all {{topic}}"],
      ],
    }),
    graph({
      title: "Questions about what others committed",
      description:
        "Readers that wait for a partition led elsewhere make the agent ask metadata, at most every followPollMs.",
      unit: units.OpsPerSecond,
      queries: [[rate("indexRefreshes", ["outcome"]), "{{outcome}}"]],
      runbook: "StreamHouseMetadataErrors",
    }),
    graph({
      title: "Memory of the caches",
      description: "Bounded by tailCacheBytesMax and readCacheBytesMax: full is right.",
      unit: units.BytesIEC,
      width: 8,
      queries: [[sum("cacheBytes", ["instance", "cache"]), "{{instance}} {{cache}}"]],
    }),
    graph({
      title: "Let go by the caches",
      description:
        "Much, with few hits: consumers read history that does not fit. Give the read cache more memory.",
      unit: units.OpsPerSecond,
      width: 8,
      queries: [[rate("cacheEvictions", ["cache"]), "{{cache}}"]],
    }),
    graph({
      title: "Store: tried again, and hedged",
      description:
        "What the store refused for the moment, by its code; slow writes that were begun a second time, by which was first.",
      unit: units.OpsPerSecond,
      width: 8,
      queries: [
        [rate("storeRetries", ["operation", "outcome"]), "{{operation}} {{outcome}}"],
        [rate("storeHedges", ["outcome"]), "hedge: {{outcome}}"],
      ],
      runbook: "StreamHouseStoreErrors",
    }),
  ],
};
