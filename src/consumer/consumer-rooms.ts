/**
 * The rooms of one consumer, joined: session, assignment, fetch loop, reader, committer, lag. Started by the first read, ended once by
 * `close`. It decides nothing that one of its rooms could decide. Only the consumer holds it.
 */
import { CallTracer } from "../client/call-tracer.ts";
import type { ClientContext } from "../client/client-context.ts";
import { asStreamHouseError, closed, type StreamHouseError } from "../core/errors.ts";
import { createUuid } from "../core/ids.ts";
import type { ConsumerRecord } from "../core/record.ts";
import { checkPartition, partitionKey } from "../core/topic.ts";
import { detached } from "../telemetry/spans.ts";
import { createTelemetry, type Telemetry } from "../telemetry/telemetry.ts";
import { Assignment } from "./assignment.ts";
import { type CallComponents, type Persistence, persist } from "./calls.ts";
import { type CommitPoint, Committer, checkRead, finishedOf } from "./committer.ts";
import { type ConsumedBatch, takeBatch } from "./consumed-batch.ts";
import { type Cursor, takenAway } from "./cursor.ts";
import type { Delivery } from "./delivery.ts";
import { DeliveryMeter } from "./delivery-meter.ts";
import { FetchLoop } from "./fetch-loop.ts";
import { FetchSource } from "./fetch-source.ts";
import { FetchedQueue } from "./fetched.ts";
import { GroupSession } from "./group-session.ts";
import { ConsumerInstruments } from "./instruments.ts";
import { type Lag, LagMonitor } from "./lag.ts";
import { AssignmentListeners } from "./listeners.ts";
import { observeConsumer } from "./observation.ts";
import { type Beginning, committedOffsets, listOffsets } from "./offsets.ts";
import type { PartitionRef, ResolvedConsumerOptions } from "./options.ts";
import { type Processable, process } from "./processing.ts";
import { ReadIterator } from "./read-iterator.ts";
import { Reader } from "./reader.ts";
import { Readiness } from "./readiness.ts";
import { Receiving } from "./receiving.ts";
import { Refusals } from "./refusals.ts";

export class ConsumerRooms {
  readonly group: string | undefined;
  readonly memberId: string;
  readonly assignment: Assignment;
  readonly listeners: AssignmentListeners;
  readonly #context: ClientContext;
  readonly #options: ResolvedConsumerOptions;
  /** For what goes on in the background, and for what the application asks for. */
  readonly #calls: CallComponents;
  readonly #asked: CallComponents;
  readonly #telemetry: Telemetry;
  readonly #instruments: ConsumerInstruments;
  readonly #queue = new FetchedQueue();
  readonly #session: GroupSession | undefined;
  readonly #loop: FetchLoop;
  readonly #reader: Reader;
  readonly #receiving: Receiving;
  readonly #committer: Committer;
  readonly #lag: LagMonitor;
  readonly #readiness: Readiness;
  readonly #forgetCollect: () => void;
  /** Aborts when closing begins. */
  readonly #ending = new AbortController();
  /** Aborts when closing has taken long enough. */
  readonly #limit = new AbortController();
  #closing: Promise<void> | undefined;

  constructor(context: ClientContext, options: ResolvedConsumerOptions) {
    const { cluster, clock, random, logger } = context;
    const { group, requestTimeoutMs } = options;
    this.#context = context;
    this.#options = options;
    this.group = group;
    this.memberId = createUuid(random);
    this.#telemetry = createTelemetry(context.telemetry, { name: "consumer" });
    const telemetry = this.#telemetry;
    const instruments = new ConsumerInstruments(telemetry, group);
    this.#instruments = instruments;
    const onRetry = (error: StreamHouseError) => instruments.retry(error.code);
    this.#calls = { cluster, clock, random, requestTimeoutMs, onRetry };
    const calls = this.#calls;
    this.#asked = { ...calls, tracer: new CallTracer(telemetry) };
    const topic = options.topics.length === 1 ? options.topics[0] : undefined;
    this.#receiving = new Receiving({ telemetry, instruments, clock, group, topic });
    const queue = this.#queue;
    const fail = (error: unknown) => this.#reader.fail(error);
    this.listeners = new AssignmentListeners(fail);
    const { listeners } = this;
    this.assignment = new Assignment({ ...calls, instruments, listeners }, options, {
      beforeRevoke: (cursors) => this.#commitLast(cursors, options.sessionTimeoutMs),
      changed: () => this.#changed(),
      rebalanced: ({ seconds, ...change }) => {
        instruments.rebalanced(seconds);
        this.#receiving.rebalanced({ ...change, epoch: this.#session?.identity.memberEpoch });
      },
    });
    const { assignment } = this;
    const cursors = () => this.assignment.cursors;
    this.#session = options.assign === undefined ? this.#createSession(group ?? "") : undefined;
    const session = this.#session;
    const identity = () => session?.identity;
    const onFenced = () => session?.poke();
    const refusals = new Refusals({
      ...{ ...calls, logger, queue, offsetReset: options.offsetReset },
      signal: this.#ending.signal,
      onMoved: () => this.#loop.wake(),
      askGroup: session && (() => session.poke()),
      replace: (cursor, topic) => assignment.replace(cursor, topic),
      fail,
    });
    const shared = { ...calls, logger, identity, onFenced };
    const source = new FetchSource({ cluster, clock, seed: this.memberId }, options);
    const fetching = { ...shared, queue, source, instruments, cursors, refusals };
    this.#loop = new FetchLoop(fetching, options);
    const onTaken = () => this.#loop.wake();
    const onFinished = () => assignment.finished.notify();
    const meter = new DeliveryMeter(clock, telemetry);
    this.#reader = new Reader({ queue, clock, meter, cursors, onTaken, onFinished }, options);
    const asked = { ...shared, tracer: this.#asked.tracer, limit: this.#limit.signal };
    this.#committer = new Committer({ ...asked, telemetry, instruments, group });
    this.#lag = new LagMonitor({ ...calls, metrics: telemetry.metrics, group, cursors });
    this.#readiness = new Readiness({
      clock,
      listeners,
      start: () => detached(() => this.#start()),
      fail,
    });
    const { metrics } = telemetry;
    const count = () => this.#collect();
    this.#forgetCollect = observeConsumer({ metrics, group, assignment, count });
  }

