import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Cursor } from "../../../src/consumer/cursor.ts";
import type { Delivery } from "../../../src/consumer/delivery.ts";
import type { PartitionCells } from "../../../src/consumer/instruments.ts";
import type { RunOrder } from "../../../src/consumer/run-options.ts";
import { RunSchedule } from "../../../src/consumer/run-schedule.ts";
import type { RunTask } from "../../../src/consumer/run-task.ts";
import { ConsumerRecord } from "../../../src/core/record.ts";

const KEYS = 2;
const PARTITIONS = 3;

/** Steps of a schedule's life; numbers choose among what is there. */
type Step =
  | { readonly kind: "add"; readonly partition: number; readonly keys: readonly number[] }
  | { readonly kind: "next" }
  | { readonly kind: "finish" | "block" | "again" | "spoil"; readonly which: number }
  | { readonly kind: "pause" | "resume" | "drop"; readonly partition: number };

const partition = fc.nat({ max: PARTITIONS - 1 });
const which = fc.nat();
const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant("add" as const),
    partition,
    keys: fc.array(fc.integer({ min: -1, max: KEYS - 1 }), { minLength: 1, maxLength: 6 }),
  }),
  fc.record({ kind: fc.constant("next" as const) }),
  fc.record({ kind: fc.constant("next" as const) }),
  fc.record({ kind: fc.constantFrom("finish" as const, "block", "again", "spoil"), which }),
  fc.record({ kind: fc.constant("finish" as const), which }),
  fc.record({ kind: fc.constantFrom("pause" as const, "resume", "drop"), partition }),
);

function newCursor(partition: number): Cursor {
  return new Cursor({
    ...{ topicId: "id", topic: "t", partition, offset: 0, committed: -1 },
    cells: {} as unknown as PartitionCells,
  });
}

/** Drives a schedule, and checks what it promises after each step against accounts of its own. */
class Model {
  readonly schedule: RunSchedule;
  readonly #orderBy: RunOrder;
  readonly #concurrency: number;
  readonly #cursors = Array.from({ length: PARTITIONS }, (_, i) => newCursor(i));
  readonly #running: RunTask[] = [];
  readonly #blocked: RunTask[] = [];
  /** Offsets that are finished, by partition, since it was read from its `finished` on. */
  readonly #finished = this.#cursors.map(() => new Set<number>());
  /** Keys by offset, of each partition. */
  readonly #log: number[][] = this.#cursors.map(() => []);
  /** Highest offset begun in each lane; begun again only by the same record. */
  readonly #begun = new Map<string, number>();

  constructor(orderBy: RunOrder, concurrency: number) {
    this.#orderBy = orderBy;
    this.#concurrency = concurrency;
    const limits = { bufferRecords: 1_000, bufferBytes: 1_000_000 };
    this.schedule = new RunSchedule({ orderBy, concurrency, ...limits });
  }

  apply(step: Step): void {
    if (step.kind === "add") this.#add(step.partition, step.keys);
    else if (step.kind === "next") this.#next();
    else if ("partition" in step) this.#move(step.kind, step.partition);
    else this.#end(step.kind, step.which);
    this.#check();
  }

