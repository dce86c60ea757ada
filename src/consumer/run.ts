/**
 * One run of a handler over what a consumer reads: takes records ahead, begins those that may be, tries again what failed, sends on what
 * was given up, and lets partitions go when they are taken away. What may begin is `run-schedule.ts`' to say; it commits nothing
 * itself, but moves each cursor's `finished`, which never passes an unfinished record. Made by `runner.ts` for each `consumer.run`.
 */
import type { Clock } from "../core/clock.ts";
import { StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import { backoffMs } from "../core/retry.ts";
import { type Cursor, takenAway } from "./cursor.ts";
import type { Delivery } from "./delivery.ts";
import { Notifier } from "./notifier.ts";
import type { Reader } from "./reader.ts";
import { isPromise, RunAttempt } from "./run-attempt.ts";
import { type DeadLetterSender, deadLetterOf, describeError } from "./run-dead-letter.ts";
import type { RunMeter, RunOutcome } from "./run-meter.ts";
import { isWorthRetrying, type ResolvedRunOptions, type RunHandler } from "./run-options.ts";
import { RetryLater } from "./run-retry-later.ts";
import { RunSchedule } from "./run-schedule.ts";
import { RunShares } from "./run-shares.ts";
import type { RunTask, Tenure } from "./run-task.ts";
import { RunTurn } from "./run-turn.ts";

export interface RunComponents {
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  readonly group: string | undefined;
  readonly reader: Reader;
  readonly meter: RunMeter;
  /** There if the options name a dead-letter topic. */
  readonly deadLetters: DeadLetterSender | undefined;
  readonly cursors: () => Iterable<Cursor>;
  /** Joins the group, if it is not a member. */
  readonly ready: (signal: AbortSignal) => Promise<void>;
  /** Runs a wait for the next delivery; measures it. */
  readonly receive: (wait: () => Promise<Delivery | undefined>) => Promise<Delivery | undefined>;
  /** The process may act as a member of its group. Asked for each record. */
  readonly mayHandOut: () => boolean;
  readonly maxPollIntervalMs: number;
  /** What is fetched, or to be fetched, is another now. */
  readonly changed: () => void;
  /** Something was finished that somebody may wait for. */
  readonly onFinished: () => void;
  /** Makes room where full partitions hold what others would be fetched into. */
  readonly makeRoom: (full: ReadonlySet<Cursor>) => void;
}

/** Records taken in one step: in between, what can begin begins. */
const TAKE_MAX = 512;
/** Looks again for room at least this often, ms. */
const REPEAT_MS = 10_000;

export class Run {
  readonly schedule: RunSchedule;
  readonly #parts: RunComponents;
  readonly #handler: RunHandler;
  readonly #options: ResolvedRunOptions;
  /** Ends the wait for records that is under way, if there is one. */
  #wait = new AbortController();
  readonly #roomier = new Notifier();
  #waitsFor: "" | "room" | "handler" = "";
  readonly #turn: RunTurn;
  readonly #shares: RunShares;
  readonly #end = Promise.withResolvers<void>();
  #stopping = false;
  #reading = true;
  #starting = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(parts: RunComponents, handler: RunHandler, options: ResolvedRunOptions) {
    this.#parts = parts;
    this.#handler = handler;
    this.#options = options;
    this.schedule = new RunSchedule(options);
    const { aheadRecords } = options;
    this.#shares = new RunShares({ ...parts, schedule: this.schedule, aheadRecords });
    this.#turn = new RunTurn(parts.clock, () => this.#begin());
  }

  /** Resolves when the run has ended and nothing is in flight. @throws what ended it before its time */
  start(): Promise<void> {
    this.#read().then(
      () => this.stop(),
      (error) => this.stop({ error }),
    );
    return this.#end.promise;
  }

  /** Nothing new begins; what waits is let go, what is in flight ends. With a failure `start()` rejects with it in the end. */
  stop(failure?: { readonly error: unknown }): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#failure = failure;
    this.#wait.abort();
    this.#roomier.notify();
    this.#turn.end();
    for (const [tenure] of [...this.schedule.tenures()]) this.#letGo(tenure);
    this.#shares.end();
    this.#parts.changed();
    this.#checkEnd();
  }

  /** Nobody waits for what is in flight any more: its handlers are asked to end. */
  abandon(error: unknown): void {
    for (const [, running] of this.schedule.tenures()) {
      for (const task of running) task.attempt?.abort(error);
    }
  }

  /** Partitions came, went, were sought, paused or resumed. */
  changed(): void {
    for (const [tenure, running] of [...this.schedule.tenures()]) {
      const { cursor } = tenure;
      if (cursor.revoked) for (const task of running) task.attempt?.abort(takenAway(cursor));
      if (cursor.held || !tenure.valid) this.#letGo(tenure);
      else this.schedule.resume(cursor);
    }
    this.#begin();
    this.#shares.check();
    this.#roomier.notify();
  }

  /** There is no membership any more: the wait for records would last for ever. The next one joins anew. */
  left(): void {
    this.#wait.abort();
  }

  async #read(): Promise<void> {
    const { clock, reader } = this.#parts;
    try {
      while (!this.#stopping) {
        this.#waitsFor = this.#isHung() ? "handler" : this.schedule.buffer.room > 0 ? "" : "room";
        if (this.#waitsFor !== "") {
          await this.#roomier.wait(clock, REPEAT_MS);
          continue;
        }
        const delivery = reader.current ?? (await this.#next());
        if (reader.closed) return;
        if (!this.#stopping && delivery !== undefined && delivery === reader.current) {
          this.#take(delivery);
        }
      }
    } finally {
      this.#reading = false;
      this.#checkEnd();
    }
  }

  /** Waits for records; joins the group anew where the membership was given up. Undefined when the wait was ended. */
  async #next(): Promise<Delivery | undefined> {
    const { ready, receive, reader } = this.#parts;
    const wait = new AbortController();
    this.#wait = wait;
    try {
      await ready(wait.signal);
      return await receive(() => reader.next(Number.POSITIVE_INFINITY, wait.signal));
    } catch (error) {
      const isOurs = wait.signal.aborted && StreamHouseError.is(error) && error.code === "ABORTED";
      if (!isOurs) throw error;
      return undefined;
    }
  }

  /** A handler took so long that the membership was given up for it: the application has not come back before it returns. */
  #isHung(): boolean {
    const { clock, maxPollIntervalMs } = this.#parts;
    const oldest = this.schedule.oldestCallAt;
    return oldest !== undefined && clock.monotonic() - oldest >= maxPollIntervalMs;
  }

  #take(delivery: Delivery): void {
    const { cursor } = delivery;
    const { buffer } = this.schedule;
    const most = Math.min(TAKE_MAX, buffer.room, this.#shares.most(cursor));
    const count = Math.min(delivery.remaining, most);
    this.schedule.add(delivery, delivery.lend(count));
    this.#begin();
    this.#shares.taken(cursor);
  }

  /** Begins what may begin, until the slots are taken or the event loop wants its turn. */
  #begin(): void {
    if (this.#starting) return;
    this.#starting = true;
    try {
      while (!this.#stopping && this.#turn.mayGoOn() && this.#parts.mayHandOut()) {
        const task = this.schedule.next();
        if (task === undefined) break;
        this.#call(task);
      }
    } finally {
      this.#starting = false;
    }
  }

  #call(task: RunTask): void {
    const { clock, meter } = this.#parts;
    const { handlerTimeoutMs } = this.#options;
    const now = clock.monotonic();
    if (task.startedAt === undefined) {
      task.startedAt = now;
      meter.begun(task);
    }
    task.calls++;
    const attempt = new RunAttempt(task.calls, now);
    task.attempt = attempt;
    if (handlerTimeoutMs !== undefined) {
      attempt.limit(clock, handlerTimeoutMs, task.record);
    }
    let returned: void | Promise<void>;
    try {
      returned = meter.within(task, () => this.#handler(task.record, attempt));
    } catch (error) {
      this.#failed(task, error);
      return;
    }
    if (!isPromise(returned)) this.#succeeded(task);
    else {
      returned.then(
        () => this.#succeeded(task),
        (error) => this.#failed(task, error),
      );
    }
  }

  /** Whatever it was asked meanwhile: what a handler finished is finished, if the partition is still there to say so. */
  #succeeded(task: RunTask): void {
    this.#parts.meter.attempted(task, "ok");
    this.#over(task, "done");
  }

  #failed(task: RunTask, thrown: unknown): void {
    const { meter } = this.#parts;
    const { laterMax, attempts } = this.#options;
    task.attempt?.end();
    const isLater = RetryLater.is(thrown);
    const error = isLater ? thrown : (task.attempt?.reason ?? thrown);
    meter.attempted(task, isLater ? "put_off" : "error", error);
    if (isLater) task.laters++;
    else task.failures++;
    if (this.#isOver(task)) this.#over(task, "uncommitted", isLater ? undefined : error);
    else if (isLater && task.laters <= laterMax) {
      meter.putOff(task, thrown.delayMs, thrown.message);
      this.#again(task, thrown.delayMs);
    } else if (
      !isLater &&
      task.failures < attempts &&
      isWorthRetrying(this.#options, error, task.record)
    ) {
      const pause = backoffMs(this.#options, task.failures, this.#parts.random);
      meter.retried(task, error, pause);
      this.#again(task, pause);
    } else void this.#giveUp(task, error);
  }

  /** There will be no other attempt here: the run ends, or the partition goes. */
  #isOver({ tenure }: RunTask): boolean {
    return this.#stopping || tenure.dropped || !tenure.valid || tenure.cursor.held;
  }

  #again(task: RunTask, delayMs: number): void {
    task.attempt = undefined;
    this.schedule.block(task);
    task.timer = this.#parts.clock.schedule(delayMs, () => {
      task.timer = undefined;
      this.schedule.again(task);
      this.#begin();
    });
    this.#ended(task.tenure);
  }

  /** Its slot and its lane are taken until the dead letter is durable: an outage there holds the run up, and loses nothing. */
  async #giveUp(task: RunTask, error: unknown): Promise<void> {
    const { deadLetters, group, logger, meter } = this.#parts;
    const { deadLetterTopic: topic } = this.#options;
    const { record, calls: attempts } = task;
    const fields = {
      record: `${record.topic}/${record.partition}@${record.offset}`,
      attempts,
      error: describeError(error),
    };
    if (deadLetters === undefined || topic === undefined) {
      logger.error("a record was given up: the run ends, and the record stays uncommitted", fields);
      this.#fail(task, error);
      return;
    }
    try {
      const letter = deadLetterOf(topic, { record, error, attempts, group });
      const receipt = await meter.within(task, () => deadLetters.send(letter));
      meter.deadLettered(task, topic, receipt);
      logger.warn("a record was given up and is in the dead-letter topic", { ...fields, topic });
      this.#over(task, "dead_lettered", error);
    } catch (thrown) {
      meter.deadLetterFailed(task, topic, thrown);
      logger.error(
        "a record was given up and could not be written to the dead-letter topic: the run ends, and the record stays uncommitted",
        { ...fields, topic, reason: describeError(thrown) },
      );
      this.#fail(task, thrown);
    }
  }

  #fail(task: RunTask, error: unknown): void {
    // Before the record ends: its followers must not begin.
    this.stop({ error });
    this.#over(task, "uncommitted", error);
  }

  /** A running record has ended. */
  #over(task: RunTask, wanted: RunOutcome, error?: unknown): void {
    const { tenure } = task;
    task.attempt?.end();
    const outcome = tenure.valid ? wanted : "uncommitted";
    this.schedule.end(task, outcome !== "uncommitted");
    this.#parts.meter.ended(task, outcome, error);
    this.#ended(tenure);
  }

  /** A slot is free, and perhaps room, or a partition that somebody waits for. */
  #ended(tenure: Tenure): void {
    if (tenure.dropped || tenure.cursor.held || !tenure.valid) this.#letGo(tenure);
    this.#begin();
    this.#shares.check();
    const isRoomier = this.#waitsFor === "room" && this.schedule.buffer.room > 0;
    if (isRoomier || this.#waitsFor === "handler") this.#roomier.notify();
    this.#checkEnd();
  }

  /** What has not begun is given up; when nothing of it runs any more, the partition is as if only what is finished had been read. */
  #letGo(tenure: Tenure): void {
    for (const task of this.schedule.drop(tenure)) {
      task.timer?.cancel();
      if (task.startedAt !== undefined) this.#parts.meter.ended(task, "uncommitted");
    }
    if (this.schedule.isRunning(tenure)) return;
    const { cursor } = tenure;
    if (tenure.valid && cursor.inHand) cursor.rewind();
    this.schedule.forget(tenure);
    this.#parts.onFinished();
  }

  #checkEnd(): void {
    if (!this.#stopping || this.#reading || this.schedule.running > 0) return;
    if (this.#failure === undefined) this.#end.resolve();
    else this.#end.reject(this.#failure.error);
  }
}
