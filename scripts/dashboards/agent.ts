/** The agents: leases, writes and their flushes, the object store, metadata, reads, requests, retention. */
import * as units from "@grafana/grafana-foundation-sdk/units";
import type { DashboardSpec, Row } from "./dashboard.ts";
import { graph, heatmap } from "./panels.ts";
import { buckets, max, mean, quantile, rate, samples, series, sum } from "./promql.ts";
import { elsewhere, upkeep } from "./upkeep.ts";

const leases: Row = {
  title: "Leases and connections",
  panels: [
    graph({
      title: "Partitions led, by agent",
      description:
        "Uneven for long: an agent is new or leaving. None at all: nothing can be written.",
      unit: units.Short,
      stacked: true,
      width: 8,
      queries: [[sum("activePartitions", ["instance"]), "{{instance}}"]],
      runbook: "StreamHouseNoActiveLeases",
    }),
    graph({
      title: "Lease renewals",
      description: "lost: somebody else took over. error: metadata did not answer.",
      unit: units.OpsPerSecond,
      width: 8,
      queries: [
        [rate("leaseRenewals", ["instance", "status"]), "{{instance}} {{status}}"],
        [rate("fencedWrites", ["instance"]), "{{instance}} fenced batches"],
      ],
      runbook: "StreamHouseLeaseChurn",
    }),
    graph({
      title: "Client connections",
      description: "Open gRPC connections, by agent.",
      unit: units.Short,
      width: 8,
      queries: [[sum("activeConnections", ["instance"]), "{{instance}}"]],
    }),
  ],
};

const writes: Row = {
  title: "Writes",
  panels: [
    graph({
      title: "Records written",
      description: "Durable and committed, by topic.",
      unit: units.RecordsPerSecond,
      stacked: true,
      width: 8,
      queries: [[rate("recordsWritten", ["topic"]), "{{topic}}"]],
    }),
    graph({
      title: "Bytes written",
      description: "Of batches, by topic.",
      unit: units.BytesPerSecondIEC,
      stacked: true,
      width: 8,
      queries: [[rate("bytesWritten", ["topic"]), "{{topic}}"]],
    }),
    graph({
      title: "Waiting for a flush",
      description:
        "Accepted and not committed. At bufferBytesMax (128 MiB) producers are told OVERLOADED.",
      unit: units.BytesIEC,
      width: 8,
      queries: [[max("bufferBytes", ["instance"]), "{{instance}}"]],
      thresholds: [67_108_864, 120_795_955],
      runbook: "StreamHouseAgentOverloaded",
    }),
    graph({
      title: "Write latency",
      description:
        "Request to durable. Without a slow flush below it is waiting in the agent. The dots lead to traces.",
      unit: units.Seconds,
      queries: [
        [quantile(0.5, "writeLatency"), "p50"],
        [quantile(0.95, "writeLatency"), "p95"],
        [quantile(0.99, "writeLatency"), "p99"],
      ],
      runbook: "StreamHouseWriteLatencyHigh",
    }),
    heatmap({
      title: "Write latency, all of it",
      description: "A second band: one slow agent, or a disk that stalls.",
      unit: units.Seconds,
      queries: [[buckets("writeLatency"), "{{le}}"]],
    }),
  ],
};

