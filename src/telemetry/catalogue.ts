/**
 * Every instrument, once. docs, dashboards and rules are checked against this list. A name with dots turned into
 * underscores (and `_total` for counters) is the Prometheus name by every route, which is why durations carry
 * `.seconds` themselves.
 */

export type InstrumentKind = "counter" | "upDownCounter" | "gauge" | "histogram";

export interface InstrumentDescriptor {
  readonly name: string;
  readonly kind: InstrumentKind;
  /** UCUM, as OpenTelemetry wants it. */
  readonly unit: string;
  readonly description: string;
  /** Attribute keys; `partition` is on counters only with `telemetry: { partitionLabels: true }`. */
  readonly attributes: readonly string[];
  /** Histograms: upper bounds, ascending. */
  readonly buckets?: readonly number[];
  /**
   * Gauges with `partition`: what a family with too many series shows without that label. A fold into an overflow
   * series would falsify it. `drop`: nothing (a sum of offsets means nothing).
   */
  readonly withoutPartition?: "sum" | "max" | "drop";
  /**
   * Observed as 0 once when the series is released, on the bridge only: the SDK keeps an asynchronous series for
   * ever, and a revoked partition must not look as if it lagged.
   */
  readonly zeroWhenReleased?: boolean;
}

const SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
] as const;
const RECORDS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] as const;
/** 256 B to 16 MiB, times four each. */
const BYTES = [256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216] as const;

function define(
  kind: InstrumentKind,
  name: string,
  unit: string,
  description: string,
  attributes: readonly string[],
  buckets?: readonly number[],
): InstrumentDescriptor {
  return Object.freeze({ name, kind, unit, description, attributes, ...(buckets && { buckets }) });
}

/** A gauge with a `partition` label. */
function perPartition(
  name: string,
  unit: string,
  description: string,
  attributes: readonly string[],
  withoutPartition: "sum" | "max" | "drop",
): InstrumentDescriptor {
  const zeroWhenReleased = withoutPartition !== "drop";
  return Object.freeze({
    ...define("gauge", name, unit, description, attributes),
    withoutPartition,
    zeroWhenReleased,
  });
}

/** Keys of the catalogue. */
export type InstrumentKey =
  | "recordsSent"
  | "bytesSent"
  | "sendDuration"
  | "batchFlushDuration"
  | "batchSizeRecords"
  | "batchSizeBytes"
  | "sendErrors"
  | "pendingRecords"
  | "recordsConsumed"
  | "bytesConsumed"
  | "pollDuration"
  | "consumerLagRecords"
  | "consumerLagSeconds"
  | "lastCommittedOffset"
  | "currentOffset"
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
  | "bufferBytes"
  | "fencedWrites"
  | "retries"
  | "seriesOverflow"
  | "telemetrySeries"
  | "collectErrors"
  | "samplesLost"
  | "spansDropped"
  | "exportFailures"
  | "scrapeDuration";

