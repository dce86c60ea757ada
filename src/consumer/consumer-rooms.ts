/**
 * The rooms of one consumer, joined: session, assignment, fetch loop, reader, committer, lag. Started by the first read, ended once by
 * `close`. It decides nothing that one of its rooms could decide. Only the consumer holds it.
 */
import { CallTracer } from "../client/call-tracer.ts";
import type { ClientContext } from "../client/client-context.ts";
import { closed, type StreamHouseError } from "../core/errors.ts";
import { createUuid } from "../core/ids.ts";
import type { ConsumerRecord } from "../core/record.ts";
import { checkPartition } from "../core/topic.ts";
import { detached } from "../telemetry/spans.ts";
import { createTelemetry, type Telemetry } from "../telemetry/telemetry.ts";
import { Assignment } from "./assignment.ts";
import { type CallComponents, type Persistence, persist } from "./calls.ts";
import { Commits } from "./commits.ts";
import { Committer, finishedOf } from "./committer.ts";
import { type ConsumedBatch, takeBatch } from "./consumed-batch.ts";
import type { Cursor } from "./cursor.ts";
import type { Delivery } from "./delivery.ts";
import { DeliveryMeter } from "./delivery-meter.ts";
import { FetchLoop } from "./fetch-loop.ts";
import { FetchSource } from "./fetch-source.ts";
import { FetchedQueue } from "./fetched.ts";
import { ConsumerInstruments } from "./instruments.ts";
import { LagMonitor } from "./lag.ts";
import { AssignmentListeners } from "./listeners.ts";
import { Membership } from "./membership.ts";
import { observeConsumer } from "./observation.ts";
import type { Beginning } from "./offsets.ts";
import type { ResolvedConsumerOptions } from "./options.ts";
import { Positions } from "./positions.ts";
import { type Processable, process } from "./processing.ts";
import { Questions } from "./questions.ts";
import { ReadIterator } from "./read-iterator.ts";
import { Reader } from "./reader.ts";
import { Readiness } from "./readiness.ts";
import { Receiving } from "./receiving.ts";
import { Refusals } from "./refusals.ts";
import type { DeadLetterSource } from "./run-dead-letter.ts";
import { Runner } from "./runner.ts";

export class ConsumerRooms {
  readonly group: string | undefined;
  readonly assignment: Assignment;
  readonly listeners: AssignmentListeners;
  readonly positions: Positions;
  readonly questions: Questions;
  readonly commits: Commits;
  readonly runner: Runner;
  readonly #seed: string;
  readonly #context: ClientContext;
  readonly #options: ResolvedConsumerOptions;
  /** For what goes on in the background, and for what the application asks for. */
  readonly #calls: CallComponents;
  readonly #asked: CallComponents;
  readonly #telemetry: Telemetry;
  readonly #instruments: ConsumerInstruments;
  readonly #queue = new FetchedQueue();
  /** Undefined by manual assignment. */
  readonly #membership: Membership | undefined;
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
  #running = false;