  #createSession(group: string): GroupSession {
    const { clientId = this.#context.clientId, topics, sessionTimeoutMs } = this.#options;
    const { memberId, assignment } = this;
    return new GroupSession(
      { ...this.#calls, logger: this.#context.logger, clientId },
      { group, memberId, topics, sessionTimeoutMs },
      {
        assigned: (partitions) => assignment.take(partitions, this.#patience()),
        lost: () => assignment.lose(),
        owned: () => assignment.owned(),
        failed: (error) => this.#reader.fail(error),
      },
    );
  }

  records(signal: AbortSignal | undefined): ReadIterator<ConsumerRecord> {
    return this.#iterate("for await", signal, (delivery) => delivery.next());
  }

  batches(signal: AbortSignal | undefined): ReadIterator<ConsumedBatch> {
    const commit = (delivery: Delivery) => this.#commitBatch(delivery);
    return this.#iterate("batches()", signal, (delivery) => takeBatch(delivery, commit));
  }

  #iterate<T>(
    what: string,
    signal: AbortSignal | undefined,
    give: (delivery: Delivery) => T,
  ): ReadIterator<T> {
    const receive = (wait: () => Promise<Delivery | undefined>) => this.#receiving.next(wait);
    const start = { what, reader: this.#reader, give, receive, signal };
    return new ReadIterator({ ...start, ready: (ended) => this.#ready(ended) });
  }

  async poll(timeoutMs: number, signal: AbortSignal | undefined): Promise<ConsumerRecord[]> {
    const release = this.#reader.begin("poll()");
    try {
      return await this.#receiving.poll(timeoutMs, async (until, from) => {
        const ready = await this.#readiness.by(until, signal);
        if (!ready) return [];
        return this.#reader.collect(this.#options.maxPollRecords, until, from, signal);
      });
    } finally {
      release();
    }
  }

  async commit(offsets?: readonly (PartitionRef & { readonly offset: number })[]): Promise<void> {
    if (offsets !== undefined) {
      return this.#commit(
        offsets.map(({ topic, partition, offset }) => {
          const cursor = this.assignment.cursor(topic, partition);
          checkRead(cursor, offset);
          return { cursor, offset };
        }),
      );
    }
    const lost = this.#reader.lostInHand;
    const cursors = [...this.assignment.cursors];
    await this.#commit(cursors.map((cursor) => ({ cursor, offset: cursor.position })));
    if (lost !== undefined) throw takenAway(lost);
  }

  async #commitBatch(delivery: Delivery): Promise<void> {
    const { cursor, nextOffset } = delivery;
    if (delivery.valid || cursor.revoked) await this.#commit([{ cursor, offset: nextOffset }]);
  }

  async #commit(points: readonly CommitPoint[]): Promise<void> {
    if (this.#closing !== undefined) throw closed("this consumer");
    await this.#committer.commit(points, this.#patience());
    for (const { cursor, offset } of points) {
      if (cursor.revoked || offset > cursor.position) continue;
      cursor.finished = Math.max(cursor.finished, offset);
    }
    this.assignment.finished.notify();
  }

