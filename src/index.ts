/** `@streamhouse/streamhouse`: connect to agents, send records and read them. */
export type {
  Admin,
  AdminCallOptions,
  AgentDescription,
  AgentLoadDescription,
  ApiKeyDescription,
  ClusterDescription,
  CommittedOffset,
  CreatedApiKey,
  CreateKeyOptions,
  CreateTopicOptions,
  GroupDescription,
  GroupListing,
  GroupPhase,
  KeysAdmin,
  LeaseDescription,
  MemberDescription,
  MemberPartitionDescription,
  OffsetPosition,
  PartitionDescription,
  PartitionLagDescription,
  PartitionOffset,
  TopicChanges,
  TopicDescription,
} from "./client/admin-api.ts";
export type { ApiKey } from "./client/api-key.ts";
export type { ConsumedBatch } from "./consumer/consumed-batch.ts";
export type {
  CommitOffset,
  Consumer,
  ConsumerLag,
  PartitionLagEntry,
  ReadOptions,
} from "./consumer/consumer.ts";
export type { AssignedListener, RevocationInfo, RevokedListener } from "./consumer/listeners.ts";
export type {
  ConsumerOptions,
  ManualPartition,
  OffsetReset,
  PartitionRef,
  ReadFrom,
  StartOffset,
  StartOffsets,
} from "./consumer/options.ts";
export type { Processable } from "./consumer/processing.ts";
export { deadLetterHeaders } from "./consumer/run-dead-letter.ts";
export type {
  RetryOptions,
  RunContext,
  RunHandler,
  RunOptions,
  RunOrder,
} from "./consumer/run-options.ts";
export { RetryLater } from "./consumer/run-retry-later.ts";
export type { AccessAction, AccessRight } from "./core/access.ts";
export {
  type ErrorCode,
  type ErrorKind,
  type ErrorOutcome,
  type OffsetRange,
  StreamHouseError,
} from "./core/errors.ts";
export { limits } from "./core/limits.ts";
export type { LogFields, Logger } from "./core/logger.ts";
export {
  type BytesLike,
  ConsumerRecord,
  type HeadersInput,
  type ProducerRecord,
  type RecordHeader,
  type RecordPosition,
} from "./core/record.ts";
export type { Topic } from "./core/topic.ts";
export { version } from "./core/version.ts";
export type { Compression } from "./format/compression.ts";
export { type ConnectOptions, connect } from "./house/connect.ts";
export type { House } from "./house/house.ts";
export type {
  SchemaInput,
  SchemaOutput,
  StandardSchema,
  StandardSchemaIssue,
  StandardSchemaProps,
  StandardSchemaResult,
} from "./house/standard-schema.ts";
export type {
  Serializer,
  TopicOptions,
  TypedConsumer,
  TypedProducer,
  TypedRecord,
  TypedRunHandler,
  TypedSendOptions,
  TypedTopic,
} from "./house/typed-topic.ts";
export type { Acks, ProducerOptions } from "./producer/options.ts";
export { type Partitioner, partitionForKey } from "./producer/partitioner.ts";
export type {
  CloseOptions,
  Producer,
  SendBatch,
  SendOptions,
  SendRecord,
} from "./producer/producer.ts";
export {
  BatchSendError,
  type BatchSendResult,
  type FailedRecords,
  type SendResult,
  type SentRange,
} from "./producer/send-result.ts";
export type { ClientTls } from "./rpc/tls-options.ts";
export type { TelemetryOptions } from "./telemetry/telemetry.ts";
