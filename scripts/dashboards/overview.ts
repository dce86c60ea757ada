/** The dashboard to open first: is it well, and if not, which of the other dashboards to open next. */
import * as units from "@grafana/grafana-foundation-sdk/units";
import type { DashboardSpec, Row } from "./dashboard.ts";
import { graph, heatmap, stat } from "./panels.ts";
import { buckets, max, quantile, rate, samples, series, sum } from "./promql.ts";

const state: Row = {
  title: "Is it well?",
  panels: [
    stat({
      title: "Firing alerts",
      description: "Alerts of dashboards/prometheus/rules. Open the runbook's section of each.",
      unit: units.Short,
      queries: [
        ['count(ALERTS{alertname=~"StreamHouse.+", alertstate="firing"}) or vector(0)', "alerts"],
      ],
      thresholds: [1, 3],
    }),
    stat({
      title: "Agents that answer",
      description: "Agents whose last scrape came. Fewer than you run: look at their logs.",
      unit: units.Short,
      queries: [[`count(${series("activeConnections")})`, "agents"]],
      runbook: "StreamHouseAgentDown",
    }),
    stat({
      title: "Partitions with a leader",
      description: "Leases held over all agents: the partitions of all topics when all is well.",
      unit: units.Short,
      queries: [[sum("activePartitions", []), "partitions"]],
      thresholds: [1, 0],
      runbook: "StreamHouseNoActiveLeases",
    }),
    stat({
      title: "Greatest lag",
      description:
        "Age of the oldest record that some group has not committed. If it grows, see Consumers and lag.",
      unit: units.Seconds,
      queries: [[max("groupLagSeconds", []), "lag"]],
      thresholds: [60, 300],
      runbook: "StreamHouseLagSecondsHigh",
    }),
    stat({
      title: "Write latency p99",
      description: "From a request to durable records. High: see Agent and storage, row Flush.",
      unit: units.Seconds,
      queries: [[quantile(0.99, "writeLatency"), "p99"]],
      thresholds: [0.25, 1],
      runbook: "StreamHouseWriteLatencyHigh",
    }),
    stat({
      title: "Records that failed",
      description: "Given up by producers, a second; every one was reported to its sender.",
      unit: units.RecordsPerSecond,
      queries: [[`${rate("sendErrors", [])} or vector(0)`, "failed"]],
      thresholds: [0.001, 1],
      runbook: "StreamHouseSendErrors",
    }),
  ],
};

const flow: Row = {
  title: "Flow",
  panels: [
    graph({
      title: "Records",
      description:
        "Sent and written are the same records counted at both ends. Consumed is theirs times the groups that read them.",
      unit: units.RecordsPerSecond,
      queries: [
        [rate("recordsSent", []), "sent (producers)"],
        [rate("recordsWritten", []), "written (agents)"],
        [rate("recordsConsumed", []), "consumed (all groups)"],
      ],
    }),
    graph({
      title: "Bytes",
      description: "Encoded batches: what goes over the network and into the store.",
      unit: units.BytesPerSecondIEC,
      queries: [
        [rate("bytesWritten", []), "written"],
        [rate("bytesFetched", []), "fetched"],
      ],
    }),
    graph({
      title: "Records written, by topic",
      description: "Which topic the load is.",
      unit: units.RecordsPerSecond,
      stacked: true,
      queries: [[rate("recordsWritten", ["topic"]), "{{topic}}"]],
    }),
    graph({
      title: "Lag in seconds, worst ten",
      description: "A group that is not here has none. Alive or dead: the agents compute it.",
      unit: units.Seconds,
      queries: [
        [`topk(10, ${max("groupLagSeconds", ["group_id", "topic"])})`, "{{group_id}} {{topic}}"],
      ],
      thresholds: [60, 300],
      runbook: "StreamHouseLagSecondsHigh",
    }),
  ],
};

const latency: Row = {
  title: "Latency",
  panels: [
    graph({
      title: "A record's way, p99",
      description:
        "send: call to acknowledgement. write: within the agent. end to end: append to delivery. Send without write is the network or linger.",
      unit: units.Seconds,
      queries: [
        [quantile(0.99, "sendDuration"), "send"],
        [quantile(0.99, "writeLatency"), "write"],
        [quantile(0.99, "endToEndLatency"), "end to end"],
      ],
      runbook: "StreamHouseWriteLatencyHigh",
    }),
    heatmap({
      title: "Write latency",
      description: "A second band above the first is a slow disk, or one slow agent.",
      unit: units.Seconds,
      queries: [[buckets("writeLatency"), "{{le}}"]],
    }),
  ],
};

const trouble: Row = {
  title: "Trouble",
  panels: [
    graph({
      title: "Failed requests, by status",
      description:
        "Every status but OK. FAILED_PRECONDITION comes with each move of a lease; UNAVAILABLE and INTERNAL should not be here.",
      unit: units.RequestsPerSecond,
      width: 8,
      queries: [[rate("grpcRequests", ["status"], 'status!="OK"'), "{{status}}"]],
      runbook: "StreamHouseRequestErrors",
    }),
    graph({
      title: "Records that failed, by error",
      description: "docs/errors.md says for each code what to do.",
      unit: units.RecordsPerSecond,
      width: 8,
      queries: [[rate("sendErrors", ["topic", "error_type"]), "{{topic}} {{error_type}}"]],
      runbook: "StreamHouseSendErrors",
    }),
    graph({
      title: "Leases and flushes that failed",
      description: "All at zero when all is well. See Agent and storage.",
      unit: units.OpsPerSecond,
      width: 8,
      queries: [
        [rate("leaseRenewals", ["status"], 'status!="ok"'), "renewal {{status}}"],
        [rate("fencedWrites", []), "fenced batches"],
        [samples("flushDuration", ["outcome"], 'outcome!="committed"'), "flush {{outcome}}"],
      ],
      runbook: "StreamHouseFlushFailing",
    }),
  ],
};

export const overview: DashboardSpec = {
  name: "overview",
  title: "StreamHouse / Overview",
  description: "Is it well, and if not, where to look next.",
  found: "telemetrySeries",
  topics: "recordsWritten",
  groups: "groupLagRecords",
  rows: [state, flow, latency, trouble],
};
