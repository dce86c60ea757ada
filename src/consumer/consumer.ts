/**
 * The door that users of a consumer hold. Holds no logic of its own: reading is in `reader.ts`, membership in `group-session.ts`,
 * fetching in `fetch-loop.ts`; `consumer-rooms.ts` joins them. Called by `house.consumer()`.
 */
import type { ClientContext } from "../client/client-context.ts";
import { invalid } from "../core/errors.ts";
import type { ConsumerRecord } from "../core/record.ts";
import type { ConsumedBatch } from "./consumed-batch.ts";
import { ConsumerRooms } from "./consumer-rooms.ts";
import type { AssignedListener, RevokedListener } from "./listeners.ts";
import { EARLIEST, LATEST } from "./offsets.ts";
import { type ConsumerOptions, type PartitionRef, resolveConsumerOptions } from "./options.ts";
import type { Processable } from "./processing.ts";
import type { DeadLetterSource } from "./run-dead-letter.ts";
import type { RunHandler, RunOptions } from "./run-options.ts";

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

/** The lag of one assigned partition. */
export interface PartitionLagEntry extends PartitionRef, ConsumerLag {}

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
  /** Undefined for a consumer of assigned partitions that commits nothing. */
  readonly group: string | undefined;
  /** The consumer's own id in its group: another one after it left because of `maxPollIntervalMs` and joined again. */
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
  /**
   * Runs `fn` for a record inside a CONSUMER span that is linked to the trace which created the record; for what `poll` answered, or
   * for a batch of `batches()`, inside one span that is linked to all of theirs. Answers what `fn` does.
   */
  process<W extends Processable, T>(work: W, fn: (work: W) => T | Promise<T>): Promise<T>;

  /**
   * Calls `handler` for each record, up to `concurrency` at a time, in order for each key (or partition): a record is finished when its
   * handler is. What fails is tried again after a pause, and goes to the dead-letter topic in the end. Only what is finished is
   * committed, and never anything beyond an unfinished record, by auto-commit and at the end. docs/consumer-run.md tells all of it.
   *
   * Resolves when its signal has aborted, or the consumer is being closed, and what was in flight has ended. One run or reader at a time;
   * after it the consumer can be read, or run, again, from the first record that is not finished.
   * @throws what the handler threw, if a record was given up and there is no dead-letter topic; why a dead letter could not be written;
   * StreamHouseError `TOPIC_NOT_FOUND` (the dead-letter topic too), `OFFSET_OUT_OF_RANGE`, `CORRUPT_BATCH`, `CLOSED`, `INVALID_ARGUMENT`
   */
  run(handler: RunHandler, options?: RunOptions): Promise<void>;

  /**
   * Commits everything handed out so far, the record or batch in hand included (while `run` goes on: all that is finished without a gap);
   * or exactly the given offsets.
   * Never moves a committed offset back, unless the consumer was moved back with `seek`.
   * @throws StreamHouseError `INVALID_ARGUMENT` without a group or for offsets not read yet, `GROUP_FENCED` and `UNKNOWN_MEMBER` if the
   * group took the partition away, `GROUP_BUSY` (manual assignment in a group with members), `DEADLINE_EXCEEDED`
   */
  commit(offsets?: readonly CommitOffset[]): Promise<void>;

  /**
   * Stops handing out records of these partitions (default: all assigned). Lag and membership go on; what was fetched ahead
   * is fetched again after `resume`, so that paused partitions take no room from the others.
   */
  pause(partitions?: readonly PartitionRef[]): void;
  /** Goes on with paused partitions where they stopped. Default: all. */
  resume(partitions?: readonly PartitionRef[]): void;
  /** The partitions that are paused now. */
  paused(): readonly PartitionRef[];
  /**
   * The next record of the partition will be the one at `offset`.
   * @throws StreamHouseError `INVALID_ARGUMENT` if the partition is not assigned (with a group: seek in `onAssigned`)
   */
  seek(topic: string, partition: number, offset: number): void;
  /** Goes to the log start of these partitions. Default: all that are assigned. */
  seekToBeginning(partitions?: readonly PartitionRef[]): Promise<void>;
  /** Goes to the high watermark: only what comes later is read. Default: all that are assigned. */
  seekToEnd(partitions?: readonly PartitionRef[]): Promise<void>;
  /** To the first batch with a record of at least this time (ms since 1970), or the end. */
  seekToTimestamp(timestampMs: number, partitions?: readonly PartitionRef[]): Promise<void>;

  /** Offset of the next record that will be handed out; undefined until it is known. */
  position(topic: string, partition: number): number | undefined;
  /** What the group has committed, asked of the agents; undefined if nothing. */
  committed(topic: string, partition: number): Promise<number | undefined>;
  /** The partitions that this consumer has now; none before its first read. */
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

/** What a consumer needs of the wings beside it. */
export interface ConsumerPorts {
  /** Makes what writes to dead-letter topics. Default: `run` refuses them. */
  readonly deadLetters?: DeadLetterSource | undefined;
}

