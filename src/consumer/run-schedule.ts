/**
 * Which record may be worked on next. Keeps records of one lane (a key, or a partition) one after the other, across their retries, and
 * lets the others pass; keeps the account of what each partition has finished. A state machine without time and I/O: `run.ts` tells
 * it what happened and asks what to begin.
 */
import { Queue } from "../core/queue.ts";
import type { ConsumerRecord } from "../core/record.ts";
import type { Cursor } from "./cursor.ts";
import type { Delivery } from "./delivery.ts";
import { RunBuffer, Share } from "./run-buffer.ts";
import type { RunOrder } from "./run-options.ts";
import { type Parcel, RunTask, Tenure } from "./run-task.ts";

export interface ScheduleSettings {
  readonly concurrency: number;
  readonly orderBy: RunOrder;
  readonly bufferRecords: number;
  readonly bufferBytes: number;
}

/** A partition as long as the run lasts: its lanes outlive its tenures, so that records of one key never overlap. */
class Place {
  tenure: Tenure;
  readonly share = new Share();
  /** The last record of each lane that has one which has not ended. */
  readonly lanes = new Map<string, RunTask>();
  readonly running = new Set<RunTask>();
  /** Records without a lane that ran when the tenure changed, by offset: the same ones are not to begin before they have ended. */
  left: ReadonlyMap<number, RunTask> = new Map();
  /** Their turn came while the partition was paused. */
  parked: RunTask[] = [];

  constructor(tenure: Tenure) {
    this.tenure = tenure;
  }
}

export class RunSchedule {
  readonly buffer: RunBuffer;
  readonly #settings: ScheduleSettings;
  readonly #places = new Map<string, Place>();
  readonly #ready = new Queue<RunTask>();
  /** Entries of `#ready` that have not been dropped. */
  #due = 0;
  #running = 0;
  #blocked = 0;

  constructor(settings: ScheduleSettings) {
    this.#settings = settings;
    const { bufferRecords: records, bufferBytes: bytes } = settings;
    this.buffer = new RunBuffer({ records, bytes });
  }

  get running(): number {
    return this.#running;
  }

  /** Records that wait for another attempt. */
  get blocked(): number {
    return this.#blocked;
  }

  /** Records whose first attempt has not begun, or whose next one waits for a slot. */
  get waiting(): number {
    return this.buffer.records - this.#running - this.#blocked;
  }

  /** There are slots, and nothing that could take them. */
  get idle(): boolean {
    return this.#running < this.#settings.concurrency && this.#due === 0;
  }

  /** Every record that has been begun and has not ended, in no order. */
  *begun(): Generator<RunTask, void, undefined> {
    for (const { running, tenure } of this.#places.values()) {
      yield* running;
      for (const task of tenure.unfinished()) {
        const isOver = task.state === "running" || task.state === "ended";
        if (!isOver && task.startedAt !== undefined) yield task;
      }
    }
  }

  /** When the handler call began that has not returned for the longest time, by the monotonic clock; undefined if none is under way. */
  get oldestCallAt(): number | undefined {
    let oldest: number | undefined;
    for (const { running } of this.#places.values()) {
      for (const { attempt } of running) {
        if (attempt !== undefined) oldest = Math.min(attempt.beganAt, oldest ?? attempt.beganAt);
      }
    }
    return oldest;
  }

