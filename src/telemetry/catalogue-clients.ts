/** What producers and consumers measure, in the application's process. Part of the catalogue. */
import {
  BYTES,
  define,
  type InstrumentDescriptor,
  perPartition,
  RECORDS,
  SECONDS,
} from "./instrument.ts";

export type ClientInstrumentKey =
  | "recordsSent"
  | "bytesSent"
  | "sendDuration"
  | "batchFlushDuration"
  | "batchSizeRecords"
  | "batchSizeBytes"
  | "sendErrors"
  | "pendingRecords"
  | "retries"
  | "recordsConsumed"
  | "bytesConsumed"
  | "pollDuration"
  | "consumerLagRecords"
  | "consumerLagSeconds"
  | "lastCommittedOffset"
  | "currentOffset"
  | "consumerLeadRecords"
  | "endToEndLatency"
  | "recordAge"
  | "recordAgeNegative"
  | "rebalances"
  | "rebalanceDuration"
  | "membershipsLost"
  | "fetchDuration"
  | "commitDuration"
  | "bufferedRecords"
  | "bufferedBytes";

export const clientInstruments: Readonly<Record<ClientInstrumentKey, InstrumentDescriptor>> = {
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
  retries: define(
    "counter",
    "streamhouse.client.retries",
    "{retry}",
    "Requests sent again, by error code",
    ["error.type"],
  ),
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
  consumerLeadRecords: perPartition(
    "streamhouse.consumer.lead.records",
    "{record}",
    "Next offset to be read minus log start: how far the consumer is ahead of retention",
    ["topic", "partition", "group_id"],
    "min",
  ),
  endToEndLatency: define(
    "histogram",
    "streamhouse.end_to_end_latency.seconds",
    "s",
    "From the append of a record's batch to its delivery to the application",
    ["topic", "group_id"],
    SECONDS,
  ),
  recordAge: define(
    "histogram",
    "streamhouse.record.age.seconds",
    "s",
    "From a record's own timestamp to its delivery; a timestamp in the future counts as 0",
    ["topic", "group_id"],
    SECONDS,
  ),
  recordAgeNegative: define(
    "counter",
    "streamhouse.record.age.negative",
    "{record}",
    "Records delivered before their own timestamp: clocks differ",
    ["topic", "group_id"],
  ),
  rebalances: define(
    "counter",
    "streamhouse.consumer.rebalances",
    "{rebalance}",
    "Changes of this consumer's assignment",
    ["group_id"],
  ),
  rebalanceDuration: define(
    "histogram",
    "streamhouse.consumer.rebalance.duration.seconds",
    "s",
    "From learning of a new assignment until it is in effect here",
    ["group_id"],
    SECONDS,
  ),
  membershipsLost: define(
    "counter",
    "streamhouse.consumer.memberships.lost",
    "{membership}",
    "Memberships that ended without having been left: no heartbeat was answered in time, the group went on, or the application did not read",
    ["group_id", "reason"],
  ),
  fetchDuration: define(
    "histogram",
    "streamhouse.consumer.fetch.duration.seconds",
    "s",
    "Duration of a fetch, its wait for new records included",
    ["group_id"],
    SECONDS,
  ),
  commitDuration: define(
    "histogram",
    "streamhouse.consumer.commit.duration.seconds",
    "s",
    "Duration of a commit of offsets",
    ["group_id"],
    SECONDS,
  ),
  bufferedRecords: define(
    "upDownCounter",
    "streamhouse.consumer.buffered.records",
    "{record}",
    "Records fetched and not yet handed to the application",
    ["group_id"],
  ),
  bufferedBytes: define(
    "upDownCounter",
    "streamhouse.consumer.buffered.bytes",
    "By",
    "Bytes fetched and not yet handed to the application",
    ["group_id"],
  ),
};
