/** Settings of a consumer: checked, completed and frozen once. Plain data; called by `createConsumer`. */
import { invalid } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { checkTopicName } from "../core/topic.ts";

/** Where to begin in a partition for which the group has no offset, or whose offset is gone. */
export type OffsetReset = "earliest" | "latest" | "error";

/**
 * Which agents a consumer reads from. `holder`: from the one that holds the partition's lease, and from any other only while that one
 * is away: least latency, and mostly from its memory. `any`: each consumer from an agent of its own choice, so that many consumers of
 * one partition spread over all agents; what is new comes up to half a second later (the agent's `followPollMs`; mostly far less), and
 * nothing else changes: order, offsets and guarantees are the same. Kafka calls it fetching from followers (KIP-392).
 */
export type ReadFrom = "holder" | "any";

/** A partition by the topic's name. */
export interface PartitionRef {
  readonly topic: string;
  readonly partition: number;
}

/** A partition to read without a group's assignment, and where to begin. */
export interface ManualPartition extends PartitionRef {
  /** First offset to read. Default: the group's committed offset, if there is a group, otherwise `offsetReset`. */
  readonly offset?: number | undefined;
}

/** Where to begin in a partition: the offset of the first record that is wanted. */
export interface StartOffset extends PartitionRef {
  readonly offset: number;
}

/**
 * Answers where to begin in these partitions. One that is left out begins where it would without the question. `signal` aborts when
 * the answer is not waited for any more.
 */
export type StartOffsets = (
  partitions: readonly PartitionRef[],
  options: { readonly signal: AbortSignal },
) => readonly StartOffset[] | Promise<readonly StartOffset[]>;

/** What a user may set. Either `group` and `topics`, or `assign` (with or without a group for its commits). */
export interface ConsumerOptions {
  /** The group that shares the topics' partitions and keeps the committed offsets. */
  readonly group?: string | undefined;
  /** Topics to subscribe to; they must exist. */
  readonly topics?: readonly string[] | undefined;
  /** Reads exactly these partitions; nobody else's assignment matters. Not together with `topics`. */
  readonly assign?: readonly ManualPartition[] | undefined;
  /**
   * Where to begin without a committed offset, and where to go on when the log no longer has (or has not) the
   * offset. Default `earliest`: a new group sees everything that is there, so that nothing is skipped in silence
   * (Kafka's default is `latest`). `error` raises `OFFSET_OUT_OF_RANGE` and waits for a `seek`.
   */
  readonly offsetReset?: OffsetReset | undefined;
  /** Which agents to read from: the partition's `holder`, or `any`. Default `holder`. */
  readonly readFrom?: ReadFrom | undefined;
  /** First offset to read where the group has committed nothing. Default: what `offsetReset` says. */
  readonly startOffset?: number | undefined;
  /**
   * Asked, and awaited, for where to begin in partitions that this consumer is about to read, before their first record is fetched: for
   * an application that keeps its offsets in the transaction that writes what it made of the records. An offset that it answers goes
   * before the group's. Until it has answered, nothing of these partitions is handed out: what it throws is told to whoever reads, and
   * it is asked again (after `requestTimeoutMs`, if it does not answer; with `assign`, by the next read). Default: nobody is asked.
   */
  readonly startOffsets?: StartOffsets | undefined;
  /** Commits what is finished by itself, if there is a group. Default true. */
  readonly autoCommit?: boolean | undefined;
  /** Milliseconds between automatic commits. Default 5,000. */
  readonly autoCommitIntervalMs?: number | undefined;
  /** Batches fetched ahead of the application, in bytes: fetching stops above it. Default 16 MiB. */
  readonly prefetchBytes?: number | undefined;
  /** An agent answers a fetch as soon as it has this many bytes … Default 1. */
  readonly fetchMinBytes?: number | undefined;
  /** … or after this many milliseconds. Default 500. */
  readonly fetchMaxWaitMs?: number | undefined;
  /** Most bytes that one answer brings for one partition (a first batch always comes whole). Default 1 MiB. */
  readonly fetchPartitionBytes?: number | undefined;
  /** Most records that one `poll()` answers. Default 1,000. */
  readonly maxPollRecords?: number | undefined;
  /** A member that the agents do not hear of for so long is out of its group. Default 10,000. */
  readonly sessionTimeoutMs?: number | undefined;
  /**
   * How long a partition that is being taken away may wait for its record in hand to be finished, committed and told of (`onRevoked`), in
   * milliseconds; the last quarter of it (at most 5 s) is for the commit. A member that has not let go by then is out of its
   * group. From 1,000; default 60,000.
   */
  readonly rebalanceTimeoutMs?: number | undefined;
  /**
   * An application that does not come back to read for so long loses its membership, in milliseconds: its partitions go to others
   * (`onRevoked` with `lost`), and its next read joins anew. Waiting for records counts as reading. Default 300,000.
   */
  readonly maxPollIntervalMs?: number | undefined;
  /**
   * Static membership (KIP-345): a name of this consumer in its group that stays when it restarts. After `close()`, or a crash, the group
   * keeps its partitions for it for `sessionTimeoutMs`, so that a restart moves nothing. Two consumers with one name at a time: the
   * second waits for a session's length, and is refused then with `INSTANCE_ID_IN_USE`. Default: none.
   */
  readonly groupInstanceId?: string | undefined;
  /** Deadline of each call to an agent, in milliseconds (a fetch has `fetchMaxWaitMs` on top). Default 30,000. */
  readonly requestTimeoutMs?: number | undefined;
  /**
   * How long the first contact may fail before iteration or `poll` says so. Default 30,000. Once the consumer has been
   * running it waits for lost agents for ever, and logs.
   */
  readonly connectTimeoutMs?: number | undefined;
  /** Longest that `close()` takes to commit and leave, in milliseconds. Default 5,000. */
  readonly closeTimeoutMs?: number | undefined;
  /** Check each batch's CRC-32C again before decoding. Default true. */
  readonly checkCrcs?: boolean | undefined;
  /** How old the lag gauges may be, ms: they are refreshed twice as often. At most 5,000, the default. */
  readonly lagIntervalMs?: number | undefined;
  /** Shown in group descriptions. Default: the client's. */
  readonly clientId?: string | undefined;
}

