/**
 * The agent's conservation laws: what it exports against offsets, chunks, buffers and leases. Each is exact at any moment of
 * JavaScript's single thread, through restarts of runs, fencing and commits of unknown outcome; docs/decisions/0004-self-audit.md
 * says why. Made with the rooms, checked at each collection.
 */
import { Audit, apart, type Exported, type Law, outside } from "../telemetry/audit.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { MetricRegistry } from "../telemetry/cells.ts";
import { seriesPerFamilyMax } from "../telemetry/registry.ts";
import type { Flush, FlushShare } from "./flush.ts";
import type { FlushBuffer } from "./flush-buffer.ts";
import type { Holdings } from "./holdings.ts";
import type { PartitionLags } from "./lag.ts";
import type { LogIndex } from "./log-index.ts";
import type { WriteLedger } from "./write-ledger.ts";

export interface AgentAuditComponents {
  readonly metrics: MetricRegistry;
  readonly ledger: WriteLedger;
  readonly holdings: Holdings;
  readonly buffer: FlushBuffer;
  readonly index: LogIndex;
  readonly lag: { readonly shown: readonly PartitionLags[] };
  /** Flushes whose offsets are provisional. */
  readonly sealed: () => readonly Flush[];
}

export function createAgentAudit(parts: AgentAuditComponents): Audit {
  const { metrics } = parts;
  return new Audit(metrics, (exported) => [
    ...writeLaws(exported, parts),
    ...stateLaws(metrics, parts),
    groupLag(metrics, parts),
    grpcRequests(exported),
  ]);
}

function writeLaws(exported: Exported, parts: AgentAuditComponents): Law[] {
  const { ledger, sealed } = parts;
  const { bytesWritten, flushBytes, flushDuration, recordsWritten, storeBytes } = catalogue;
  const committed = { outcome: "committed" };
  return [
    {
      name: "records_written",
      discrepancy: () =>
        apart(exported.by(recordsWritten, "topic", "value"), ledger.advanced(sealed())),
    },
    {
      name: "bytes_written",
      discrepancy: () => apart(exported.by(bytesWritten, "topic", "value"), ledger.bytes),
    },
    {
      name: "batches_written",
      discrepancy: () =>
        apart(exported.by(catalogue.writeLatency, "topic", "samples"), ledger.batches),
    },
    {
      name: "flushes_committed",
      discrepancy: () =>
        Math.abs(exported.total(flushDuration, "samples", committed) - ledger.flushes) +
        Math.abs(exported.total(flushBytes, "value", committed) - ledger.flushBytes),
    },
    {
      // What is being written may have been counted a turn before the ledger is told, or not yet.
      name: "bytes_stored",
      discrepancy: () =>
        outside(
          exported.total(storeBytes, "value", { operation: "put", outcome: "ok" }),
          ledger.stored,
          ledger.stored + ledger.writing,
        ),
    },
  ];
}

function stateLaws(metrics: MetricRegistry, parts: AgentAuditComponents): Law[] {
  const { buffer, holdings, sealed } = parts;
  return [
    {
      name: "buffer_bytes",
      discrepancy: () => {
        let bytes = buffer.charge;
        for (const { batches } of sealed()) {
          for (const batch of batches) if (!batch.settled) bytes += batch.charge;
        }
        return Math.abs(metrics.gauge(catalogue.bufferBytes).value - bytes);
      },
    },
    {
      name: "active_partitions",
      discrepancy: () => {
        const counted = new Map<string, number>();
        const held = new Map<string, number>();
        for (const { topic } of holdings) {
          held.set(topic, (held.get(topic) ?? 0) + 1);
          counted.set(topic, metrics.gauge(catalogue.activePartitions, { topic }).value);
        }
        return apart(counted, held);
      },
    },
    {
      // Another agent's commits may be ahead of what this one knows of itself, never behind.
      name: "high_watermark",
      discrepancy: () => {
        const provisional = provisionalRecords(sealed());
        let behind = 0;
        for (const hold of holdings) {
          const committed = hold.nextOffset - (provisional.get(hold.key) ?? 0);
          behind += Math.max(0, committed - hold.cells.highWatermark.value);
        }
        return behind;
      },
    },
  ];
}

/** What is exported is what was counted, and no more than what lies behind the group's offset in the log by now. */
function groupLag(metrics: MetricRegistry, { index, lag }: AgentAuditComponents): Law {
  return {
    name: "group_lag",
    discrepancy: () => {
      let series = 0;
      for (const { lags } of lag.shown) series += lags.length;
      // Shown without partitions: there is nothing to compare one by one.
      if (series > seriesPerFamilyMax) return 0;
      let off = 0;
      for (const { lags, topic, topicId, partition } of lag.shown) {
        const end = index.get(topicId, partition)?.highWatermark;
        for (const { group, records, from } of lags) {
          const labels = { topic, partition, group_id: group };
          const shown = metrics.gauge(catalogue.groupLagRecords, labels).value;
          off += Math.abs(shown - records);
          if (end !== undefined) off += Math.max(0, shown - Math.max(0, end - from));
        }
      }
      return off;
    },
  };
}

/** Each unit of work has one request count and one sample. */
function grpcRequests(exported: Exported): Law {
  const { grpcRequestDuration, grpcRequests: requests } = catalogue;
  return {
    name: "grpc_requests",
    discrepancy: () =>
      apart(
        exported.by(requests, "method", "value"),
        exported.by(grpcRequestDuration, "method", "samples"),
      ),
  };
}

function provisionalRecords(sealed: readonly Flush[]): Map<string, number> {
  const records = new Map<string, number>();
  for (const { chunk, shares } of sealed) {
    chunk.entries.forEach(({ recordCount }, i) => {
      const { key } = (shares[i] as FlushShare).partition;
      records.set(key, (records.get(key) ?? 0) + recordCount);
    });
  }
  return records;
}
