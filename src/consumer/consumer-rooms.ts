/**
 * The rooms of one consumer, joined: session, assignment, fetch loop, reader, committer, lag. Started by the first read, ended once by
 * `close`. Only the consumer holds it.
 */
import type { ClientContext } from "../client/client-context.ts";
import { asStreamHouseError, closed, invalid, type StreamHouseError } from "../core/errors.ts";
import { createUuid } from "../core/ids.ts";
import type { ConsumerRecord } from "../core/record.ts";
import { checkPartition, partitionKey } from "../core/topic.ts";
import { endSpan, startProcessSpan, startReceiveSpan, withSpan } from "../telemetry/spans.ts";
import { createTelemetry, type Telemetry } from "../telemetry/telemetry.ts";
import { Assignment } from "./assignment.ts";
import { type CommitPoint, Committer } from "./committer.ts";
import { type ConsumedBatch, iterateBatches } from "./consumed-batch.ts";
import type { Cursor } from "./cursor.ts";
import { FetchLoop } from "./fetch-loop.ts";
import { FetchedQueue } from "./fetched.ts";
import { GroupSession } from "./group-session.ts";
import { ConsumerInstruments } from "./instruments.ts";
import { type Lag, LagMonitor } from "./lag.ts";
import { AssignmentListeners } from "./listeners.ts";
import { committedOffsets, EARLIEST, LATEST, listOffsets } from "./offsets.ts";
import type { PartitionRef, ResolvedConsumerOptions } from "./options.ts";
import { Reader } from "./reader.ts";
import { RecordIterator } from "./record-iterator.ts";

