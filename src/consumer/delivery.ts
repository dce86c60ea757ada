/**
 * What the application is being given: the decoded records of one batch, and the account of how far it is. A record is finished
 * when the application asks for what comes after it. Used by the reader, `poll` and the iterators.
 */
import type { ConsumerRecord } from "../core/record.ts";
import type { Cursor } from "./cursor.ts";
import type { Fetched } from "./fetched.ts";

export class Delivery {
  readonly cursor: Cursor;
  /** What was left of the batch at the consumer's position: never empty, offsets without gaps. */
  readonly records: readonly ConsumerRecord[];
  readonly nextOffset: number;
  readonly #generation: number;
  readonly #bytes: number;
  /** Records given out. */
  #given = 0;
  /** Records counted in the metrics: each once, however often it is given out. */
  #counted = 0;

  constructor(fetched: Fetched, records: readonly ConsumerRecord[]) {
    this.cursor = fetched.cursor;
    this.records = records;
    this.nextOffset = fetched.nextOffset;
    this.#generation = fetched.cursor.generation;
    this.#bytes = (fetched.bytes.length * records.length) / fetched.header.recordCount;
  }

  /** False once the partition was revoked or seeked: what is left must not be given out. */
  get valid(): boolean {
    return this.#generation === this.cursor.generation;
  }

  get exhausted(): boolean {
    return this.#given >= this.records.length;
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

  /** Everything given out is finished. */
  finish(): void {
    if (this.valid) this.cursor.finished = this.cursor.position;
  }

  /** What was given out and is not finished will be given out again. */
  putBack(): void {
    const first = this.records[0];
    if (!this.valid || first === undefined) return;
    const { cursor } = this;
    this.#given = Math.min(this.#given, Math.max(0, cursor.finished - first.offset));
    cursor.position = Math.max(cursor.finished, first.offset);
  }

  /** Brings the counters up to what was given out. */
  count(): void {
    const fresh = this.#given - this.#counted;
    if (fresh <= 0) return;
    const { recordsConsumed, bytesConsumed } = this.cursor.cells;
    recordsConsumed.add(fresh);
    bytesConsumed.add(this.#share(this.#given) - this.#share(this.#counted));
    this.#counted = this.#given;
  }

  /** Bytes of the first `records`: shares that add up to the batch. */
  #share(records: number): number {
    return Math.round((this.#bytes * records) / this.records.length);
  }
}