  process<W extends Processable, T>(work: W, fn: (work: W) => T | Promise<T>): Promise<T> {
    return process(this.#receiving.parts, work, fn);
  }

  async committed(topic: string, partition: number): Promise<number | undefined> {
    if (this.group === undefined) return undefined;
    const found = await this.#context.cluster.topic(topic);
    checkPartition(found, partition);
    const asked = { topicId: found.id, partition };
    const offsets = await committedOffsets(this.#asked, this.group, [asked], this.#patience());
    return offsets.get(partitionKey(found.id, partition));
  }

  seek(targets: readonly (readonly [Cursor, number])[]): void {
    for (const [cursor, offset] of targets) cursor.seek(offset);
    this.#changed();
  }

  async seekTo(time: number, partitions: readonly PartitionRef[] | undefined): Promise<void> {
    await this.#ready();
    const cursors = this.#chosen(partitions);
    if (cursors.length === 0) return;
    const offsets = await listOffsets(this.#asked, cursors, time, this.#patience());
    const targets = cursors.map((it) => [it, offsets.get(it.key) ?? it.position] as const);
    this.seek(targets.filter(([cursor]) => !cursor.revoked));
  }

  pause(partitions: readonly PartitionRef[] | undefined): void {
    for (const cursor of this.#chosen(partitions)) {
      if (!cursor.paused) cursor.pause(this.#reader.nextOffset(cursor));
    }
    this.#changed();
  }

  resume(partitions: readonly PartitionRef[] | undefined): void {
    for (const cursor of this.#chosen(partitions)) cursor.paused = false;
    this.#changed();
  }

  #chosen(partitions: readonly PartitionRef[] | undefined): Cursor[] {
    if (partitions === undefined) return [...this.assignment.cursors];
    return partitions.map((it) => this.assignment.cursor(it.topic, it.partition));
  }

  async lag(topic: string, partition: number): Promise<Lag> {
    const cursor = this.assignment.find(topic, partition);
    if (cursor !== undefined) return this.#lag.of(cursor);
    const found = await this.#context.cluster.topic(topic);
    checkPartition(found, partition);
    return this.#lag.elsewhere({ topicId: found.id, partition });
  }

  async lags(): Promise<readonly (PartitionRef & Lag)[]> {
    await this.#ready();
    return this.#lag.ofAll();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { closeTimeoutMs } = this.#options;
    const timer = this.#context.clock.schedule(closeTimeoutMs, () => this.#limit.abort());
    const last = { signal: this.#limit.signal, patienceMs: closeTimeoutMs };
    this.#ending.abort();
    this.#reader.close();
    this.assignment.stop();
    await this.#readiness.ended();
    await this.#session?.stop();
    await Promise.all([this.#loop.stop(), this.#lag.stop(), this.#committer.stop()]);
    await this.#commitLast([...this.assignment.cursors], closeTimeoutMs);
    await this.#session?.leave(last);
    timer.cancel();
    this.#reader.count();
    this.#forgetCollect();
    this.#instruments.setBuffered(0, 0);
    for (const cursor of this.assignment.cursors) cursor.cells.release();
    this.#queue.clear();
    this.#telemetry.close();
  }

  async #ready(signal?: AbortSignal): Promise<void> {
    if (this.#closing !== undefined) throw closed("this consumer");
    await this.#readiness.by(Number.POSITIVE_INFINITY, signal);
  }

  /** Joins, and begins to fetch. */
  async #start(): Promise<void> {
    const { assign, autoCommit, autoCommitIntervalMs, lagIntervalMs, topics } = this.#options;
    const patience = { signal: this.#ending.signal, patienceMs: this.#options.connectTimeoutMs };
    const find = (name: string) =>
      persist(this.#calls, () => this.#context.cluster.topic(name), patience);
    if (assign === undefined) {
      // A group would only assign nothing for a topic that does not exist: say so instead.
      for (const name of topics) await find(name);
      await this.#session?.start(patience);
    } else {
      const beginnings: Beginning[] = [];
      for (const { topic: name, partition, offset } of assign) {
        const topic = await find(name);
        checkPartition(topic, partition);
        beginnings.push({ topicId: topic.id, topic: name, partition, offset });
      }
      await this.assignment.take(beginnings, patience);
    }
    if (this.#ending.signal.aborted) return;
    this.#loop.start();
    const finished = () => finishedOf([...this.assignment.cursors]);
    if (autoCommit) this.#committer.startAuto(autoCommitIntervalMs, finished);
    if (this.#telemetry.families.includes("streamhouse")) this.#lag.start(lagIntervalMs);
  }

  /** For what the application waits for while the consumer runs. */
  #patience(): Persistence {
    return { signal: this.#ending.signal, patienceMs: this.#options.requestTimeoutMs };
  }

  #changed(): void {
    this.#queue.prune();
    this.#loop.poke();
  }

  /** What is finished of these partitions, if anything is to be committed by itself. Never throws. */
  async #commitLast(cursors: readonly Cursor[], patienceMs: number): Promise<void> {
    if (!this.#options.autoCommit || cursors.length === 0) return;
    try {
      await this.#committer.commit(finishedOf(cursors), { patienceMs });
    } catch (thrown) {
      const { message } = asStreamHouseError(thrown, "a last commit");
      this.#context.logger.warn("a last commit failed: records will be given out again", {
        error: message,
      });
    }
  }

  #collect(): void {
    this.#reader.count();
    const { records, bytes } = this.#reader.buffered;
    this.#instruments.setBuffered(this.#queue.records + records, this.#queue.bytes + bytes);
    this.#lag.observe();
  }
}
