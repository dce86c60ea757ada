/**
 * The reading side: takes fetched batches, decodes them one at a time, and hands them on, or waits. `poll` and the iterators are
 * made from it. It allows one reader at a time, tells each failure to whoever reads next, and leaves the event loop its turn.
 */
import { type Clock, sleep } from "../core/clock.ts";
import { asStreamHouseError, closed, invalid, StreamHouseError } from "../core/errors.ts";
import type { ConsumerRecord } from "../core/record.ts";
import type { Cursor } from "./cursor.ts";
import { Delivery } from "./delivery.ts";
import type { DeliveryMeter } from "./delivery-meter.ts";
import { decodeFetched, type Fetched, type FetchedQueue } from "./fetched.ts";

export interface ReaderComponents {
  readonly queue: FetchedQueue;
  readonly clock: Clock;
  readonly meter: DeliveryMeter;
  readonly cursors: () => Iterable<Cursor>;
  /** The queue has room again. */
  readonly onTaken: () => void;
  /** The application has nothing in hand any more. */
  readonly onFinished: () => void;
  /** Asked before each record: false when the membership has ended, and the partitions with it. */
  readonly mayHandOut: () => boolean;
}

/** Failures that nobody has read yet; later ones are dropped, the first say most. */
const FAILURES_MAX = 100;

/** A reader that waits looks again at least this often, and is told again of a partition that cannot be read, ms. */
const REPEAT_MS = 10_000;

/**
 * Records that are there are handed out without a turn of the event loop; after this long it gets one, so that heartbeats,
 * commits and the application's own timers are not starved, ms.
 */
const TURN_MS = 20;

export class Reader {
  readonly #parts: ReaderComponents;
  readonly #checkCrc: boolean;
  #current: Delivery | undefined;
  /** Earlier deliveries of the same poll: in the application's hands, not finished. */
  #inHand: Delivery[] = [];
  /** Begun deliveries of partitions that were paused meanwhile, or that a run has enough of. */
  #parked: Delivery[] = [];
  /** Decoded just now, on its way to being the current one: what is asked in between must know of it. */
  #decoded: Delivery | undefined;
  #failures: unknown[] = [];
  #reading: string | undefined;
  #closed = false;
  #turnAt = 0;
  #toldAt = 0;

  constructor(parts: ReaderComponents, options: { readonly checkCrcs: boolean }) {
    this.#parts = parts;
    this.#checkCrc = options.checkCrcs;
  }

