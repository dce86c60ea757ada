/** What agents measure: leases, writes, calls, flushes, and the lag of every group, alive or dead. Part of the catalogue. */
import { BYTES, define, type InstrumentDescriptor, perPartition, SECONDS } from "./instrument.ts";

export type AgentInstrumentKey =
  | "activePartitions"
  | "leaseRenewals"
  | "recordsWritten"
  | "writeLatency"
  | "activeConnections"
  | "grpcRequests"
  | "grpcRequestDuration"
  | "groupLagRecords"
  | "groupLagSeconds"
  | "lagAge"
  | "lagRefreshErrors"
  | "highWatermark"
  | "logStartOffset"
  | "flushDuration"
  | "flushBytes"
  | "storeOperationDuration"
  | "bufferBytes"
  | "fencedWrites";

export const agentInstruments: Readonly<Record<AgentInstrumentKey, InstrumentDescriptor>> = {
  activePartitions: define(
    "gauge",
    "streamhouse.active.partitions",
    "{partition}",
    "Partitions whose lease this agent holds",
    ["topic"],
  ),
  leaseRenewals: define(
    "counter",
    "streamhouse.lease.renewals",
    "{renewal}",
    "Lease renewal attempts: ok, lost, error",
    ["status"],
  ),
  recordsWritten: define(
    "counter",
    "streamhouse.records.written",
    "{record}",
    "Records made durable and committed by this agent",
    ["topic", "partition"],
  ),
  writeLatency: define(
    "histogram",
    "streamhouse.write.latency.seconds",
    "s",
    "From receiving a partition batch to its records being durable",
    ["topic"],
    SECONDS,
  ),
  activeConnections: define(
    "upDownCounter",
    "streamhouse.active.connections",
    "{connection}",
    "Open client connections",
    [],
  ),
  grpcRequests: define(
    "counter",
    "streamhouse.grpc.requests",
    "{request}",
    "gRPC calls and ProduceStream request frames",
    ["method", "status"],
  ),
  grpcRequestDuration: define(
    "histogram",
    "streamhouse.grpc.request.duration.seconds",
    "s",
    "Duration of gRPC calls and ProduceStream request frames",
    ["method"],
    SECONDS,
  ),
  groupLagRecords: perPartition(
    "streamhouse.group.lag.records",
    "{record}",
    "Lag of a group as the partition's lease holder sees it",
    ["topic", "partition", "group_id"],
    "sum",
  ),
  groupLagSeconds: perPartition(
    "streamhouse.group.lag.seconds",
    "s",
    "Age of the first uncommitted record as the lease holder sees it",
    ["topic", "partition", "group_id"],
    "max",
  ),
  lagAge: define("gauge", "streamhouse.lag.age.seconds", "s", "Age of the lag values", []),
  lagRefreshErrors: define(
    "counter",
    "streamhouse.lag.refresh.errors",
    "{error}",
    "Failed refreshes of lag; the old values stay",
    [],
  ),
  highWatermark: perPartition(
    "streamhouse.high_watermark",
    "{offset}",
    "Next offset to be committed",
    ["topic", "partition"],
    "drop",
  ),
  logStartOffset: perPartition(
    "streamhouse.log_start_offset",
    "{offset}",
    "First offset that can be read",
    ["topic", "partition"],
    "drop",
  ),
  flushDuration: define(
    "histogram",
    "streamhouse.flush.duration.seconds",
    "s",
    "From seal to commit of a flush",
    ["outcome"],
    SECONDS,
  ),
  flushBytes: define("histogram", "streamhouse.flush.bytes", "By", "Bytes of a flush", [], BYTES),
  storeOperationDuration: define(
    "histogram",
    "streamhouse.store.operation.duration.seconds",
    "s",
    "Duration of an object-store operation: put, get, head, list, delete; outcome ok or an error code",
    ["operation", "outcome"],
    SECONDS,
  ),
  bufferBytes: define(
    "gauge",
    "streamhouse.agent.buffer.bytes",
    "By",
    "Bytes of accepted batches that are not yet committed",
    [],
  ),
  fencedWrites: define(
    "counter",
    "streamhouse.fenced.writes",
    "{batch}",
    "Batches refused because of a newer lease epoch",
    [],
  ),
};