  /** What was taken from a delivery: never empty, of one partition, in order, after everything taken from it before. */
  add(delivery: Delivery, records: readonly ConsumerRecord[]): void {
    const { cursor } = delivery;
    const place = this.#place(cursor);
    const parcel: Parcel = { delivery, backing: backingOf(records), left: records.length };
    this.buffer.add(place.share, parcel);
    for (const record of records) {
      const task = new RunTask(record, parcel, place.tenure, this.#laneOf(record));
      place.tenure.add(task);
      const last = lastOf(place, task);
      if (task.lane !== undefined) place.lanes.set(task.lane, task);
      if (last === undefined) this.#becomesReady(task);
      else last.follower = task;
    }
  }

  /** The next record to begin, which is running from now on; undefined if there is no slot or nothing that may. */
  next(): RunTask | undefined {
    if (this.#running >= this.#settings.concurrency) return undefined;
    for (let task = this.#ready.shift(); task !== undefined; task = this.#ready.shift()) {
      if (task.state !== "ready") continue;
      this.#due--;
      const place = this.#placeOf(task);
      if (!task.tenure.startable) {
        task.state = "parked";
        place.parked.push(task);
        continue;
      }
      task.state = "running";
      place.running.add(task);
      this.#running++;
      return task;
    }
    return undefined;
  }

  /** An attempt has ended, and there will be another one after a while: `again` says when. Its slot is free, its lane is not. */
  block(task: RunTask): void {
    this.#stopRunning(task);
    task.state = "blocked";
    this.#blocked++;
  }

  /** A blocked record may have its next attempt. */
  again(task: RunTask): void {
    if (task.state !== "blocked") return;
    this.#blocked--;
    this.#becomesReady(task);
  }

  /** A running record has ended. `finished`: it is done with for good, and may be committed when all before it are. */
  end(task: RunTask, finished: boolean): void {
    this.#stopRunning(task);
    task.state = "ended";
    const place = this.#placeOf(task);
    this.buffer.release(place.share, task.parcel);
    if (finished) task.tenure.finish(task);
    const { lane, follower } = task;
    task.follower = undefined;
    if (follower !== undefined) this.#becomesReady(follower);
    else if (lane !== undefined && place.lanes.get(lane) === task) place.lanes.delete(lane);
  }

  /**
   * Gives up what has not begun, or waits for another attempt, and answers it: none of it is finished. What is running goes on, and keeps
   * its lane.
   */
  drop(tenure: Tenure): readonly RunTask[] {
    tenure.dropped = true;
    const place = this.#places.get(tenure.cursor.key);
    if (place === undefined) return [];
    const dropped: RunTask[] = [];
    for (const task of tenure.unfinished()) {
      if (task.state !== "running" && task.state !== "ended") dropped.push(task);
    }
    for (const task of dropped) this.#drop(place, task);
    if (place.tenure !== tenure) return dropped;
    place.parked = [];
    place.lanes.clear();
    for (const task of place.running) {
      task.follower = undefined;
      if (task.lane !== undefined) place.lanes.set(task.lane, task);
    }
    return dropped;
  }

  isRunning(tenure: Tenure): boolean {
    for (const task of this.#places.get(tenure.cursor.key)?.running ?? []) {
      if (task.tenure === tenure) return true;
    }
    return false;
  }

  /** The partition may be read on: what waited for that is ready. */
  resume(cursor: Cursor): void {
    const place = this.#places.get(cursor.key);
    if (place === undefined || place.parked.length === 0 || !place.tenure.startable) return;
    const { parked } = place;
    place.parked = [];
    for (const task of parked) if (task.state === "parked") this.#becomesReady(task);
  }

  /** The newest tenure of each partition that the run has something of, with what is running there, of earlier ones too. */
  *tenures(): Generator<readonly [Tenure, ReadonlySet<RunTask>], void, undefined> {
    for (const { tenure, running } of this.#places.values()) yield [tenure, running];
  }

  /** What the partition has of the buffer. */
  shareOf(cursor: Cursor): Share | undefined {
    return this.#places.get(cursor.key)?.share;
  }

  /** Forgets partitions that are gone, and of which nothing is left. */
  forget(tenure: Tenure): void {
    const place = this.#places.get(tenure.cursor.key);
    if (place?.tenure === tenure && place.share.records === 0) {
      this.#places.delete(tenure.cursor.key);
    }
  }

  #place(cursor: Cursor): Place {
    let place = this.#places.get(cursor.key);
    if (place === undefined) {
      place = new Place(new Tenure(cursor));
      this.#places.set(cursor.key, place);
    } else if (place.tenure.cursor !== cursor || !place.tenure.valid) {
      place.tenure = new Tenure(cursor);
      const left = [...place.running].filter((it) => it.lane === undefined);
      place.left = new Map(left.map((it) => [it.record.offset, it]));
    }
    return place;
  }

  #placeOf(task: RunTask): Place {
    const place = this.#places.get(task.tenure.cursor.key);
    if (place === undefined) throw new Error(`a run has lost ${task.tenure.cursor.name}`);
    return place;
  }

  #laneOf(record: ConsumerRecord): string | undefined {
    const { orderBy } = this.#settings;
    if (orderBy === "partition") return "";
    return orderBy === "none" || record.key === null ? undefined : textOf(record.key);
  }

  #becomesReady(task: RunTask): void {
    task.state = "ready";
    this.#due++;
    this.#ready.push(task);
  }

  #stopRunning(task: RunTask): void {
    if (!this.#placeOf(task).running.delete(task)) throw new Error("a record ended twice");
    this.#running--;
  }

  #drop(place: Place, task: RunTask): void {
    if (task.state === "blocked") this.#blocked--;
    else if (task.state === "ready") this.#due--;
    task.state = "ended";
    task.follower = undefined;
    this.buffer.release(place.share, task.parcel);
  }
}

/** The one that must end before it begins. */
function lastOf({ lanes, left }: Place, { lane, record }: RunTask): RunTask | undefined {
  if (lane !== undefined) return lanes.get(lane);
  const same = left.size === 0 ? undefined : left.get(record.offset);
  return same?.state === "running" ? same : undefined;
}

const decoder = new TextDecoder("latin1");
/** Arguments of one call: well below what any runtime's stack takes. */
const ARGUMENTS_MAX = 256;

/** One character for each byte: any way to tell all keys apart will do. */
function textOf(key: Uint8Array): string {
  return key.length <= ARGUMENTS_MAX
    ? String.fromCharCode.apply(null, key as unknown as number[])
    : decoder.decode(key);
}

/** All records of a batch lie in one buffer; the first that has bytes shows which. */
function backingOf(records: readonly ConsumerRecord[]): ArrayBufferLike | undefined {
  for (const { key, value } of records) {
    const bytes = value ?? key;
    if (bytes !== null) return bytes.buffer;
  }
  return undefined;
}
