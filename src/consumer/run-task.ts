/**
 * One record in the hands of a run, and the account of those of its partition: which are unfinished, in order, so that nothing beyond
 * the first of them is ever committed. Numbers and links only, no I/O. Used by the rooms of a run.
 */
import type { Timer } from "../core/clock.ts";
import type { ConsumerRecord } from "../core/record.ts";
import type { ProcessSpan } from "../telemetry/record-spans.ts";
import type { Cursor } from "./cursor.ts";
import type { Delivery } from "./delivery.ts";
import type { RunAttempt } from "./run-attempt.ts";

/**
 * `waiting` behind others of its lane · `ready` for a slot · `parked`: it was ready while its partition was paused · `running`: its
 * handler was called, or it is on its way to the dead-letter topic · `blocked`: it waits for another attempt, and keeps its place
 * before the others of its lane · `ended`.
 */
export type TaskState = "waiting" | "ready" | "parked" | "running" | "blocked" | "ended";

/** Records that were taken at once, and the memory which all of them keep. */
export interface Parcel {
  readonly delivery: Delivery;
  /** Undefined if they have no bytes at all. */
  readonly backing: ArrayBufferLike | undefined;
  /** Those that have not ended. */
  left: number;
}

export class RunTask {
  readonly record: ConsumerRecord;
  readonly parcel: Parcel;
  readonly tenure: Tenure;
  /** What it shares with the records that it must not overtake; undefined: it has no order. */
  readonly lane: string | undefined;
  state: TaskState = "waiting";
  /** Calls of the handler, those that failed, and those that put it off. */
  calls = 0;
  failures = 0;
  laters = 0;
  /** Of the first call, by the monotonic clock, ms. */
  startedAt: number | undefined;
  attempt: RunAttempt | undefined;
  /** Until its next attempt. */
  timer: Timer | undefined;
  span: ProcessSpan | undefined;
  /** The next one of its lane. */
  follower: RunTask | undefined;
  /** Its neighbours among the unfinished of its tenure. */
  before: RunTask | undefined;
  after: RunTask | undefined;

  constructor(record: ConsumerRecord, parcel: Parcel, tenure: Tenure, lane: string | undefined) {
    this.record = record;
    this.parcel = parcel;
    this.tenure = tenure;
    this.lane = lane;
  }
}

/**
 * A partition from when it is read on somewhere until it is sought elsewhere or goes away: offsets of different tenures have nothing to do
 * with each other.
 */
export class Tenure {
  readonly cursor: Cursor;
  /** Some of it was given up: nothing more of it begins, and what is running is waited for. */
  dropped = false;
  readonly #generation: number;
  #first: RunTask | undefined;
  #last: RunTask | undefined;

  constructor(cursor: Cursor) {
    this.cursor = cursor;
    this.#generation = cursor.generation;
  }

  /** False once the partition was sought elsewhere or taken away: what its records come to counts for nothing here. */
  get valid(): boolean {
    return this.#generation === this.cursor.generation;
  }

  /** Its records may be begun now. */
  get startable(): boolean {
    const { paused, held, revoked } = this.cursor;
    return !paused && !held && !revoked && !this.dropped && this.valid;
  }

  /** From the first unfinished record on, in the order of their offsets. */
  *unfinished(): Generator<RunTask, void, undefined> {
    for (let task = this.#first; task !== undefined; task = task.after) yield task;
  }

  /** In the order of offsets. */
  add(task: RunTask): void {
    task.before = this.#last;
    if (this.#last === undefined) this.#first = task;
    else this.#last.after = task;
    this.#last = task;
  }

  /** The record is done with for good; the cursor moves on to the first one that is not. */
  finish(task: RunTask): void {
    const { before, after } = task;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    if (before !== undefined || !this.valid) return;
    this.cursor.finished = this.#first?.record.offset ?? this.cursor.position;
  }
}