  constructor(
    context: ClientContext,
    options: ResolvedConsumerOptions,
    deadLetters: DeadLetterSource | undefined,
  ) {
    const { cluster, clock, random, logger } = context;
    const { group, requestTimeoutMs } = options;
    this.#context = context;
    this.#options = options;
    this.group = group;
    this.#seed = createUuid(random);
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
      beforeRevoke: (cursors, patienceMs) => this.commits.last(cursors, patienceMs),
      released: () => this.#membership?.poke(),
      changed: () => this.#changed(),
      rebalanced: ({ seconds, ...change }) => {
        instruments.rebalanced(seconds);
        this.#receiving.rebalanced({ ...change, epoch: this.#membership?.identity.memberEpoch });
      },
    });
    const { assignment } = this;
    const cursors = () => this.assignment.cursors;
    this.#membership = options.assign === undefined ? this.#join(group ?? "") : undefined;
    const membership = this.#membership;
    const identity = () => membership?.identity;
    const onFenced = () => membership?.poke();
    const holds = () => membership?.holds() ?? true;
    const refusals = new Refusals({
      ...{ ...calls, logger, queue, offsetReset: options.offsetReset },
      signal: this.#ending.signal,
      onMoved: () => this.#loop.wake(),
      askGroup: membership && (() => membership.poke()),
      replace: (cursor, topic) => assignment.replace(cursor, topic),
      fail,
    });
    const shared = { ...calls, logger, identity, onFenced };
    const source = new FetchSource({ cluster, clock, seed: this.#seed }, options);
    const fetching = { ...shared, queue, source, instruments, cursors, refusals };
    this.#loop = new FetchLoop(fetching, options);
    const onTaken = () => this.#loop.wake();
    const onFinished = () => assignment.finished.notify();
    const meter = new DeliveryMeter(clock, telemetry);
    const mayHandOut = membership ? () => membership.holdsForNext() : () => true;
    const reading = { queue, clock, meter, cursors, onTaken, onFinished, mayHandOut };
    this.#reader = new Reader(reading, options);
    const asked = { ...shared, holds, tracer: this.#asked.tracer, limit: this.#limit.signal };
    const callTimeoutMs = options.sessionTimeoutMs / 3;
    this.#committer = new Committer({ ...asked, telemetry, instruments, group, callTimeoutMs });
    this.#lag = new LagMonitor({ ...calls, metrics: telemetry.metrics, group, cursors });
    this.#readiness = new Readiness({
      clock,
      listeners,
      start: () => detached(() => this.#start()),
      fail,
    });
    const reader = this.#reader;
    const waiting = { patience: () => this.#patience(), ready: () => this.#ready() };
    const asking = { ...waiting, asked: this.#asked, assignment };
    this.positions = new Positions({ ...asking, reader, changed: () => this.#changed() });
    this.questions = new Questions({ ...asking, group, cluster, lag: this.#lag });
    this.commits = new Commits({
      ...{ ...waiting, assignment, reader, committer: this.#committer, logger },
      autoCommit: options.autoCommit,
      isClosing: () => this.#closing !== undefined,
      isRunning: () => this.runner.active,
    });
    this.runner = this.#createRunner(deadLetters);
    const { metrics } = telemetry;
    const count = () => this.#collect();
    this.#forgetCollect = observeConsumer({ metrics, group, assignment, count });
  }

  #join(group: string): Membership {
    const { logger, clientId } = this.#context;
    const { sessionTimeoutMs } = this.#options;
    const parts = { calls: this.#calls, logger, assignment: this.assignment };
    return new Membership(
      {
        ...parts,
        clientId: this.#options.clientId ?? clientId,
        instruments: this.#instruments,
        fail: (error) => this.#reader.fail(error),
        onEnded: () => this.#left(),
        runningSince: () => this.#runningSince(),
        patience: () => ({ ...this.#patience(), callTimeoutMs: sessionTimeoutMs / 3 }),
      },
      group,
      this.#options,
    );
  }

  /** The next read joins again. A run reads all the time, but for a handler that hangs. */
  #left(): void {
    this.#readiness.again();
    this.runner.left();
  }

  #runningSince(): number | undefined {
    if (!this.runner.active) return undefined;
    return this.runner.oldestCallAt ?? this.#context.clock.monotonic();
  }

  get memberId(): string {
    return this.#membership?.identity.memberId ?? this.#seed;
  }

  #createRunner(deadLetters: DeadLetterSource | undefined): Runner {
    const { clock, random, logger, cluster } = this.#context;
    const { assign, topics, prefetchBytes, closeTimeoutMs, connectTimeoutMs } = this.#options;
    const { maxPollIntervalMs } = this.#options;
    const { assignment } = this;
    return new Runner({
      ...{ clock, random, logger, prefetchBytes, deadLetters, group: this.group },
      ...{ telemetry: this.#telemetry, instruments: this.#instruments },
      ...{ reader: this.#reader, queue: this.#queue },
      ready: (signal) => this.#ready(signal),
      receive: (wait) => this.#receiving.next(wait),
      mayHandOut: () => this.#membership?.holdsForNext() ?? true,
      maxPollIntervalMs: assign === undefined ? maxPollIntervalMs : Number.POSITIVE_INFINITY,
      cursors: () => assignment.cursors,
      topics: assign?.map((it) => it.topic) ?? topics,
      find: (topic) =>
        persist(this.#calls, () => cluster.topic(topic), {
          ...{ signal: this.#ending.signal, patienceMs: connectTimeoutMs },
        }),
      commit: () => this.commits.last([...assignment.cursors], closeTimeoutMs),
      changed: () => this.#changed(),
      onFinished: () => assignment.finished.notify(),
    });
  }

  records(signal: AbortSignal | undefined): ReadIterator<ConsumerRecord> {
    return this.#iterate("for await", signal, (delivery) => delivery.next());
  }

  batches(signal: AbortSignal | undefined): ReadIterator<ConsumedBatch> {
    const commit = (delivery: Delivery) => this.commits.batch(delivery);
    return this.#iterate("batches()", signal, (delivery) => takeBatch(delivery, commit));
  }

  /** Waits for the next delivery; measured, and a sign of life. */
  #receive(wait: () => Promise<Delivery | undefined>): Promise<Delivery | undefined> {
    return this.#reading(() => this.#receiving.next(wait));
  }

  #reading<T>(read: () => Promise<T>): Promise<T> {
    return this.#membership?.reading(read) ?? read();
  }

  #iterate<T>(
    what: string,
    signal: AbortSignal | undefined,
    give: (delivery: Delivery) => T,
  ): ReadIterator<T> {
    const receive = (wait: () => Promise<Delivery | undefined>) => this.#receive(wait);
    const start = { what, reader: this.#reader, give, receive, signal };
    return new ReadIterator({ ...start, ready: (ended) => this.#ready(ended) });
  }

  async poll(timeoutMs: number, signal: AbortSignal | undefined): Promise<ConsumerRecord[]> {
    const release = this.#reader.begin("poll()");
    try {
      const read = async (until: number, from: Cursor[]) => {
        const ready = await this.#readiness.by(until, signal);
        if (!ready) return [];
        return this.#reader.collect(this.#options.maxPollRecords, until, from, signal);
      };
      return await this.#reading(() => this.#receiving.poll(timeoutMs, read));
    } finally {
      release();
    }
  }

  process<W extends Processable, T>(work: W, fn: (work: W) => T | Promise<T>): Promise<T> {
    return process(this.#receiving.parts, work, fn);
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
    await this.runner.close(this.#limit.signal, closeTimeoutMs);
    this.assignment.stop();
    await this.#readiness.ended();
    await this.#membership?.stop();
    await Promise.all([this.#loop.stop(), this.#lag.stop(), this.#committer.stop()]);
    await this.commits.last([...this.assignment.cursors], closeTimeoutMs);
    await this.#membership?.leave(last);
    timer.cancel();
    this.#reader.count();
    this.#forgetCollect();
    this.#instruments.setBuffered(0, 0);
    for (const cursor of this.assignment.cursors) cursor.cells.release();
    this.#queue.clear();
    this.#telemetry.close();
  }

  /** Reads have a signal; a question may be a listener's, which a start would wait for. */
  async #ready(signal?: AbortSignal): Promise<void> {
    if (this.#closing !== undefined) throw closed("this consumer");
    if (signal === undefined && this.listeners.telling) return;
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
      await this.#membership?.start(patience);
    } else {
      const beginnings: Beginning[] = [];
      for (const { topic: name, partition, offset } of assign) {
        const topic = await find(name);
        checkPartition(topic, partition);
        beginnings.push({ topicId: topic.id, topic: name, partition, offset });
      }
      await this.assignment.take(beginnings, patience);
    }
    // A membership that ended, and was begun anew, needs no more than that.
    if (this.#ending.signal.aborted || this.#running) return;
    this.#running = true;
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
    this.runner.changed();
  }

  #collect(): void {
    // Nothing is exported of partitions that are another's by now.
    this.#membership?.holds();
    this.#reader.count();
    this.runner.collect();
    const parts = [this.#queue, this.#reader.buffered, this.runner.buffered];
    const sum = (of: "records" | "bytes") => parts.reduce((n, it) => n + it[of], 0);
    this.#instruments.setBuffered(sum("records"), sum("bytes"));
    this.#lag.observe();
  }
}