const flush: Row = {
  title: "Flush, store and metadata",
  panels: [
    graph({
      title: "Flush duration",
      description: "Seal to commit. Longer than the store's put: metadata.",
      unit: units.Seconds,
      queries: [
        [quantile(0.5, "flushDuration"), "p50"],
        [quantile(0.99, "flushDuration"), "p99"],
        [quantile(0.99, "metadataOperationDuration", ["operation"]), "p99 metadata {{operation}}"],
      ],
      runbook: "StreamHouseWriteLatencyHigh",
    }),
    graph({
      title: "Flushes, by outcome",
      description:
        "committed, when all is well. refused: fenced. failed: see the errors below. unknown: metadata did not answer. undone: after one that failed.",
      unit: units.OpsPerSecond,
      queries: [[samples("flushDuration", ["outcome"]), "{{outcome}}"]],
      runbook: "StreamHouseFlushFailing",
    }),
    heatmap({
      title: "Flush duration, all of it",
      description: "On a folder: what fdatasync takes. On S3: a PUT.",
      unit: units.Seconds,
      queries: [[buckets("flushDuration"), "{{le}}"]],
    }),
    heatmap({
      title: "Bytes of a flush",
      description: "Larger flushes cost less each. Small at high load: raise flushAgeMs.",
      unit: units.BytesIEC,
      queries: [[buckets("flushBytes"), "{{le}}"]],
    }),
    graph({
      title: "Store operations, p99",
      description:
        "By operation. A slow get: consumers read history; a slow put: every producer waits.",
      unit: units.Seconds,
      queries: [[quantile(0.99, "storeOperationDuration", ["operation"]), "{{operation}}"]],
      runbook: "StreamHouseStoreErrors",
    }),
    graph({
      title: "Store and metadata errors",
      description: "Operations that did not end ok, by the error's code.",
      unit: units.OpsPerSecond,
      queries: [
        [
          samples("storeOperationDuration", ["operation", "outcome"], 'outcome!="ok"'),
          "store {{operation}} {{outcome}}",
        ],
        [
          samples("metadataOperationDuration", ["operation", "outcome"], 'outcome!="ok"'),
          "metadata {{operation}} {{outcome}}",
        ],
      ],
      runbook: "StreamHouseStoreErrors",
    }),
    graph({
      title: "Store and metadata operations",
      description:
        "How many. The number of puts must grow with agents and time, not with partitions.",
      unit: units.OpsPerSecond,
      queries: [
        [samples("storeOperationDuration", ["operation"]), "store {{operation}}"],
        [samples("metadataOperationDuration", ["operation"]), "metadata {{operation}}"],
      ],
    }),
    graph({
      title: "Bytes moved by the store",
      description: "What the network and the bill see.",
      unit: units.BytesPerSecondIEC,
      queries: [[rate("storeBytes", ["operation"]), "{{operation}}"]],
    }),
  ],
};

const reads: Row = {
  title: "Reads and requests",
  panels: [
    graph({
      title: "Bytes fetched",
      description: "By consumers, by topic.",
      unit: units.BytesPerSecondIEC,
      stacked: true,
      queries: [[rate("bytesFetched", ["topic"]), "{{topic}}"]],
    }),
    graph({
      title: "Reads that a cache answered",
      description:
        "Tail near 100 %: consumers are at the end of the log. Low: they read history from the store.",
      unit: units.PercentUnit,
      max: 1,
      queries: [
        [
          `${rate("cacheHits", ["cache"])} / (${rate("cacheHits", ["cache"])} + ${rate("cacheMisses", ["cache"])})`,
          "{{cache}}",
        ],
      ],
    }),
    graph({
      title: "Requests, by method",
      description: "Unary calls and frames of ProduceStream.",
      unit: units.RequestsPerSecond,
      queries: [[rate("grpcRequests", ["method"]), "{{method}}"]],
    }),
    graph({
      title: "Requests that failed",
      description: "docs/errors.md says which code has which status, and what to do.",
      unit: units.RequestsPerSecond,
      queries: [
        [rate("grpcRequests", ["method", "status"], 'status!="OK"'), "{{method}} {{status}}"],
      ],
      runbook: "StreamHouseRequestErrors",
    }),
    graph({
      title: "Request duration, p99 by method",
      description: "Fetch includes its long poll. Produce is the write latency and the way there.",
      unit: units.Seconds,
      queries: [[quantile(0.99, "grpcRequestDuration", ["method"]), "{{method}}"]],
    }),
    graph({
      title: "Mean request duration, by agent",
      description: "One agent above the others: its disk, its CPU, or more load.",
      unit: units.Seconds,
      queries: [[mean("grpcRequestDuration", ["instance"]), "{{instance}}"]],
    }),
  ],
};

const retention: Row = {
  title: "Log and retention",
  panels: [
    graph({
      title: "Records in the log",
      description: "High watermark minus log start, by topic.",
      unit: units.Short,
      width: 8,
      queries: [
        [`sum by (topic) (${series("highWatermark")} - ${series("logStartOffset")})`, "{{topic}}"],
      ],
    }),
    graph({
      title: "Records that retention took",
      description: "Deleted by age, a second.",
      unit: units.RecordsPerSecond,
      width: 8,
      queries: [
        [rate("retentionRecords", ["topic"]), "{{topic}}"],
        [rate("retentionErrors", ["instance"]), "runs that failed: {{instance}}"],
      ],
      runbook: "StreamHouseRetentionFailing",
    }),
    graph({
      title: "Kept for",
      description: "What each topic is told to keep. Topics that keep everything are not here.",
      unit: units.Seconds,
      width: 8,
      queries: [[max("retentionSeconds", ["topic"]), "{{topic}}"]],
    }),
  ],
};

export const agent: DashboardSpec = {
  name: "agent-and-storage",
  title: "StreamHouse / Agent and storage",
  description: "Leases, writes, flushes, the object store, metadata, reads, retention and merging.",
  found: "activeConnections",
  topics: "recordsWritten",
  rows: [leases, writes, flush, reads, elsewhere, retention, upkeep],
};
