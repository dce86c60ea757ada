/**
 * What the application is being given: the decoded records of one batch, and the account of how far it is. A record is finished
 * when the application asks for what comes after it. Used by the reader, `poll` and the iterators.
 */
import type { ConsumerRecord } from "../core/record.ts";
import type { Cursor } from "./cursor.ts";
import type { DecodedBatch, DeliveryMeter, DeliveryPace } from "./delivery-meter.ts";
import type { Fetched } from "./fetched.ts";

export class Delivery {
  readonly cursor: Cursor;
  /** What was left of the batch at the consumer's position: never empty, offsets without gaps. */
  readonly records: readonly ConsumerRecord[];
  readonly nextOffset: number;
  readonly #generation: number;
  readonly #bytes: number;
  readonly #meter: DeliveryMeter;
  readonly #decoded: DecodedBatch;
  /** Records given out. */
  #given = 0;
  /** Records counted in the metrics: each once, however often it is given out. */
  #counted = 0;

  constructor(fetched: Fetched, decoded: DecodedBatch, meter: DeliveryMeter) {
    const { records } = decoded;
    this.cursor = fetched.cursor;
    this.records = records;
    this.#decoded = decoded;
    this.#meter = meter;
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

  /** Records that were not given out. */
  get remaining(): number {
    return this.records.length - this.#given;
  }

  /** Their encoded bytes. */
  get remainingBytes(): number {
    return this.#share(this.records.length) - this.#share(this.#given);
  }

  /** What was not given out. */
  rest(): readonly ConsumerRecord[] {
    return this.records.slice(this.#given);
  }

  /** The next record. The caller has asked whether there is one. */
  next(): ConsumerRecord {
    const record = this.records[this.#given++] as ConsumerRecord;
    this.cursor.position = record.offset + 1;
    if (--this.#meter.left <= 0 || this.#given === this.records.length) this.#count("spread");
    return record;
  }

  /** The next `count` records, or what is left. */
  take(count: number): readonly ConsumerRecord[] {
    const from = this.#given;
    this.#given = Math.min(this.records.length, from + count);
    const last = this.records[this.#given - 1];
    if (last !== undefined) this.cursor.position = last.offset + 1;
    this.#count("together");
    return from === 0 && this.exhausted ? this.records : this.records.slice(from, this.#given);
  }

  /** The next `count` records, or what is left, for a run: it tells with `given` when the application gets each of them. */
  lend(count: number): readonly ConsumerRecord[] {
    const from = this.#given;
    this.#given = Math.min(this.records.length, from + count);
    this.#counted = this.#given;
    const last = this.records[this.#given - 1];
    if (last !== undefined) this.cursor.lend(this.#given - from, last.offset + 1);
    return from === 0 && this.exhausted ? this.records : this.records.slice(from, this.#given);
  }

  /** The application is given a lent record: that is when it counts as consumed. */
  given(record: ConsumerRecord): void {
    const from = record.offset - (this.records[0]?.offset ?? record.offset);
    const { cells } = this.cursor;
    cells.recordsConsumed.add(1);
    cells.consumedMessages.add(1);
    cells.bytesConsumed.add(this.#share(from + 1) - this.#share(from));
    this.#meter.delivered(cells, this.#decoded, { from, to: from + 1 }, "together");
    if (this.valid) this.cursor.given();
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
    cursor.putBack(Math.max(cursor.finished, first.offset));
  }

  /** Brings the counters up to what was given out. */
  count(): void {
    this.#count("stalled");
  }

  #count(pace: DeliveryPace): void {
    const from = this.#counted;
    const to = this.#given;
    const fresh = to - from;
    if (fresh <= 0) return;
    const { cells } = this.cursor;
    cells.recordsConsumed.add(fresh);
    cells.consumedMessages.add(fresh);
    cells.bytesConsumed.add(this.#share(to) - this.#share(from));
    this.#counted = to;
    this.#meter.delivered(cells, this.#decoded, { from, to }, pace);
  }

  /** Bytes of the first `records`: shares that add up to the batch. */
  #share(records: number): number {
    return Math.round((this.#bytes * records) / this.records.length);
  }
}