  /** The delivery that the application is in, if there is something left to give out in it. */
  get current(): Delivery | undefined {
    const delivery = this.#current;
    if (delivery === undefined || delivery.exhausted || !delivery.valid) return undefined;
    if (!delivery.cursor.takeable || this.#closed) return undefined;
    return this.#parts.mayHandOut() ? delivery : undefined;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** A partition that was taken away while the application had something of it in hand. */
  get lostInHand(): Cursor | undefined {
    const given = [...this.#inHand, this.#current];
    return given.find((it) => it?.cursor.revoked && it.cursor.inHand)?.cursor;
  }

  /** Where to fetch from for what is not here yet: decoded records of a partition stay here while it is paused. */
  nextOffset(cursor: Cursor): number {
    const begun = [this.#current, this.#decoded, ...this.#parked].find(
      (it) => it?.cursor === cursor && it.valid && !it.exhausted,
    );
    return begun?.nextOffset ?? cursor.position;
  }

  /** @throws StreamHouseError `INVALID_ARGUMENT` if something else is reading, `CLOSED` */
  begin(what: string): () => void {
    if (this.#closed) throw closed("this consumer");
    if (this.#reading !== undefined) {
      throw invalid(
        "INVALID_ARGUMENT",
        `${what} cannot begin: this consumer is being read by ${this.#reading}; a consumer has one reader at a time`,
      );
    }
    this.#reading = what;
    return () => {
      this.#reading = undefined;
    };
  }

  /** To be told to whoever reads next. */
  fail(error: unknown): void {
    if (this.#failures.length < FAILURES_MAX) this.#failures.push(error);
    this.#parts.queue.changes.notify();
  }

  /** Waiting readers end. */
  close(): void {
    this.#closed = true;
    this.#parts.queue.changes.notify();
  }

  /** What was given out so far is finished, and counted. */
  finish(): void {
    for (const delivery of this.#inHand) delivery.finish();
    this.#inHand = [];
    this.#current?.finish();
    this.#current?.count();
    this.#parts.onFinished();
  }

  /** Counts what was given out, without finishing it. For collections of metrics. */
  count(): void {
    this.#current?.count();
  }

  /** Decoded and not given out: records, and their encoded bytes. */
  get buffered(): { readonly records: number; readonly bytes: number } {
    let records = 0;
    let bytes = 0;
    for (const delivery of [this.#current, ...this.#parked]) {
      if (!delivery?.valid) continue;
      records += delivery.remaining;
      bytes += delivery.remainingBytes;
    }
    return { records, bytes };
  }

  /** What was given out last was not finished: it will be given out again. */
  putBack(): void {
    this.#current?.count();
    this.#current?.putBack();
    this.#parts.onFinished();
  }

  /**
   * A delivery with something to give out: the current one, or the next. Undefined when `until` (by the monotonic clock) has passed
   * or the consumer was closed.
   * @throws what the application has to know: a corrupt batch, an offset out of range, a listener's error; `ABORTED`
   */
  async next(until: number, signal?: AbortSignal): Promise<Delivery | undefined> {
    const { clock, queue } = this.#parts;
    for (;;) {
      if (this.#closed) return undefined;
      if (signal?.aborted) throw aborted(signal);
      if (this.#failures.length > 0) throw this.#failures.shift();
      if (clock.monotonic() - this.#turnAt >= TURN_MS) await this.#turn(signal);
      const delivery = this.current ?? this.#unpark() ?? (await this.#decodeNext());
      // The process may have been stopped for long just now.
      if (delivery !== undefined && !this.#parts.mayHandOut()) continue;
      if (delivery !== undefined) {
        this.#current = delivery;
        // Somebody may have sought or paused its partition since it was decoded.
        if (this.current === undefined) continue;
        this.#parts.meter.begin();
        return delivery;
      }
      this.#throwFailure();
      const left = until - clock.monotonic();
      if (left <= 0) return undefined;
      await queue.changes.wait(clock, Math.min(left, REPEAT_MS), signal);
      this.#turnAt = clock.monotonic();
    }
  }

  /**
   * For `poll`: finishes what was given out before, then as `next`, but up to `max` records of several deliveries. Tells in `from`
   * whose they are.
   */
  async collect(
    max: number,
    until: number,
    from: Cursor[],
    signal?: AbortSignal,
  ): Promise<ConsumerRecord[]> {
    this.finish();
    const records: ConsumerRecord[] = [];
    let delivery = await this.next(until, signal);
    while (delivery !== undefined) {
      // Not of a partition that was sought just now: its position is another.
      const taken = delivery.valid ? delivery.take(max - records.length) : [];
      for (const record of taken) records.push(record);
      from.push(delivery.cursor);
      delivery = records.length < max ? await this.#more() : undefined;
    }
    return records;
  }

  /** One more delivery, if there is one at once. What the application has to know meanwhile is told at its next read. */
  async #more(): Promise<Delivery | undefined> {
    if (this.#closed || this.#failures.length > 0) return undefined;
    const before = this.#current;
    try {
      const delivery = await this.#decodeNext();
      if (delivery === undefined || !this.#parts.mayHandOut()) return undefined;
      if (before !== undefined) this.#inHand.push(before);
      this.#current = delivery;
      return this.current;
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }

  async #turn(signal: AbortSignal | undefined): Promise<void> {
    const { clock } = this.#parts;
    await sleep(clock, 0, signal).catch(() => {});
    this.#turnAt = clock.monotonic();
  }

  #unpark(): Delivery | undefined {
    const left = this.#current;
    this.#current = undefined;
    if (left?.valid && !left.exhausted) this.#parked.push(left);
    this.#parked = this.#parked.filter((it) => it.valid);
    const at = this.#parked.findIndex((it) => it.cursor.takeable);
    return at < 0 ? undefined : this.#parked.splice(at, 1)[0];
  }

  /** @throws StreamHouseError if the next entry cannot be read; its partition has failed then */
  async #decodeNext(): Promise<Delivery | undefined> {
    for (;;) {
      const entry = this.#parts.queue.take();
      if (entry === undefined) return undefined;
      if (entry.kind === "stop") {
        this.#failed(entry.cursor, entry.cursor.fetchOffset, entry.error);
        throw entry.error;
      }
      this.#parts.onTaken();
      const delivery = await this.#decode(entry);
      if (delivery !== undefined) return delivery;
    }
  }

  async #decode(fetched: Fetched): Promise<Delivery | undefined> {
    const { cursor, fromOffset, generation } = fetched;
    try {
      const runs: number[] = [];
      const decoded = decodeFetched(fetched, this.#checkCrc, runs);
      const records = Array.isArray(decoded) ? decoded : await decoded;
      // It may have been seeked or revoked while it was decompressed.
      if (generation !== cursor.fetchGeneration || records.length === 0) return undefined;
      this.#decoded = new Delivery(fetched, { records, runs }, this.#parts.meter);
      return this.#decoded;
    } catch (thrown) {
      if (generation !== cursor.fetchGeneration) return undefined;
      const error = asStreamHouseError(thrown, `reading ${cursor.name}`);
      this.#failed(cursor, fromOffset, error);
      throw error;
    }
  }

  /**
   * A partition that cannot be read is said again until a seek: at once if nothing else can come, otherwise now and then, so
   * that a loop which reads on after the error is given the records of the others.
   */
  #throwFailure(): void {
    const now = this.#parts.clock.monotonic();
    let failure: StreamHouseError | undefined;
    let healthy = false;
    for (const cursor of this.#parts.cursors()) {
      if (!cursor.deliverable) continue;
      if (cursor.failure === undefined) healthy = true;
      else failure ??= cursor.failure;
    }
    if (failure === undefined || (healthy && now - this.#toldAt < REPEAT_MS)) return;
    this.#toldAt = now;
    throw failure;
  }

  /** The first time: the failure stands in the order of the records. */
  #failed(cursor: Cursor, offset: number, error: StreamHouseError): void {
    cursor.fail(offset, error);
    this.#toldAt = this.#parts.clock.monotonic();
  }
}

export function aborted(signal: AbortSignal): StreamHouseError {
  return new StreamHouseError({
    code: "ABORTED",
    kind: "closed",
    message: "reading was aborted by its signal; the consumer can be read again",
    cause: signal.reason,
  });
}