/**
 * Makes a consumer. Nothing is sent before the first `poll`, iteration or question.
 * @throws StreamHouseError `INVALID_ARGUMENT`, `INVALID_TOPIC_NAME`
 */
export function createConsumer(
  context: ClientContext,
  options: ConsumerOptions,
  ports: ConsumerPorts = {},
): Consumer {
  const resolved = resolveConsumerOptions(options);
  return new OpenConsumer(new ConsumerRooms(context, resolved, ports.deadLetters));
}

class OpenConsumer implements Consumer {
  readonly group: string | undefined;
  readonly #rooms: ConsumerRooms;

  constructor(rooms: ConsumerRooms) {
    this.#rooms = rooms;
    this.group = rooms.group;
  }

  get memberId(): string {
    return this.#rooms.memberId;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<ConsumerRecord, undefined> {
    return this.records();
  }

  records(options: ReadOptions = {}): AsyncIterableIterator<ConsumerRecord, undefined> {
    return this.#rooms.records(options.signal);
  }

  batches(options: ReadOptions = {}): AsyncIterableIterator<ConsumedBatch, undefined> {
    return this.#rooms.batches(options.signal);
  }

  get readable(): ReadableStream<ConsumerRecord> {
    return streamOf(this.records());
  }

  poll(timeoutMs: number, options: ReadOptions = {}): Promise<ConsumerRecord[]> {
    if (!(timeoutMs >= 0)) {
      const message = `poll(${timeoutMs}): give the milliseconds to wait, 0 or more`;
      return Promise.reject(invalid("INVALID_ARGUMENT", message, { field: "timeoutMs" }));
    }
    return this.#rooms.poll(timeoutMs, options.signal);
  }

  process<W extends Processable, T>(work: W, fn: (work: W) => T | Promise<T>): Promise<T> {
    return this.#rooms.process(work, fn);
  }

  run(handler: RunHandler, options: RunOptions = {}): Promise<void> {
    return this.#rooms.runner.run(handler, options);
  }

  commit(offsets?: readonly CommitOffset[]): Promise<void> {
    return this.#rooms.commits.commit(offsets);
  }

  pause(partitions?: readonly PartitionRef[]): void {
    this.#rooms.positions.pause(partitions);
  }

  resume(partitions?: readonly PartitionRef[]): void {
    this.#rooms.positions.resume(partitions);
  }

  paused(): readonly PartitionRef[] {
    return [...this.#rooms.assignment.cursors]
      .filter((it) => it.paused)
      .map(({ topic, partition }) => ({ topic, partition }));
  }

  seek(topic: string, partition: number, offset: number): void {
    if (!Number.isSafeInteger(offset) || offset < 0) {
      throw invalid("INVALID_ARGUMENT", `seek to offset ${offset}: use a whole number from 0`, {
        field: "offset",
      });
    }
    this.#rooms.positions.seek([[this.#rooms.assignment.cursor(topic, partition), offset]]);
  }

  seekToBeginning(partitions?: readonly PartitionRef[]): Promise<void> {
    return this.#rooms.positions.seekTo(EARLIEST, partitions);
  }

  seekToEnd(partitions?: readonly PartitionRef[]): Promise<void> {
    return this.#rooms.positions.seekTo(LATEST, partitions);
  }

  seekToTimestamp(timestampMs: number, partitions?: readonly PartitionRef[]): Promise<void> {
    if (!Number.isSafeInteger(timestampMs) || timestampMs < 0) {
      const message = `${timestampMs} is no time: use milliseconds since 1970`;
      return Promise.reject(invalid("INVALID_ARGUMENT", message, { field: "timestampMs" }));
    }
    return this.#rooms.positions.seekTo(timestampMs, partitions);
  }

  position(topic: string, partition: number): number | undefined {
    const cursor = this.#rooms.assignment.find(topic, partition);
    return cursor?.placed ? cursor.position : undefined;
  }

  committed(topic: string, partition: number): Promise<number | undefined> {
    return this.#rooms.questions.committed(topic, partition);
  }

  assignment(): readonly PartitionRef[] {
    return this.#rooms.assignment.owned().map(({ topic, partition }) => ({ topic, partition }));
  }

  onAssigned(listener: AssignedListener): () => void {
    return this.#rooms.listeners.onAssigned(listener);
  }

  onRevoked(listener: RevokedListener): () => void {
    return this.#rooms.listeners.onRevoked(listener);
  }

  lag(topic: string, partition: number): Promise<ConsumerLag> {
    return this.#rooms.questions.lag(topic, partition);
  }

  lags(): Promise<readonly PartitionLagEntry[]> {
    return this.#rooms.questions.lags();
  }

  close(): Promise<void> {
    return this.#rooms.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A record in the stream's own queue would count as handed out before anybody asked for it: the queue holds none. */
function streamOf(records: AsyncIterableIterator<ConsumerRecord>): ReadableStream<ConsumerRecord> {
  return new ReadableStream<ConsumerRecord>(
    {
      async pull(controller) {
        const next = await records.next();
        if (next.done) controller.close();
        else controller.enqueue(next.value);
      },
      async cancel() {
        await records.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}
