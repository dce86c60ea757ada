/**
 * One send() on its way: what has to be told to the caller when its batch is acknowledged or has failed. One object a record and no
 * closures: this is the hottest allocation of the producer. Made by the producer, kept in its batch in record order.
 */
import { StreamHouseError } from "../core/errors.ts";
import type { TopicInstruments } from "./instruments.ts";
import type { SendResult } from "./send-result.ts";
import type { RetryNote, SendTrace } from "./tracing.ts";

/** What an entry needs to know of its topic. */
export interface EntryTopic {
  readonly name: string;
  readonly instruments: TopicInstruments;
}

/** What an entry needs of the batch that it is in. */
export interface EntryBatch {
  readonly entries: Entry[];
  /** Records whose callers have not been told. */
  unsettled: number;
  /** Its last record comes from this trace, or from none. */
  addOrigin(trace: Pick<SendTrace, "origin"> | undefined): void;
  /** Some record before comes from a trace. */
  readonly isTraced: boolean;
  /** Leaves one record out. False if the batch is sealed already. */
  takeBack(): boolean;
}

/** Records of one caller that lie one behind the other in a batch. */
export interface Entry {
  readonly count: number;
  /** The caller took it back before the batch was sealed: its record is left out. */
  readonly takenBack: boolean;
  /** `baseOffset` is -1 when acks are not durable. `now` is monotonic ms, as everywhere in this wing. */
  sent(topic: EntryTopic, partition: number, baseOffset: number, now: number): void;
  failed(topic: EntryTopic, error: StreamHouseError, now: number): void;
  /** Its batch failed and is sent again. Told only where the batch comes from a trace. */
  retried(note: RetryNote): void;
}

export type Resolve = (result: SendResult) => void;
export type Reject = (error: unknown) => void;

/** One record of `send()`. */
export class SendEntry implements Entry {
  readonly count = 1;
  readonly startedAt: number;
  readonly timestamp: number;
  readonly #resolve: Resolve;
  readonly #reject: Reject;
  /** Set only when a trace was active at `send()`. */
  trace: SendTrace | undefined = undefined;

  constructor(resolve: Resolve, reject: Reject, startedAt: number, timestamp: number) {
    this.#resolve = resolve;
    this.#reject = reject;
    this.startedAt = startedAt;
    this.timestamp = timestamp;
  }

  get takenBack(): boolean {
    return false;
  }

  /** True once the caller has been told. Only an abort tells him before the batch does. */
  get settled(): boolean {
    return false;
  }

  /** Its record was put into this batch. */
  enter(batch: EntryBatch): void {
    batch.entries.push(this);
    if (this.trace !== undefined || batch.isTraced) batch.addOrigin(this.trace);
  }

  sent(topic: EntryTopic, partition: number, baseOffset: number, now: number): void {
    this.#measure(topic, now);
    const timestamp = this.timestamp;
    this.trace?.sent(partition, baseOffset);
    this.#resolve(
      baseOffset < 0
        ? { topic: topic.name, partition, timestamp }
        : { topic: topic.name, partition, offset: baseOffset, timestamp },
    );
  }

  failed(topic: EntryTopic, error: StreamHouseError, now: number): void {
    this.#measure(topic, now);
    this.trace?.failed(error);
    this.#reject(error);
  }

  retried(note: RetryNote): void {
    this.trace?.retried(note);
  }

  #measure({ instruments }: EntryTopic, now: number): void {
    if (instruments.perBatch) return;
    instruments.sendDuration.recordIn((now - this.startedAt) / 1_000, this.trace?.origin);
  }
}

/** One record of `send()` with an abort signal. */
export class AbortableEntry extends SendEntry {
  readonly #signal: AbortSignal;
  readonly #onAbort: () => void;
  #takenBack = false;
  #settled = false;
  #batch: EntryBatch | undefined = undefined;
  /** Set while it waits in line: called when the abort takes it out. */
  leaveLine: (() => void) | undefined = undefined;

  constructor(
    callbacks: { readonly resolve: Resolve; readonly reject: Reject },
    at: { readonly startedAt: number; readonly timestamp: number },
    signal: AbortSignal,
    /** Called when the abort settled the record: the caller counts it. */
    aborted: (entry: AbortableEntry, error: StreamHouseError, batch?: EntryBatch) => void,
  ) {
    super(callbacks.resolve, callbacks.reject, at.startedAt, at.timestamp);
    this.#signal = signal;
    this.#onAbort = () => {
      if (this.#settled) return;
      this.#takenBack = this.#batch === undefined || this.#batch.takeBack();
      if (this.#batch === undefined) this.leaveLine?.();
      aborted(this, abortedError(signal.reason, this.#takenBack), this.#batch);
    };
    signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  override get takenBack(): boolean {
    return this.#takenBack;
  }

  override get settled(): boolean {
    return this.#settled;
  }

  override enter(batch: EntryBatch): void {
    super.enter(batch);
    this.#batch = batch;
  }

  override sent(topic: EntryTopic, partition: number, baseOffset: number, now: number): void {
    if (this.#settle()) super.sent(topic, partition, baseOffset, now);
  }

  override failed(topic: EntryTopic, error: StreamHouseError, now: number): void {
    if (this.#settle()) super.failed(topic, error, now);
  }

  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    this.#signal.removeEventListener("abort", this.#onAbort);
    return true;
  }
}

/** The error of a record whose signal aborted. */
export function abortedError(reason: unknown, takenBack: boolean): StreamHouseError {
  return new StreamHouseError({
    code: "ABORTED",
    kind: "closed",
    outcome: takenBack ? "none" : "unknown",
    message: takenBack
      ? "send was aborted before its record left: it was not written"
      : "send was aborted while its record was on its way: it may have been written",
    cause: reason,
  });
}
