/**
 * The door that users of a consumer hold, and how one is composed from its rooms. Holds no logic of its own: reading is in
 * `delivery.ts`, membership in `group-session.ts`, fetching in `fetch-loop.ts`. Called by `house.consumer()`.
 */
import type { ClientContext } from "../client/client-context.ts";
import type { ConsumerRecord } from "../core/record.ts";
import type { ConsumerOptions, PartitionRef } from "./options.ts";

/** Ends a wait or an iteration early: it rejects with `ABORTED`. */
export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
}

/** An offset to commit: that of the next record to read. */
export interface CommitOffset extends PartitionRef {
  readonly offset: number;
}

/** How far a group is behind. */
export interface ConsumerLag {
  /** High watermark minus committed offset (minus the position, without a group), never negative. */
  readonly records: number;
  /** Age of the first record not yet committed, by the agents' clock; 0 exactly when `records` is 0. */
  readonly seconds: number;
}

export interface PartitionLagEntry extends PartitionRef, ConsumerLag {}

/** One batch as it was produced, from the consumer's position on. Records are decoded when they are asked for. */
export interface ConsumedBatch extends Iterable<ConsumerRecord>, PartitionRef {
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly count: number;
  /** When the agent appended it, ms since 1970 by the agent's clock. */
  readonly appendTimestamp: number;
  /** The same records as iterating over the batch. @throws StreamHouseError `CORRUPT_BATCH` while iterating */
  readonly records: Iterable<ConsumerRecord>;
  /**
   * Commits `lastOffset + 1`, and with it everything before. Does nothing if the group has already committed beyond.
   * @throws StreamHouseError `GROUP_FENCED` if the partition was taken away, and as `Consumer.commit`
   */
  commit(): Promise<void>;
}

/** `lost`: the group took the partitions without waiting (the session had ended); nothing of them can be committed. */
export interface RevocationInfo {
  readonly lost: boolean;
}

export type AssignedListener = (partitions: readonly PartitionRef[]) => void | Promise<void>;
export type RevokedListener = (
  partitions: readonly PartitionRef[],
  info: RevocationInfo,
) => void | Promise<void>;

/**
 * Reads records in order, partition by partition. Starts with the first `poll` or iteration; one of them at a time.
 *
 * A record is **finished** when the next one is asked for, a batch when the next batch is, all of a `poll` at the next
 * `poll`; or when `commit()` was called. Only finished records are committed by themselves. Leaving a loop by `break` or a
 * throw leaves the record in hand unfinished: the next iteration, or the next consumer of the group, begins with it.
 *
 * Errors come out of `poll` and iteration and leave the consumer usable: iterate again to go on.
 */
export interface Consumer extends AsyncIterable<ConsumerRecord>, AsyncDisposable {
  readonly group: string | undefined;
  /** The consumer's own id in its group. */
  readonly memberId: string;

  /** Record by record. */
  [Symbol.asyncIterator](): AsyncIterableIterator<ConsumerRecord, undefined>;
  /** The same, with a signal. */
  records(options?: ReadOptions): AsyncIterableIterator<ConsumerRecord, undefined>;
  /** Batch by batch, for handlers that work in bulk. */
  batches(options?: ReadOptions): AsyncIterableIterator<ConsumedBatch, undefined>;
  /** The records as a stream that takes each one only when its reader asks for it. A new stream at each access. */
  readonly readable: ReadableStream<ConsumerRecord>;
  /**
   * What is there, at most `maxPollRecords`, waiting up to `timeoutMs` for the first; empty if none came.
   * @throws StreamHouseError `TOPIC_NOT_FOUND`, `OFFSET_OUT_OF_RANGE`, `CORRUPT_BATCH`, `ABORTED`, `CLOSED`, `INVALID_ARGUMENT` while
   * another iteration runs
   */
  poll(timeoutMs: number, options?: ReadOptions): Promise<ConsumerRecord[]>;
  /** Runs `fn` for a record inside a CONSUMER span that is linked to the record's own trace. */
  process<T>(record: ConsumerRecord, fn: (record: ConsumerRecord) => T | Promise<T>): Promise<T>;

  /**
   * Commits everything handed out so far, the record or batch in hand included; or exactly the given offsets.
   * Never moves a committed offset back, unless the consumer was moved back with `seek`.
   * @throws StreamHouseError `INVALID_ARGUMENT` without a group or for offsets not read yet, `GROUP_FENCED` and `UNKNOWN_MEMBER` if the
   * group took the partition away, `GROUP_BUSY` (manual assignment in a group with members), `DEADLINE_EXCEEDED`
   */
  commit(offsets?: readonly CommitOffset[]): Promise<void>;

  /** Stops handing out records of these partitions (default: all assigned). Lag and membership go on. */
  pause(partitions?: readonly PartitionRef[]): void;
  resume(partitions?: readonly PartitionRef[]): void;
  paused(): readonly PartitionRef[];
  /**
   * The next record of the partition will be the one at `offset`.
   * @throws StreamHouseError `INVALID_ARGUMENT` if the partition is not assigned (with a group: seek in `onAssigned`)
   */
  seek(topic: string, partition: number, offset: number): void;
  seekToBeginning(partitions?: readonly PartitionRef[]): Promise<void>;
  seekToEnd(partitions?: readonly PartitionRef[]): Promise<void>;
  /** To the first batch with a record of at least this time (ms since 1970), or the end. */
  seekToTimestamp(timestampMs: number, partitions?: readonly PartitionRef[]): Promise<void>;

  /** Offset of the next record that will be handed out; undefined until it is known. */
  position(topic: string, partition: number): number | undefined;
  /** What the group has committed, asked of the agents; undefined if nothing. */
  committed(topic: string, partition: number): Promise<number | undefined>;
  assignment(): readonly PartitionRef[];
  /** Called, and awaited, before the first record of new partitions: the place to `seek`. Answers how to unsubscribe. */
  onAssigned(listener: AssignedListener): () => void;
  /** Called, and awaited, after the last record of these partitions was finished and committed. */
  onRevoked(listener: RevokedListener): () => void;

  /** Lag of one partition, asked of the agents now. @throws StreamHouseError `TOPIC_NOT_FOUND`, `PARTITION_OUT_OF_RANGE` */
  lag(topic: string, partition: number): Promise<ConsumerLag>;
  /** Lag of all assigned partitions. */
  lags(): Promise<readonly PartitionLagEntry[]>;

  /**
   * Commits what is finished (with `autoCommit`), leaves the group, ends iteration. Within `closeTimeoutMs`; may be called again.
   */
  close(): Promise<void>;
}

/**
 * Makes a consumer. Nothing is sent before the first `poll`, iteration or question.
 * @throws StreamHouseError `INVALID_ARGUMENT`, `INVALID_TOPIC_NAME`
 */
export function createConsumer(context: ClientContext, options: ConsumerOptions): Consumer {
  throw new Error(`not yet: ${context.clientId} ${options.group}`);
}