/** All of it, with the defaults in place. */
export interface ResolvedConsumerOptions {
  readonly group: string | undefined;
  readonly topics: readonly string[];
  /** Undefined: the group assigns. */
  readonly assign: readonly ManualPartition[] | undefined;
  readonly offsetReset: OffsetReset;
  readonly readFrom: ReadFrom;
  readonly startOffset: number | undefined;
  readonly startOffsets: StartOffsets | undefined;
  /** False without a group. */
  readonly autoCommit: boolean;
  readonly autoCommitIntervalMs: number;
  readonly prefetchBytes: number;
  readonly fetchMinBytes: number;
  readonly fetchMaxWaitMs: number;
  readonly fetchPartitionBytes: number;
  readonly maxPollRecords: number;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly maxPollIntervalMs: number;
  readonly groupInstanceId: string | undefined;
  readonly requestTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly closeTimeoutMs: number;
  readonly checkCrcs: boolean;
  readonly lagIntervalMs: number;
  readonly clientId: string | undefined;
}

/** Lag that is older than this says too little. */
const LAG_MS_MAX = 5_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
/** Names in one subscription: bounds a heartbeat. */
const TOPICS_MAX = 1_000;

/**
 * Checks and completes the options.
 * @throws StreamHouseError `INVALID_ARGUMENT` or `INVALID_TOPIC_NAME`, with `field` naming the option
 */
export function resolveConsumerOptions(options: ConsumerOptions): ResolvedConsumerOptions {
  const { group, assign } = options;
  const topics = [...new Set(options.topics ?? [])];
  checkGroup(group);
  checkSubscription(group, topics, assign);
  const number = (field: NumberField, fallback: number, min: number, max: number): number =>
    checkNumber(field, options[field] ?? fallback, min, max);
  return Object.freeze({
    group,
    topics: Object.freeze(topics),
    assign: assign && Object.freeze(assign.map((p) => Object.freeze({ ...p }))),
    offsetReset: checkReset(options.offsetReset ?? "earliest"),
    readFrom: checkReadFrom(options.readFrom ?? "holder"),
    startOffset:
      options.startOffset === undefined ? undefined : number("startOffset", 0, 0, limits.offsetMax),
    startOffsets: options.startOffsets,
    autoCommit: group !== undefined && (options.autoCommit ?? true),
    autoCommitIntervalMs: number("autoCommitIntervalMs", 5_000, 1, DAY_MS),
    prefetchBytes: number("prefetchBytes", 16_777_216, 1, 1_073_741_824),
    fetchMinBytes: number("fetchMinBytes", 1, 1, limits.requestBytesMax),
    fetchMaxWaitMs: number("fetchMaxWaitMs", 500, 0, limits.fetchWaitMsMax),
    fetchPartitionBytes: number("fetchPartitionBytes", 1_048_576, 1, limits.requestBytesMax),
    maxPollRecords: number("maxPollRecords", 1_000, 1, limits.recordsPerBatchMax),
    sessionTimeoutMs: number("sessionTimeoutMs", 10_000, 1_000, 300_000),
    rebalanceTimeoutMs: number("rebalanceTimeoutMs", 60_000, 1_000, HOUR_MS),
    maxPollIntervalMs: number("maxPollIntervalMs", 300_000, 1, DAY_MS),
    groupInstanceId: checkInstanceId(options.groupInstanceId, options.assign),
    requestTimeoutMs: number("requestTimeoutMs", 30_000, 1, DAY_MS),
    connectTimeoutMs: number("connectTimeoutMs", 30_000, 0, DAY_MS),
    closeTimeoutMs: number("closeTimeoutMs", 5_000, 1, DAY_MS),
    checkCrcs: options.checkCrcs ?? true,
    lagIntervalMs: number("lagIntervalMs", LAG_MS_MAX, 1, LAG_MS_MAX),
    clientId: options.clientId,
  });
}

