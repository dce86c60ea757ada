/** What applications see of sending: throughput, how long a send takes and where, batching, errors. */
import * as units from "@grafana/grafana-foundation-sdk/units";
import type { DashboardSpec, Row } from "./dashboard.ts";
import { graph, heatmap, stat } from "./panels.ts";
import { buckets, mean, quantile, rate, sum } from "./promql.ts";

const throughput: Row = {
  title: "Throughput and errors",
  panels: [
    stat({
      title: "Records sent",
      description: "Acknowledged, over all chosen producers.",
      unit: units.RecordsPerSecond,
      queries: [[rate("recordsSent", []), "sent"]],
    }),
    stat({
      title: "Bytes sent",
      description: "Encoded and, where set, compressed.",
      unit: units.BytesPerSecondIEC,
      queries: [[rate("bytesSent", []), "sent"]],
    }),
    stat({
      title: "Waiting for an answer",
      description: "Accepted by send() and not settled. Rising without end: the agents are slower.",
      unit: units.Short,
      queries: [[sum("pendingRecords", []), "pending"]],
    }),
    stat({
      title: "Records that failed",
      description: "After all retries, or refused. docs/errors.md explains each code.",
      unit: units.RecordsPerSecond,
      queries: [[`${rate("sendErrors", [])} or vector(0)`, "failed"]],
      thresholds: [0.001, 1],
      runbook: "StreamHouseSendErrors",
    }),
    stat({
      title: "Send p99",
      description: "From send() to its acknowledgement, linger included.",
      unit: units.Seconds,
      queries: [[quantile(0.99, "sendDuration"), "p99"]],
      thresholds: [0.25, 1],
    }),
    stat({
      title: "Records in a batch",
      description: "Mean. One: raise lingerMs, or use sendBatch().",
      unit: units.Short,
      queries: [[mean("batchSizeRecords"), "mean"]],
    }),
    graph({
      title: "Records sent, by topic",
      description: "Acknowledged records. A gap with records pending: no agent answers.",
      unit: units.RecordsPerSecond,
      stacked: true,
      queries: [[rate("recordsSent", ["topic"]), "{{topic}}"]],
    }),
    graph({
      title: "Bytes sent, by topic",
      description: "Encoded bytes of acknowledged records.",
      unit: units.BytesPerSecondIEC,
      stacked: true,
      queries: [[rate("bytesSent", ["topic"]), "{{topic}}"]],
    }),
    graph({
      title: "Records that failed, by error",
      description: "Each was reported to its sender exactly once. docs/errors.md has every code.",
      unit: units.RecordsPerSecond,
      queries: [[rate("sendErrors", ["topic", "error_type"]), "{{topic}} {{error_type}}"]],
      runbook: "StreamHouseSendErrors",
    }),
    graph({
      title: "Retries, by reason",
      description:
        "Requests sent again; no errors yet. NOT_LEASE_HOLDER comes with each move of a lease, OVERLOADED says that agents are full.",
      unit: units.OpsPerSecond,
      queries: [[rate("retries", ["error_type"]), "{{error_type}}"]],
      runbook: "StreamHouseRequestErrors",
    }),
  ],
};

const latency: Row = {
  title: "Latency",
  panels: [
    graph({
      title: "Send duration",
      description:
        "One sample for each send(): linger, queue, network, flush. The dots lead to traces.",
      unit: units.Seconds,
      queries: [
        [quantile(0.5, "sendDuration"), "p50"],
        [quantile(0.95, "sendDuration"), "p95"],
        [quantile(0.99, "sendDuration"), "p99"],
      ],
      runbook: "StreamHouseWriteLatencyHigh",
    }),
    heatmap({
      title: "Send duration, all of it",
      description: "Two bands: two kinds of topics or agents. A band at the linger is normal.",
      unit: units.Seconds,
      queries: [[buckets("sendDuration"), "{{le}}"]],
    }),
    graph({
      title: "Batch to answer, p99 by topic",
      description:
        "Network and agent, without linger and queue. Send much longer than this: the producer's own queue (maxInFlight, buffer).",
      unit: units.Seconds,
      queries: [[quantile(0.99, "batchFlushDuration", ["topic"]), "{{topic}}"]],
      runbook: "StreamHouseWriteLatencyHigh",
    }),
    graph({
      title: "Waiting for an answer, by topic",
      description: "Pending records. At the buffer's limit send() waits for room.",
      unit: units.Short,
      queries: [[sum("pendingRecords", ["topic"]), "{{topic}}"]],
    }),
  ],
};

const batching: Row = {
  title: "Batching",
  panels: [
    graph({
      title: "Records in a batch",
      description:
        "Small batches cost the most. Raise lingerMs or batchBytes if p50 is 1 at high load.",
      unit: units.Short,
      queries: [
        [quantile(0.5, "batchSizeRecords"), "p50"],
        [quantile(0.99, "batchSizeRecords"), "p99"],
      ],
    }),
    graph({
      title: "Bytes of a batch, mean by topic",
      description: "Near batchBytes: batches leave because they are full, not because of linger.",
      unit: units.BytesIEC,
      queries: [[mean("batchSizeBytes", ["topic"]), "{{topic}}"]],
    }),
    heatmap({
      title: "Records in a batch, all of them",
      description: "Where most batches are.",
      unit: units.Short,
      queries: [[buckets("batchSizeRecords"), "{{le}}"]],
    }),
    heatmap({
      title: "Bytes of a batch, all of them",
      description: "Where most batches are.",
      unit: units.BytesIEC,
      queries: [[buckets("batchSizeBytes"), "{{le}}"]],
    }),
  ],
};

export const producer: DashboardSpec = {
  name: "producer",
  title: "StreamHouse / Producers",
  description: "Sending, as the applications see it.",
  found: "recordsSent",
  topics: "recordsSent",
  rows: [throughput, latency, batching],
};
