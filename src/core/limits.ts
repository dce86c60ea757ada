/**
 * Every limit of the system, with unit and reason. Settings may lower some of them; nothing raises them.
 * The relations that other rooms rely on are asserted by test/unit/core/limits.test.ts.
 */

/** The limits, by name; the unit is the end of the name. */
export const limits = {
  /** One record, encoded: as Kafka's default `max.message.bytes`. */
  recordBytesMax: 1_048_576,
  /** One batch on the wire: a full record and its framing fit. */
  batchBytesMax: 1_114_112,
  /** All batches of one request or one fetch answer: bounds the memory that one call can take. */
  requestBytesMax: 8_388_608,
  /** One gRPC message: a full request and its framing. The same on both ends (grpc's own default is 4 MiB). */
  messageBytesMax: 8_454_144,
  /** HTTP/2 window of streams and connections: 64 KiB, the default, costs a factor of three at 1 MiB messages. */
  http2WindowBytes: 8_388_608,
  /** Batches in one Produce request. */
  batchesPerRequestMax: 1_000,
  /** Partitions in one Fetch, ListOffsets or CommitOffsets request. */
  partitionsPerRequestMax: 10_000,
  /** Headers of one record: decoding stays bounded. */
  headersPerRecordMax: 1_000,
  headerKeyBytesMax: 1_024,
  /** Records in one batch: the decoder allocates by the header's count. */
  recordsPerBatchMax: 1_000_000,
  /** A batch after decompression, against compression bombs. */
  decompressedBytesMax: 67_108_864,
  /** Topic names: Kafka's rule, so that names can be carried over. */
  topicNameCharactersMax: 249,
  topicsMax: 10_000,
  partitionsPerTopicMax: 10_000,
  groupNameCharactersMax: 249,
  /** Free text with a committed offset. */
  commitMetadataBytesMax: 4_096,
  /** Ids known for one partition; the longest unused is dropped first. */
  producersPerPartitionMax: 1_000,
  /** Sequences remembered for each producer and partition: Kafka's five, which bounds requests in flight. */
  sequencesRememberedPerProducer: 5,
  /** A producer id is forgotten this long after its last write. */
  producerIdExpiryMs: 86_400_000,
  /** Calls of one producer that wait for room in its buffer (or for their topic): more are refused. */
  waitingSendsMax: 1_000_000,
  /** Members of one group. */
  membersPerGroupMax: 1_000,
  groupsMax: 10_000,
  /** Requests of one connection that are being worked on. */
  inFlightPerConnectionMax: 256,
  /** Connections of one agent. */
  connectionsMax: 10_000,
  /** Fetches that wait at one agent. */
  waitingFetchesMax: 10_000,
  /** Longest long poll. */
  fetchWaitMsMax: 60_000,
  /** A folder's chunk file is rolled beyond this. */
  segmentFileBytesMax: 67_108_864,
  /** Bytes of accepted batches that wait for a flush in one agent (back-pressure above it). */
  agentBufferBytesMax: 134_217_728,
  /** API keys of a cluster, the expired ones with them: every agent has them all in memory. */
  apiKeysMax: 1_000,
  keyNameCharactersMax: 100,
  /** Rights of one key: each call looks through them. */
  rightsPerKeyMax: 64,
  /** Ten years. Who wants longer leaves the expiry out. */
  keyLifeMsMax: 315_360_000_000,
  /** Kafka offsets are int64; JavaScript's numbers are exact below this. */
  offsetMax: 9_007_199_254_740_991,
} as const;