type NumberField = {
  [K in keyof ConsumerOptions]-?: number extends ConsumerOptions[K] ? K : never;
}[keyof ConsumerOptions];

function checkNumber(field: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw invalid(
    "INVALID_ARGUMENT",
    `consumer option ${field} is ${value}: use an integer from ${min} to ${max}`,
    { field },
  );
}

function checkReset(value: OffsetReset): OffsetReset {
  if (value === "earliest" || value === "latest" || value === "error") return value;
  throw invalid(
    "INVALID_ARGUMENT",
    `consumer option offsetReset is ${JSON.stringify(value)}: use earliest, latest or error`,
    { field: "offsetReset" },
  );
}

function checkReadFrom(value: ReadFrom): ReadFrom {
  if (value === "holder" || value === "any") return value;
  throw invalid(
    "INVALID_ARGUMENT",
    `consumer option readFrom is ${JSON.stringify(value)}: use holder or any`,
    { field: "readFrom" },
  );
}

function checkGroup(group: string | undefined): void {
  if (group === undefined) return;
  if (group.length >= 1 && group.length <= limits.groupNameCharactersMax) return;
  throw invalid(
    "INVALID_ARGUMENT",
    `consumer group name has ${group.length} characters: use 1 to ${limits.groupNameCharactersMax}`,
    { field: "group" },
  );
}

function checkInstanceId(
  id: string | undefined,
  assign: readonly ManualPartition[] | undefined,
): string | undefined {
  if (id === undefined) return undefined;
  const most = limits.groupNameCharactersMax;
  const problem =
    assign !== undefined
      ? "is for members of a group: it does not go together with assign"
      : id.length < 1 || id.length > most
        ? `has ${id.length} characters: use 1 to ${most}`
        : undefined;
  if (problem === undefined) return id;
  throw invalid("INVALID_ARGUMENT", `consumer option groupInstanceId ${problem}`, {
    field: "groupInstanceId",
  });
}

function checkSubscription(
  group: string | undefined,
  topics: readonly string[],
  assign: readonly ManualPartition[] | undefined,
): void {
  const refuse = (field: string, message: string) => {
    throw invalid("INVALID_ARGUMENT", message, { field });
  };
  if (assign !== undefined) {
    if (topics.length > 0) refuse("assign", "a consumer takes topics or assign, not both");
    checkAssign(assign);
    return;
  }
  if (topics.length === 0) {
    refuse("topics", "a consumer needs topics (with a group), or partitions to assign");
  }
  if (topics.length > TOPICS_MAX) {
    refuse("topics", `a consumer subscribes to at most ${TOPICS_MAX} topics, not ${topics.length}`);
  }
  if (group === undefined) {
    refuse("group", "a consumer that subscribes to topics needs a group; without one use assign");
  }
  for (const name of topics) checkTopicName(name);
}

function checkAssign(assign: readonly ManualPartition[]): void {
  const most = limits.partitionsPerRequestMax;
  if (assign.length === 0 || assign.length > most) {
    throw invalid(
      "INVALID_ARGUMENT",
      `consumer option assign has ${assign.length} partitions: use 1 to ${most}`,
      { field: "assign" },
    );
  }
  const seen = new Set<string>();
  for (const [i, { topic, partition, offset }] of assign.entries()) {
    checkTopicName(topic);
    checkNumber(`assign[${i}].partition`, partition, 0, limits.partitionsPerTopicMax - 1);
    if (offset !== undefined) {
      checkNumber(`assign[${i}].offset`, offset, 0, limits.offsetMax);
    }
    if (seen.size === seen.add(`${topic}/${partition}`).size) {
      throw invalid(
        "INVALID_ARGUMENT",
        `consumer option assign names ${topic}/${partition} twice`,
        {
          field: `assign[${i}]`,
        },
      );
    }
  }
}
