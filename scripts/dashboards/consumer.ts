/** Lag of every group as the agents compute it, and reading as the applications see it. */
import * as units from "@grafana/grafana-foundation-sdk/units";
import type { DashboardSpec, Row } from "./dashboard.ts";
import { handlers } from "./handlers.ts";
import { graph, heatmap, stat } from "./panels.ts";
import { buckets, max, min, quantile, rate, series, sum } from "./promql.ts";

const groupTopic = ["group_id", "topic"] as const;
const both = "{{group_id}} {{topic}}";

const lag: Row = {
  title: "Lag, as the agents compute it: every group, alive or dead",
  panels: [
    stat({
      title: "Greatest lag",
      description: "Age of the oldest record that a chosen group has not committed.",
      unit: units.Seconds,
      queries: [[max("groupLagSeconds", []), "seconds"]],
      thresholds: [60, 300],
      runbook: "StreamHouseLagSecondsHigh",
      width: 6,
    }),
    stat({
      title: "Records to be read",
      description: "Over all chosen groups and topics.",
      unit: units.Short,
      queries: [[sum("groupLagRecords", []), "records"]],
      thresholds: [10_000, 100_000],
      runbook: "StreamHouseLagRecordsHigh",
      width: 6,
    }),
    stat({
      title: "Groups without a member",
      description: "Their lag grows until somebody starts them, or deletes them.",
      unit: units.Short,
      queries: [[`count(${max("groupMembers", ["group_id"])} == 0) or vector(0)`, "groups"]],
      thresholds: [1, 2],
      runbook: "StreamHouseGroupDeadWithLag",
      width: 6,
    }),
    stat({
      title: "Records lost to retention",
      description: "Deleted before a group read them. Raise the topic's retention.",
      unit: units.Short,
      queries: [[`${sum("groupLostRecords", [])} or vector(0)`, "records"]],
      thresholds: [1, 1],
      runbook: "StreamHouseRecordsLostToRetention",
      width: 6,
    }),
    graph({
      title: "Lag in seconds",
      description:
        "What users notice: how old the news is. A straight line up by 1 s/s: nothing is committed.",
      unit: units.Seconds,
      queries: [[max("groupLagSeconds", groupTopic), both]],
      thresholds: [60, 300],
      runbook: "StreamHouseLagSecondsHigh",
    }),
    graph({
      title: "Lag in records",
      description: "How much work is waiting. Falling: the group catches up.",
      unit: units.Short,
      queries: [[sum("groupLagRecords", groupTopic), both]],
      runbook: "StreamHouseLagRecordsHigh",
    }),
    graph({
      title: "Lag by partition, worst ten",
      description:
        "One partition alone: a key that is too hot, or a record that cannot be processed.",
      unit: units.Short,
      queries: [
        [
          `topk(10, ${sum("groupLagRecords", [...groupTopic, "partition"])} > 0)`,
          `${both}/{{partition}}`,
        ],
      ],
      runbook: "StreamHouseLagGrowing",
    }),
    graph({
      title: "Time to catch up",
      description:
        "Lag divided by how fast it shrinks. No line: it does not shrink, add consumers (up to the partitions).",
      unit: units.Seconds,
      queries: [
        [
          `${sum("groupLagRecords", groupTopic)} / (-1 * (sum by (${groupTopic.join(", ")}) (deriv(${series("groupLagRecords")}[$__rate_interval])) < 0))`,
          both,
        ],
      ],
      runbook: "StreamHouseLagGrowing",
    }),
    graph({
      title: "Members",
      description: "Sessions that are alive. Zero with lag: nobody reads.",
      unit: units.Short,
      width: 8,
      queries: [[max("groupMembers", ["group_id"]), "{{group_id}}"]],
      runbook: "StreamHouseGroupDeadWithLag",
    }),
    graph({
      title: "Time since the last commit",
      description:
        "The oldest partition's. Long with lag: stuck. Long without lag: nothing was sent.",
      unit: units.Seconds,
      width: 8,
      queries: [[`time() - ${min("groupLastCommit", groupTopic)}`, both]],
      runbook: "StreamHouseLagGrowing",
    }),
    graph({
      title: "Retention that lag has used up",
      description:
        "At 100 % records are deleted that the group has not read. Topics without retention are not here.",
      unit: units.PercentUnit,
      width: 8,
      queries: [
        [
          `${max("groupLagSeconds", groupTopic)} / on (topic) group_left () ${max("retentionSeconds", ["topic"])}`,
          both,
        ],
      ],
      thresholds: [0.5, 0.8],
      runbook: "StreamHouseRetentionNearUnread",
    }),
  ],
};