export class ConsumerRooms {
  readonly group: string | undefined;
  readonly memberId: string;
  readonly assignment: Assignment;
  readonly listeners: AssignmentListeners;
  readonly #context: ClientContext;
  readonly #options: ResolvedConsumerOptions;
  readonly #telemetry: Telemetry;
  readonly #instruments: ConsumerInstruments;
  readonly #queue = new FetchedQueue();
  readonly #session: GroupSession | undefined;
  readonly #loop: FetchLoop;
  readonly #reader: Reader;
  readonly #committer: Committer;
  readonly #lag: LagMonitor;
  readonly #forgetCollect: () => void;
  #started: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(context: ClientContext, options: ResolvedConsumerOptions) {
    this.#context = context;
    this.#options = options;
    this.#telemetry = createTelemetry(context.telemetry, { name: "consumer" });
    const { group } = options;
    const instruments = new ConsumerInstruments(this.#telemetry.metrics, group);
    this.#instruments = instruments;
    const { cluster, clock, random, logger } = context;
    const calls = { cluster, clock, random };
    const identity = () => this.#session?.identity;
    const onFenced = () => this.#session?.poke();
    this.group = group;
    this.memberId = createUuid(random);
    const listeners = new AssignmentListeners((error) => this.#reader.fail(error));
    this.listeners = listeners;
    this.assignment = new Assignment({ ...calls, instruments, listeners }, options, {
      beforeRevoke: (cursors) => this.#commitLast(cursors),
      changed: () => this.#loop.poke(),
    });
    const cursors = () => this.assignment.cursors;
    if (options.assign === undefined && group !== undefined) {
      const { topics, sessionTimeoutMs } = options;
      this.#session = new GroupSession(
        { ...calls, logger, clientId: options.clientId ?? context.clientId },
        { group, memberId: this.memberId, topics, sessionTimeoutMs },
        {
          assigned: (partitions) => this.assignment.take(partitions),
          lost: () => this.assignment.lose(),
          owned: () => this.assignment.owned(),
        },
      );
    }
    this.#loop = new FetchLoop(
      {
        ...calls,
        logger,
        queue: this.#queue,
        cursors,
        identity,
        onRefused: (cursor, error) => void this.#refused(cursor, error),
        onFenced,
      },
      options,
    );
    const onTaken = () => this.#loop.wake();
    this.#reader = new Reader({ queue: this.#queue, clock, cursors, onTaken }, options);
    this.#committer = new Committer({
      ...calls,
      logger,
      telemetry: this.#telemetry,
      group,
      identity,
      onFenced,
    });
    this.#lag = new LagMonitor({ ...calls, instruments, group, cursors });
    this.#forgetCollect = this.#telemetry.metrics.onCollect(() => this.#collect());
  }

  records(signal: AbortSignal | undefined): AsyncIterableIterator<ConsumerRecord, undefined> {
    return new RecordIterator({ reader: this.#reader, ready: () => this.#ready(), signal });
  }

  batches(signal: AbortSignal | undefined): AsyncIterableIterator<ConsumedBatch, undefined> {
    const start = { reader: this.#reader, ready: () => this.#ready(), signal };
    return iterateBatches(start, ({ cursor, nextOffset }) => this.#commit([[cursor, nextOffset]]));
  }

  async poll(timeoutMs: number, signal: AbortSignal | undefined): Promise<ConsumerRecord[]> {
    const { clock } = this.#context;
    const { group, topics, maxPollRecords } = this.#options;
    const began = clock.monotonic();
    const release = this.#reader.begin("poll()");
    const topic = topics.length === 1 ? topics[0] : undefined;
    const span = startReceiveSpan(this.#telemetry, { timeoutMs, group, topic });
    try {
      await this.#ready();
      this.#reader.finish();
      const delivery = await this.#reader.next(began + timeoutMs, signal);
      const records = [...(delivery?.take(maxPollRecords) ?? [])];
      delivery?.count();
      span?.setAttribute("record_count", records.length);
      endSpan(span);
      return records;
    } catch (error) {
      endSpan(span, error);
      throw error;
    } finally {
      release();
      this.#instruments.pollDuration.record((clock.monotonic() - began) / 1_000);
    }
  }

  async commit(offsets?: readonly (PartitionRef & { readonly offset: number })[]): Promise<void> {
    const points: (readonly [Cursor, number])[] =
      offsets === undefined
        ? [...this.assignment.cursors].map((cursor) => [cursor, cursor.position])
        : offsets.map((it) => {
            const cursor = this.assignment.cursor(it.topic, it.partition);
            checkRead(cursor, it.offset);
            return [cursor, it.offset];
          });
    await this.#commit(points);
  }

  process<T>(record: ConsumerRecord, fn: (record: ConsumerRecord) => T | Promise<T>): Promise<T> {
    const span = startProcessSpan(this.#telemetry, {
      topic: record.topic,
      partition: record.partition,
      offset: record.offset,
      group: this.#options.group,
      headers: record.headers,
    });
    return withSpan(span, async () => {
      try {
        const result = await fn(record);
        endSpan(span);
        return result;
      } catch (error) {
        endSpan(span, error);
        throw error;
      }
    });
  }

  async committed(topic: string, partition: number): Promise<number | undefined> {
    const { group } = this.#options;
    if (group === undefined) return undefined;
    const { id } = await this.#context.cluster.topic(topic);
    const asked = [{ topicId: id, partition }];
    const found = await committedOffsets(this.#context, group, asked);
    return found.get(partitionKey(id, partition));
  }

  seek(targets: readonly (readonly [Cursor, number])[]): void {
    for (const [cursor, offset] of targets) {
      cursor.seek(offset);
      cursor.cells.currentOffset.set(offset);
    }
    this.#loop.poke();
    this.#queue.wake();
  }

  async seekTo(
    where: number | "earliest" | "latest",
    partitions: readonly PartitionRef[] | undefined,
  ): Promise<void> {
    await this.#ready();
    const time = where === "earliest" ? EARLIEST : where === "latest" ? LATEST : where;
    const cursors = this.#chosen(partitions);
    if (cursors.length === 0) return;
    const offsets = await listOffsets(this.#context, cursors, time);
    this.seek(
      cursors.flatMap((cursor) => {
        const offset = offsets.get(cursor.key);
        return offset === undefined || cursor.revoked ? [] : [[cursor, offset] as const];
      }),
    );
  }

  setPaused(partitions: readonly PartitionRef[] | undefined, paused: boolean): void {
    for (const cursor of this.#chosen(partitions)) cursor.paused = paused;
    this.#loop.poke();
    this.#queue.wake();
  }

  #chosen(partitions: readonly PartitionRef[] | undefined): Cursor[] {
    if (partitions === undefined) return [...this.assignment.cursors];
    return partitions.map((it) => this.assignment.cursor(it.topic, it.partition));
  }

  async lag(topic: string, partition: number): Promise<Lag> {
    await this.#ready();
    return this.#lag.of(this.assignment.cursor(topic, partition));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#reader.close();
    await this.#started?.catch(() => {});
    await Promise.all([this.#loop.stop(), this.#lag.stop(), this.#committer.stop()]);
    await this.#commitLast([...this.assignment.cursors]);
    await this.#session?.leave();
    await this.#committer.stop();
    this.#forgetCollect();
    for (const cursor of this.assignment.cursors) cursor.cells.release();
    this.#queue.clear();
    this.#telemetry.close();
  }

  /** Joined, and fetching. A failure is told, and tried again by the next read. */
  #ready(): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(closed("this consumer"));
    if (this.#started === undefined) {
      const started = this.#start();
      this.#started = started;
      started.catch(() => {
        if (this.#started === started) this.#started = undefined;
      });
    }
    return this.#started;
  }

  async #start(): Promise<void> {
    const { cluster } = this.#context;
    const { assign, autoCommit, autoCommitIntervalMs, lagIntervalMs, topics } = this.#options;
    if (assign !== undefined) {
      const partitions = [];
      for (const { topic: name, partition, offset } of assign) {
        const topic = await cluster.topic(name);
        checkPartition(topic, partition);
        partitions.push({ topicId: topic.id, topic: name, partition, offset });
      }
      await this.assignment.take(partitions);
    } else {
      // Metadata would only assign nothing for a topic that does not exist: say so instead.
      for (const name of topics) await cluster.topic(name);
      await this.#session?.start();
    }
    this.#loop.start();
    if (autoCommit) this.#committer.startAuto(autoCommitIntervalMs, () => this.#finished());
    if (this.#telemetry.enabled) this.#lag.start(lagIntervalMs);
  }

  async #commit(points: readonly (readonly [Cursor, number])[]): Promise<void> {
    if (this.#closing !== undefined) throw closed("this consumer");
    await this.#committer.commit(points.map(([cursor, offset]) => ({ cursor, offset })));
    for (const [cursor, offset] of points) {
      if (!cursor.revoked && offset <= cursor.position) {
        cursor.finished = Math.max(cursor.finished, offset);
      }
    }
  }

  #finished(): readonly CommitPoint[] {
    return [...this.assignment.cursors].map((cursor) => ({ cursor, offset: cursor.finished }));
  }

  /** What is finished of these partitions, if anything is to be committed by itself. Never throws. */
  async #commitLast(cursors: readonly Cursor[]): Promise<void> {
    if (!this.#options.autoCommit || cursors.length === 0) return;
    const points = cursors.map((cursor) => ({ cursor, offset: cursor.finished }));
    try {
      await this.#committer.commit(points, this.#options.closeTimeoutMs);
    } catch (thrown) {
      const { message } = asStreamHouseError(thrown, "a last commit");
      this.#context.logger.warn("a last commit failed: records will be given out again", {
        error: message,
      });
    }
  }

  /** An agent will not read this partition where we are: reset if that is the rule, otherwise the reader is told. */
  async #refused(cursor: Cursor, error: StreamHouseError): Promise<void> {
    const { offsetReset } = this.#options;
    if (error.code === "TOPIC_NOT_FOUND" && this.#session !== undefined) {
      // Deleted: the next heartbeat takes it away, or brings the new topic of that name.
      this.#session.poke();
      return;
    }
    if (error.code !== "OFFSET_OUT_OF_RANGE" || offsetReset === "error") return;
    const { generation } = cursor;
    try {
      const time = offsetReset === "latest" ? LATEST : EARLIEST;
      const patience = { patienceMs: 30_000 };
      const offsets = await listOffsets(this.#context, [cursor], time, patience);
      const offset = offsets.get(cursor.key);
      if (offset === undefined || cursor.generation !== generation) return;
      this.#context.logger.warn("reading goes on elsewhere: the offset is out of range", {
        partition: `${cursor.topic}/${cursor.partition}`,
        from: cursor.fetchOffset,
        to: offset,
      });
      this.seek([[cursor, offset]]);
    } catch (thrown) {
      cursor.failure = asStreamHouseError(thrown, "resetting an offset");
      this.#queue.wake();
    }
  }

  #collect(): void {
    this.#reader.count();
    for (const cursor of this.assignment.cursors) cursor.cells.currentOffset.set(cursor.position);
  }
}

function checkRead(cursor: Cursor, offset: number): void {
  if (Number.isSafeInteger(offset) && offset >= 0 && offset <= cursor.position) return;
  throw invalid(
    "INVALID_ARGUMENT",
    `commit of offset ${offset} in ${cursor.topic}/${cursor.partition}: records up to ${cursor.position} were handed out; ` +
      "commit that or less",
    { field: "offset" },
  );
}
