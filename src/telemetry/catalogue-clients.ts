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
  | "currentOffset";

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
};
