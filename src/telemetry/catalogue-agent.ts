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
  | "fencedWrites"
  | "bytesWritten"
  | "bytesFetched"
  | "bytesFetchedUnheld"
  | "indexRefreshes"
  | "storeBytes"
  | "storeRetries"
  | "storeHedges"
  | "metadataOperationDuration"
  | "cacheHits"
  | "cacheMisses"
  | "cacheEvictions"
  | "cacheBytes"
  | "retentionSeconds"
  | "retentionRecords"
  | "retentionErrors"
  | "groupsExpired"
  | "groupLeadRecords"
  | "groupLostRecords"
  | "groupMembers"
  | "groupLastCommit"
  | "accessRefused"
  | "auditDiscrepancy";

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
  lagAge: define(
    "gauge",
    "streamhouse.lag.age.seconds",
    "s",
    "Age of the lag values: without group_id of those that the agent exports, with it of that group's consumers'",
    ["group_id"],
  ),
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
    "From seal to the end of a flush: committed, failed, refused, swept, unknown or undone",
    ["outcome"],
    SECONDS,
  ),
  flushBytes: define(
    "histogram",
    "streamhouse.flush.bytes",
    "By",
    "Bytes of a flush, whatever became of it",
    ["outcome"],
    BYTES,
  ),
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
    "Batches that were accepted and refused, because another run had the lease or it had run out",
    [],
  ),
  bytesWritten: define(
    "counter",
    "streamhouse.bytes.written",
    "{byte}",
    "Bytes of the batches made durable and committed by this agent",
    ["topic"],
  ),
  bytesFetched: define(
    "counter",
    "streamhouse.bytes.fetched",
    "{byte}",
    "Bytes of the batches that fetches were answered with",
    ["topic"],
  ),
  bytesFetchedUnheld: define(
    "counter",
    "streamhouse.bytes.fetched.unheld",
    "{byte}",
    "Of streamhouse.bytes.fetched, what was read of partitions whose lease another agent holds",
    ["topic"],
  ),
  indexRefreshes: define(
    "counter",
    "streamhouse.index.refreshes",
    "{refresh}",
    "Times that metadata was asked what other agents committed, for readers that waited: ok, or the error's code",
    ["outcome"],
  ),
  storeBytes: define(
    "counter",
    "streamhouse.store.bytes",
    "{byte}",
    "Bytes moved by object-store operations: put, get; outcome ok or an error code",
    ["operation", "outcome"],
  ),
  storeRetries: define(
    "counter",
    "streamhouse.store.retries",
    "{retry}",
    "Attempts of object-store operations after one that failed with the error code of the outcome label",
    ["operation", "outcome"],
  ),
  storeHedges: define(
    "counter",
    "streamhouse.store.hedges",
    "{put}",
    "Second writes of a chunk whose first one was slow; outcome: which of the two was there first, or failed",
    ["outcome"],
  ),
  metadataOperationDuration: define(
    "histogram",
    "streamhouse.metadata.operation.duration.seconds",
    "s",
    "Duration of a metadata operation; outcome ok or an error code",
    ["operation", "outcome"],
    SECONDS,
  ),
  cacheHits: define("counter", "streamhouse.cache.hits", "{read}", "Reads that a cache answered", [
    "cache",
  ]),
  cacheMisses: define(
    "counter",
    "streamhouse.cache.misses",
    "{read}",
    "Reads that a cache could not answer",
    ["cache"],
  ),
  cacheEvictions: define(
    "counter",
    "streamhouse.cache.evictions",
    "{entry}",
    "Entries that a cache let go to make room",
    ["cache"],
  ),
  cacheBytes: define("gauge", "streamhouse.cache.bytes", "{byte}", "Memory that a cache keeps", [
    "cache",
  ]),
  retentionSeconds: define(
    "gauge",
    "streamhouse.retention.seconds",
    "s",
    "How long the topic keeps its records; no series where it keeps them for ever",
    ["topic"],
  ),
  retentionRecords: define(
    "counter",
    "streamhouse.retention.records",
    "{record}",
    "Records that retention took from the log",
    ["topic"],
  ),
  retentionErrors: define(
    "counter",
    "streamhouse.retention.errors",
    "{error}",
    "Retention runs that failed; the next one tries again",
    [],
  ),
  groupsExpired: define(
    "counter",
    "streamhouse.groups.expired",
    "{group}",
    "Consumer groups that this agent forgot, with their offsets, because nobody had used them for long",
    [],
  ),
  groupLeadRecords: perPartition(
    "streamhouse.group.lead.records",
    "{record}",
    "Committed offset minus log start: read records that retention takes before it takes unread ones",
    ["topic", "partition", "group_id"],
    "min",
  ),
  groupLostRecords: perPartition(
    "streamhouse.group.lost.records",
    "{record}",
    "Records that retention took before the group read them",
    ["topic", "partition", "group_id"],
    "sum",
  ),
  groupMembers: Object.freeze({
    ...define(
      "gauge",
      "streamhouse.group.members",
      "{member}",
      "Members of a group whose sessions are alive; 0 for a dead group",
      ["group_id"],
    ),
    // Another agent counts them from then on, and readers add up.
    zeroWhenReleased: true,
  }),
  groupLastCommit: perPartition(
    "streamhouse.group.last_commit_timestamp.seconds",
    "s",
    "When the group last committed an offset of the partition, in seconds since 1970",
    ["topic", "partition", "group_id"],
    "max",
    false,
  ),
  // Added up over the components of a process: of a gauge only the last one's would be seen.
  accessRefused: define(
    "counter",
    "streamhouse.access.refused",
    "{call}",
    "Calls and ProduceStream frames refused for their API key: missing, malformed, unknown, expired, denied, unavailable",
    ["reason"],
  ),
  auditDiscrepancy: define(
    "upDownCounter",
    "streamhouse.audit.discrepancy",
    "1",
    "How far two counts that must be equal are apart, by law; 0 when the telemetry is right",
    ["law"],
  ),
};
