/**
 * What the application is being given: decoded records of one batch at a time, and the account of how far it is. A record is
 * finished when the application asks for what comes after it. Used by `poll`, the record iterator and the batch iterator.
 */
import type { ConsumerRecord } from "../core/record.ts";
import type { Cursor } from "./cursor.ts";
import type { Fetched } from "./fetched.ts";

export class Delivery {
  readonly cursor: Cursor;
  readonly records: readonly ConsumerRecord[];
  readonly nextOffset: number;
  readonly #generation: number;
  readonly #bytes: number;
  /** Records given out. */
  #given = 0;
  /** Records counted in the metrics. */
  #counted = 0;

  constructor(fetched: Fetched, records: readonly ConsumerRecord[]) {
    this.cursor = fetched.cursor;
    this.records = records;
    this.nextOffset = fetched.nextOffset;
    this.#generation = fetched.generation;
    this.#bytes = Math.round((fetched.bytes.length * records.length) / fetched.header.recordCount);
  }

  /** False once the partition was revoked or seeked: what is left must not be given out. */
  get valid(): boolean {
    return this.#generation === this.cursor.generation;
  }

  get exhausted(): boolean {
    return this.#given >= this.records.length;
  }

  get given(): number {
    return this.#given;
  }

  /** The next record. The caller has asked whether there is one. */
  next(): ConsumerRecord {
    const record = this.records[this.#given++] as ConsumerRecord;
    this.cursor.position = record.offset + 1;
    return record;
  }

  /** The next `count` records, or what is left. */
  take(count: number): readonly ConsumerRecord[] {
    const from = this.#given;
    this.#given = Math.min(this.records.length, from + count);
    const last = this.records[this.#given - 1];
    if (last !== undefined) this.cursor.position = last.offset + 1;
    return from === 0 && this.exhausted ? this.records : this.records.slice(from, this.#given);
  }

  /** Gives the last record back: it was not finished, and will be given out again. */
  putBackLast(): void {
    if (!this.valid || this.#given === 0) return;
    this.#given--;
    const record = this.records[this.#given] as ConsumerRecord;
    if (this.cursor.finished <= record.offset) this.cursor.position = record.offset;
    else this.#given++;
  }

  /** Everything given out is finished. */
  finish(): void {
    if (!this.valid) return;
    this.cursor.finished = this.exhausted ? this.nextOffset : this.cursor.position;
    if (this.exhausted) this.cursor.position = this.nextOffset;
  }

  /** Brings the counters up to what was given out; each record counts once, however often it is given out. */
  count(): void {
    const fresh = this.#given - this.#counted;
    if (fresh <= 0) return;
    const { recordsConsumed, bytesConsumed, currentOffset } = this.cursor.cells;
    recordsConsumed.add(fresh);
    bytesConsumed.add(this.#share(this.#given) - this.#share(this.#counted));
    if (!this.cursor.revoked) currentOffset.set(this.cursor.position);
    this.#counted = this.#given;
  }

  #share(records: number): number {
    return Math.round((this.#bytes * records) / this.records.length);
  }
}