const flow: Row = {
  title: "Reading, as the applications see it",
  panels: [
    graph({
      title: "Records consumed",
      description: "Handed to the application, once each, against what is written.",
      unit: units.RecordsPerSecond,
      queries: [
        [rate("recordsConsumed", groupTopic), both],
        [rate("recordsWritten", ["topic"]), "written {{topic}}"],
      ],
      runbook: "StreamHouseLagGrowing",
    }),
    graph({
      title: "Bytes consumed",
      description: "Their encoded bytes.",
      unit: units.BytesPerSecondIEC,
      queries: [[rate("bytesConsumed", groupTopic), both]],
    }),
    graph({
      title: "Append to delivery",
      description: "On real traffic. Long at the tail: poll more often, or fetch less at once.",
      unit: units.Seconds,
      queries: [
        [quantile(0.5, "endToEndLatency", groupTopic), `p50 ${both}`],
        [quantile(0.99, "endToEndLatency", groupTopic), `p99 ${both}`],
      ],
      runbook: "StreamHouseLagSecondsHigh",
    }),
    heatmap({
      title: "Append to delivery, all of it",
      description: "A band that rises is a group that reads history, or falls behind.",
      unit: units.Seconds,
      queries: [[buckets("endToEndLatency"), "{{le}}"]],
    }),
    graph({
      title: "Age of a record when delivered, p99",
      description:
        "By the record's own timestamp: what was late before it was sent is in it. Negative ones mean that clocks differ.",
      unit: units.Seconds,
      queries: [
        [quantile(0.99, "recordAge", groupTopic), both],
        [rate("recordAgeNegative", groupTopic), `from the future, a second: ${both}`],
      ],
    }),
    graph({
      title: "Own view: not yet committed",
      description:
        "Records that were delivered and not committed: what is delivered again after a crash. Commit more often if it matters.",
      unit: units.Short,
      queries: [
        [
          `sum by (group_id, topic) (${series("currentOffset")} - ${series("lastCommittedOffset")})`,
          both,
        ],
      ],
    }),
    graph({
      title: "Own view of lag",
      description:
        "The consumer's process asks its agent: must agree with the first row. It ends with the process.",
      unit: units.Short,
      queries: [
        [sum("consumerLagRecords", groupTopic), `records ${both}`],
        [max("consumerLagSeconds", groupTopic), `seconds ${both}`],
      ],
      runbook: "StreamHouseLagStale",
    }),
    graph({
      title: "Ahead of retention",
      description:
        "Records between the log's start and the next one to be read: little is left when it nears 0 with lag.",
      unit: units.Short,
      queries: [
        [min("groupLeadRecords", groupTopic), `committed ${both}`],
        [min("consumerLeadRecords", groupTopic), `reading ${both}`],
      ],
      runbook: "StreamHouseRetentionNearUnread",
    }),
  ],
};

const inside: Row = {
  title: "Inside the consumers",
  panels: [
    graph({
      title: "Poll, fetch and commit, p99",
      description:
        "Poll and fetch include the wait for new records: long is right when there are none.",
      unit: units.Seconds,
      queries: [
        [quantile(0.99, "pollDuration", ["group_id"]), "poll {{group_id}}"],
        [quantile(0.99, "fetchDuration", ["group_id"]), "fetch {{group_id}}"],
        [quantile(0.99, "commitDuration", ["group_id"]), "commit {{group_id}}"],
      ],
    }),
    graph({
      title: "Fetched and waiting for the application",
      description:
        "Always full: the application is the bottleneck. Always empty with lag: the agents are.",
      unit: units.Short,
      queries: [[sum("bufferedRecords", ["group_id"]), "{{group_id}}"]],
      runbook: "StreamHouseLagGrowing",
    }),
    graph({
      title: "Their bytes",
      description: "Bounded by the consumer's prefetch limit.",
      unit: units.BytesIEC,
      queries: [[sum("bufferedBytes", ["group_id"]), "{{group_id}}"]],
    }),
    graph({
      title: "Rebalances",
      description:
        "With deployments: right. All the time: sessions end; process faster or raise sessionTimeoutMs.",
      unit: units.OpsPerSecond,
      queries: [[rate("rebalances", ["group_id"]), "{{group_id}}"]],
      runbook: "StreamHouseRebalancing",
    }),
    graph({
      title: "Memberships lost",
      description:
        "Ended without a leave, by why: the agents did not answer in time, the group went on without the member, or the application did not read.",
      unit: units.OpsPerSecond,
      queries: [[rate("membershipsLost", ["group_id", "reason"]), "{{group_id}} {{reason}}"]],
      runbook: "StreamHouseMembershipsLost",
    }),
    heatmap({
      title: "How long a rebalance takes",
      description:
        "From the new assignment until it is in effect. Long: the application holds a revoked partition.",
      unit: units.Seconds,
      queries: [[buckets("rebalanceDuration"), "{{le}}"]],
      runbook: "StreamHouseRebalancing",
    }),
  ],
};

export const consumer: DashboardSpec = {
  name: "consumer-and-lag",
  title: "StreamHouse / Consumers and lag",
  description: "Who is behind, by how much, and why.",
  found: "telemetrySeries",
  topics: "groupLagRecords",
  groups: "groupLagRecords",
  rows: [lag, flow, handlers, inside],
};