export const catalogue: Readonly<Record<InstrumentKey, InstrumentDescriptor>> = {
  // Producer
  recordsSent: define(
    "counter",
    "streamhouse.records.sent",
    "{record}",
    "Records acknowledged to this producer",
    ["topic", "partition"],
  ),
  bytesSent: define(
    "counter",
    "streamhouse.bytes.sent",
    "{byte}",
    "Encoded bytes acknowledged to this producer",
    ["topic"],
  ),
  sendDuration: define(
    "histogram",
    "streamhouse.send.duration.seconds",
    "s",
    "From the call of send() to its acknowledgement",
    ["topic"],
    SECONDS,
  ),
  batchFlushDuration: define(
    "histogram",
    "streamhouse.batch.flush.duration.seconds",
    "s",
    "From handing a batch to the network until its answer",
    ["topic"],
    SECONDS,
  ),
  batchSizeRecords: define(
    "histogram",
    "streamhouse.batch.size.records",
    "{record}",
    "Records in a batch",
    ["topic"],
    RECORDS,
  ),
  batchSizeBytes: define(
    "histogram",
    "streamhouse.batch.size.bytes",
    "By",
    "Bytes of a batch on the wire",
    ["topic"],
    BYTES,
  ),
  sendErrors: define(
    "counter",
    "streamhouse.send.errors",
    "{record}",
    "Records that failed for good",
    ["topic", "error.type"],
  ),
  pendingRecords: define(
    "upDownCounter",
    "streamhouse.pending.records",
    "{record}",
    "Records accepted by send(), not yet acknowledged or failed",
    ["topic"],
  ),
  // Consumer
  recordsConsumed: define(
    "counter",
    "streamhouse.records.consumed",
    "{record}",
    "Records handed to the application",
    ["topic", "group_id", "partition"],
  ),
  bytesConsumed: define(
    "counter",
    "streamhouse.bytes.consumed",
    "{byte}",
    "Encoded bytes of the records handed to the application",
    ["topic", "group_id"],
  ),
  pollDuration: define(
    "histogram",
    "streamhouse.poll.duration.seconds",
    "s",
    "Duration of poll()",
    ["group_id"],
    SECONDS,
  ),
  consumerLagRecords: perPartition(
    "streamhouse.consumer.lag.records",
    "{record}",
    "High watermark minus committed offset",
    ["topic", "partition", "group_id"],
    "sum",
  ),
  consumerLagSeconds: perPartition(
    "streamhouse.consumer.lag.seconds",
    "s",
    "Age of the batch that holds the first uncommitted record",
    ["topic", "partition", "group_id"],
    "max",
  ),
  lastCommittedOffset: perPartition(
    "streamhouse.last_committed_offset",
    "{offset}",
    "Last committed offset",
    ["topic", "partition", "group_id"],
    "drop",
  ),
  currentOffset: perPartition(
    "streamhouse.current_offset",
    "{offset}",
    "Next offset the application will be given",
    ["topic", "partition", "group_id"],
    "drop",
  ),
  // Agent
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
  // Beyond the 22: what the agent knows of every group, alive or dead
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
  // Storage
  flushDuration: define(
    "histogram",
    "streamhouse.flush.duration.seconds",
    "s",
    "From seal to commit of a flush",
    ["outcome"],
    SECONDS,
  ),
  flushBytes: define("histogram", "streamhouse.flush.bytes", "By", "Bytes of a flush", [], BYTES),
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
  // Clients
  retries: define(
    "counter",
    "streamhouse.client.retries",
    "{retry}",
    "Requests sent again, by error code",
    ["error.type"],
  ),
  // The telemetry's own health
  seriesOverflow: define(
    "counter",
    "streamhouse.telemetry.series.overflow",
    "{series}",
    "Times a series was folded because its family is full",
    ["family"],
  ),
  telemetrySeries: define(
    "gauge",
    "streamhouse.telemetry.series",
    "{series}",
    "Series at the last collection",
    [],
  ),
  collectErrors: define(
    "counter",
    "streamhouse.telemetry.collect.errors",
    "{error}",
    "Failures while values were collected; the other values are reported",
    [],
  ),
  samplesLost: define(
    "counter",
    "streamhouse.telemetry.samples.lost",
    "{sample}",
    "Histogram samples from before a late MeterProvider, too many to be repeated to it",
    [],
  ),
  spansDropped: define(
    "counter",
    "streamhouse.telemetry.spans.dropped",
    "{span}",
    "Spans that were never exported: the queue was full, or their export failed",
    ["reason"],
  ),
  exportFailures: define(
    "counter",
    "streamhouse.telemetry.export.failures",
    "{export}",
    "Exports that failed for good",
    ["signal"],
  ),
  scrapeDuration: define(
    "histogram",
    "streamhouse.telemetry.scrape.duration.seconds",
    "s",
    "Collecting and writing the metrics for one scrape",
    [],
    SECONDS,
  ),
};
