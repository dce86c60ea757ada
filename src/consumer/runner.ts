/**
 * `consumer.run`, from the consumer's side: one run at a time, begun like any reading, told of what happens to partitions, ended with
 * the consumer. Made by `consumer-rooms.ts`; the run itself is in `run.ts`.
 */
import type { Clock } from "../core/clock.ts";
import { closed, invalid, StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import { detached } from "../telemetry/spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { Cursor } from "./cursor.ts";
import type { Delivery } from "./delivery.ts";
import type { FetchedQueue } from "./fetched.ts";
import type { ConsumerInstruments } from "./instruments.ts";
import type { Reader } from "./reader.ts";
import { Run } from "./run.ts";
import type { DeadLetterSender, DeadLetterSource } from "./run-dead-letter.ts";
import { RunMeter } from "./run-meter.ts";
import {
  type ResolvedRunOptions,
  type RunHandler,
  type RunOptions,
  resolveRunOptions,
} from "./run-options.ts";

export interface RunnerComponents {
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  readonly instruments: ConsumerInstruments;
  readonly group: string | undefined;
  readonly reader: Reader;
  readonly queue: FetchedQueue;
  /** Joins the group, if it is not a member. @throws StreamHouseError */
  readonly ready: (signal: AbortSignal) => Promise<void>;
  /** Runs a wait for the next delivery; measures it. */
  readonly receive: (wait: () => Promise<Delivery | undefined>) => Promise<Delivery | undefined>;
  /** The process may act as a member of its group. Asked for each record. */
  readonly mayHandOut: () => boolean;
  readonly cursors: () => Iterable<Cursor>;
  /** Names of the topics that the consumer reads. */
  readonly topics: readonly string[];
  readonly prefetchBytes: number;
  /** A handler that takes longer has lost its membership; nothing is read until it has ended. */
  readonly maxPollIntervalMs: number;
  /** Undefined where nobody can make one. */
  readonly deadLetters: DeadLetterSource | undefined;
  /** @throws StreamHouseError `TOPIC_NOT_FOUND` */
  readonly find: (topic: string) => Promise<unknown>;
  /** Commits what is finished, with auto-commit. Never throws. */
  readonly commit: () => Promise<void>;
  /** What is fetched, or to be fetched, is another now. */
  readonly changed: () => void;
  /** Something was finished that somebody may wait for. */
  readonly onFinished: () => void;
}

export class Runner {
  readonly #parts: RunnerComponents;
  #meter: RunMeter | undefined;
  #sender: DeadLetterSender | undefined;
  #run: Run | undefined;
  #ended: Promise<void> = Promise.resolve();

  constructor(parts: RunnerComponents) {
    this.#parts = parts;
  }

  /** A run is going on: what it holds is not finished because it was handed out. */
  get active(): boolean {
    return this.#run !== undefined;
  }

  /** When the handler call began that has not returned for the longest time, by the monotonic clock; undefined if none is under way. */
  get oldestCallAt(): number | undefined {
    return this.#run?.schedule.oldestCallAt;
  }

  /** Records taken and not given to a handler, and what all that were taken keep in memory. */
  get buffered(): { readonly records: number; readonly bytes: number } {
    const schedule = this.#run?.schedule;
    return { records: schedule?.waiting ?? 0, bytes: schedule?.buffer.bytes ?? 0 };
  }

  /** Resolves when the run has ended. @throws StreamHouseError `INVALID_ARGUMENT`, `CLOSED`, and as `Consumer.run` */
  async run(handler: RunHandler, options: RunOptions): Promise<void> {
    const { topics, reader } = this.#parts;
    if (typeof handler !== "function") {
      throw invalid("INVALID_ARGUMENT", "run() needs a function that works on a record", {
        field: "handler",
      });
    }
    const resolved = resolveRunOptions(options, topics);
    const release = reader.begin("run()");
    const done = Promise.withResolvers<void>();
    this.#ended = done.promise;
    try {
      // Outside of the caller's trace: each record belongs to the trace that created it.
      await detached(() => this.#begun(handler, resolved));
    } finally {
      this.#run = undefined;
      release();
      done.resolve();
    }
  }

  /** Partitions came, went, were sought, paused or resumed. */
  changed(): void {
    this.#run?.changed();
  }

  /** The membership was given up. */
  left(): void {
    this.#run?.left();
  }

  /** Before each collection. */
  collect(): void {
    this.#meter?.collect();
  }

  /**
   * After the reader was closed: resolves when the run has ended. When `limit` aborts, handlers that still work are asked to end, and not
   * waited for.
   */
  async close(limit: AbortSignal, timeoutMs: number): Promise<void> {
    const run = this.#run;
    run?.stop();
    await Promise.race([this.#ended, whenAborted(limit)]);
    run?.abandon(closed("this consumer"));
    await this.#sender?.close(limit.aborted ? 0 : timeoutMs);
  }

  async #begun(handler: RunHandler, options: ResolvedRunOptions): Promise<void> {
    const { reader, commit, changed } = this.#parts;
    const { signal } = options;
    try {
      await this.#prepareDeadLetters(options);
    } catch (error) {
      if (!signal?.aborted && !reader.closed) throw error;
    }
    if (signal?.aborted || reader.closed) return;
    reader.finish();
    const run = this.#create(handler, options);
    this.#run = run;
    const onAbort = () => run.stop();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await run.start();
    } finally {
      signal?.removeEventListener("abort", onAbort);
      changed();
      // A consumer that is being closed commits itself, when nothing else goes on.
      if (!reader.closed) await commit();
    }
  }

  #create(handler: RunHandler, options: ResolvedRunOptions): Run {
    const { clock, random, logger, group, reader, telemetry } = this.#parts;
    const { cursors, changed, instruments, mayHandOut, maxPollIntervalMs } = this.#parts;
    const { ready, receive, onFinished } = this.#parts;
    this.#meter ??= new RunMeter({ telemetry, instruments, clock, group });
    const run = new Run(
      {
        ...{ clock, random, logger, group, reader, cursors, changed, mayHandOut },
        ...{ ready, receive, onFinished, maxPollIntervalMs },
        meter: this.#meter,
        deadLetters: options.deadLetterTopic === undefined ? undefined : this.#sender,
        makeRoom: (full) => this.#makeRoom(full),
      },
      handler,
      options,
    );
    this.#meter.watch(run.schedule);
    return run;
  }

  /** A topic that is not there is found out before a record fails, not after. */
  async #prepareDeadLetters({ deadLetterTopic }: ResolvedRunOptions): Promise<void> {
    if (deadLetterTopic === undefined) return;
    const { deadLetters, find } = this.#parts;
    if (deadLetters === undefined) {
      throw new StreamHouseError({
        code: "NOT_SUPPORTED",
        kind: "invalid",
        message: "deadLetterTopic needs a consumer that a house made: house.consumer(…)",
        field: "deadLetterTopic",
      });
    }
    await find(deadLetterTopic);
    this.#sender ??= deadLetters();
  }

  /** What full partitions have fetched ahead is dropped where the others have no room left to fetch into. */
  #makeRoom(full: ReadonlySet<Cursor>): void {
    const { queue, prefetchBytes, cursors, reader, changed } = this.#parts;
    if (queue.bytes <= prefetchBytes / 2) return;
    const ahead = [...full].filter((it) => it.fetchOffset > reader.nextOffset(it));
    const isWanted = [...cursors()].some((it) => it.fetchable);
    if (!isWanted || ahead.length === 0) return;
    for (const cursor of ahead) cursor.refetch(reader.nextOffset(cursor));
    changed();
  }
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