  /** Whatever happened: when all is finished that can be, nothing is left. */
  drain(): void {
    for (const cursor of this.#cursors) this.#move("resume", cursor.partition);
    for (let i = 0; i < 10_000; i++) {
      this.#next();
      if (this.#running.length > 0) this.#end("finish", 0);
      else if (this.#blocked.length > 0) this.#end("again", 0);
      else break;
    }
    this.#check();
    assert.equal(this.schedule.buffer.records, 0);
    assert.equal(this.schedule.buffer.bytes, 0);
    assert.equal(this.schedule.running + this.schedule.blocked + this.schedule.waiting, 0);
    for (const cursor of this.#cursors) assert.equal(cursor.finished, cursor.position);
  }

  #add(partition: number, keys: readonly number[]): void {
    const cursor = this.#cursor(partition);
    const bytes = new Uint8Array(100);
    const log = this.#log[partition] as number[];
    const records = keys.map((wanted, i) => {
      // Read again, a record has the key that it had.
      const offset = cursor.position + i;
      const key = log[offset] ?? wanted;
      log[offset] = key;
      const text = key < 0 ? null : Uint8Array.of(key);
      return new ConsumerRecord("t", partition, offset, 0, 0, text, bytes, []);
    });
    cursor.lend(records.length, cursor.position + records.length);
    this.schedule.add({ cursor } as unknown as Delivery, records);
  }

  #next(): void {
    const task = this.schedule.next();
    if (task === undefined) return;
    const { cursor } = task.tenure;
    assert.ok(!cursor.paused && task.tenure.valid, "begun although it may not be");
    const lane = this.#lane(task.record);
    const same = this.#running.find((it) => isSame(it.record, task.record));
    assert.equal(same, undefined, "one record twice at once");
    if (lane !== undefined) {
      const rival = [...this.#running, ...this.#blocked].find(
        (it) => this.#lane(it.record) === lane,
      );
      assert.equal(rival, undefined, "two of a lane at once");
      assert.ok(task.record.offset >= (this.#begun.get(lane) ?? 0), "overtaken");
      this.#begun.set(lane, task.record.offset);
    }
    this.#running.push(task);
  }

  #end(kind: "finish" | "block" | "again" | "spoil", which: number): void {
    const from = kind === "again" ? this.#blocked : this.#running;
    const [task] = from.length === 0 ? [] : from.splice(which % from.length, 1);
    if (task === undefined) return;
    const { cursor } = task.tenure;
    if (kind === "block" && task.tenure.valid) {
      this.schedule.block(task);
      this.#blocked.push(task);
    } else if (kind === "again") this.schedule.again(task);
    else if (kind === "finish") {
      if (task.tenure.valid) this.#finished[cursor.partition]?.add(task.record.offset);
      this.schedule.end(task, true);
    } else {
      // It ends without being finished: its partition is read anew, from the first unfinished record on.
      if (task.tenure.valid) this.#drop(cursor);
      this.schedule.end(task, false);
    }
  }

  #move(kind: "pause" | "resume" | "drop", partition: number): void {
    const cursor = this.#cursor(partition);
    if (kind === "drop") this.#drop(cursor);
    else {
      cursor.paused = kind === "pause";
      this.schedule.resume(cursor);
    }
  }

  #drop(cursor: Cursor): void {
    for (const [tenure] of [...this.schedule.tenures()]) {
      if (tenure.cursor === cursor) this.schedule.drop(tenure);
    }
    const gone = this.#blocked.filter((it) => it.tenure.cursor === cursor);
    for (const task of gone) this.#blocked.splice(this.#blocked.indexOf(task), 1);
    cursor.rewind();
    this.#finished[cursor.partition]?.clear();
    for (const lane of this.#begun.keys()) {
      if (lane.startsWith(`${cursor.partition}/`)) this.#begun.delete(lane);
    }
  }

  #check(): void {
    const { running, blocked, waiting, buffer } = this.schedule;
    assert.equal(running, this.#running.length);
    assert.ok(running <= this.#concurrency);
    assert.equal(blocked, this.#blocked.length);
    assert.ok(waiting >= 0);
    assert.equal(buffer.records, running + blocked + waiting);
    for (const cursor of this.#cursors) {
      const done = this.#finished[cursor.partition];
      for (let offset = this.#from(cursor); offset < cursor.finished; offset++) {
        assert.ok(done?.has(offset), `${offset} is not finished, but ${cursor.finished} is said`);
      }
      assert.ok(!done?.has(cursor.finished), "finished, and not said");
    }
  }

  /** Where the account begins: the first offset that is in it. */
  #from(cursor: Cursor): number {
    return Math.min(cursor.finished, ...(this.#finished[cursor.partition] ?? []));
  }

  #lane({ partition, key }: ConsumerRecord): string | undefined {
    if (this.#orderBy === "none" || (this.#orderBy === "key" && key === null)) return undefined;
    return `${partition}/${this.#orderBy === "key" ? key : ""}`;
  }

  #cursor(partition: number): Cursor {
    return this.#cursors[partition] as Cursor;
  }
}

function isSame(a: ConsumerRecord, b: ConsumerRecord): boolean {
  return a.partition === b.partition && a.offset === b.offset;
}

describe("the schedule of a run", () => {
  for (const orderBy of ["key", "partition", "none"] as const) {
    it(`keeps what orderBy ${orderBy} promises, whatever happens, and says finished only what is, without a gap`, () => {
      fc.assert(
        fc.property(
          fc.array(steps, { maxLength: 80 }),
          fc.integer({ min: 1, max: 5 }),
          (all, concurrency) => {
            const model = new Model(orderBy, concurrency);
            for (const step of all) model.apply(step);
            model.drain();
          },
        ),
        { numRuns: 400 },
      );
    });
  }

  it("tells all keys apart, of any bytes and length", () => {
    const schedule = new RunSchedule({
      ...{ orderBy: "key", concurrency: 10_000 },
      ...{ bufferRecords: 10_000, bufferBytes: 10_000_000 },
    });
    const cursor = newCursor(0);
    const keys: Uint8Array[] = [new Uint8Array(0), new Uint8Array(300)];
    for (let byte = 0; byte < 256; byte++) {
      keys.push(Uint8Array.of(byte), new Uint8Array(400).fill(byte, 399));
    }
    const records = keys.map((key, i) => new ConsumerRecord("t", 0, i, 0, 0, key, null, []));
    schedule.add({ cursor } as unknown as Delivery, records);
    let begun = 0;
    while (schedule.next() !== undefined) begun++;
    assert.equal(begun, keys.length);
  });
});
