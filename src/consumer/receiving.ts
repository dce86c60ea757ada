/**
 * What an application's waiting for records looks like from outside: the durations and the `receive` spans of polls and of the batches
 * of an iteration, and the rebalances that happened meanwhile. It reads nothing itself. Called by `consumer-rooms.ts`.
 */
import type { Clock } from "../core/clock.ts";
import { StreamHouseError } from "../core/errors.ts";
import type { ConsumerRecord } from "../core/record.ts";
import type { SampledIn } from "../telemetry/cells.ts";
import { type PastEvent, recordReceiveSpan } from "../telemetry/record-spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { Cursor } from "./cursor.ts";
import type { Delivery } from "./delivery.ts";
import type { ConsumerInstruments } from "./instruments.ts";

export interface ReceivingComponents {
  readonly telemetry: Telemetry;
  readonly instruments: ConsumerInstruments;
  readonly clock: Clock;
  readonly group: string | undefined;
  /** The one topic that is subscribed to, if it is one. */
  readonly topic: string | undefined;
}

/** A change of the assignment. */
export interface RebalanceNote {
  readonly epoch: number | undefined;
  readonly assigned: number;
  readonly revoked: number;
  /** The membership had ended: nothing of it could be committed. */
  readonly lost: boolean;
}

/** Rebalances that no receive span has told of yet; later ones are dropped, the metrics count them all. */
const NOTES_MAX = 16;

/** What one receive brought. */
interface Received {
  readonly count: number;
  readonly records: () => readonly ConsumerRecord[];
  readonly from: readonly Cursor[];
  readonly timeoutMs?: number;
  readonly error?: unknown;
}

export class Receiving {
  /** What processing is measured with, too. */
  readonly parts: ReceivingComponents;
  #notes: PastEvent[] = [];

  constructor(parts: ReceivingComponents) {
    this.parts = parts;
  }

  /** The next receive span has it as an event. */
  rebalanced({ epoch, ...change }: RebalanceNote): void {
    if (!this.parts.telemetry.enabled || this.#notes.length >= NOTES_MAX) return;
    const attributes = epoch === undefined ? change : { ...change, epoch };
    this.#notes.push({ name: "rebalance", atMs: this.parts.clock.now(), attributes });
  }

  /** One `poll()`: `read` tells in `from` which partitions its records come from. */
  async poll(
    timeoutMs: number,
    read: (until: number, from: Cursor[]) => Promise<ConsumerRecord[]>,
  ): Promise<ConsumerRecord[]> {
    const { clock, instruments, topic } = this.parts;
    const beganAtMs = clock.now();
    const began = clock.monotonic();
    const from: Cursor[] = [];
    const ended = (records: ConsumerRecord[], error?: unknown) => {
      const tookMs = clock.monotonic() - began;
      const count = records.length;
      const received = { count, records: () => records, from, timeoutMs, error };
      const span = this.#tell(received, beganAtMs, tookMs);
      instruments.polled({ seconds: tookMs / 1_000, topic, span, error });
    };
    try {
      const records = await read(began + timeoutMs, from);
      ended(records);
      return records;
    } catch (error) {
      ended([], error);
      throw error;
    }
  }

  /** One batch of an iteration, from when it is asked for until it is there. */
  async next(ask: () => Promise<Delivery | undefined>): Promise<Delivery | undefined> {
    const { clock, telemetry } = this.parts;
    if (!telemetry.enabled) return ask();
    const beganAtMs = clock.now();
    const began = clock.monotonic();
    const ended = (received: Received) =>
      this.#tell(received, beganAtMs, clock.monotonic() - began);
    try {
      const delivery = await ask();
      if (delivery !== undefined) {
        const { cursor, remaining } = delivery;
        ended({ count: remaining, records: () => delivery.rest(), from: [cursor] });
      }
      return delivery;
    } catch (error) {
      // A loop that was left is no failure of what it waited for.
      const isLeft = StreamHouseError.is(error) && error.kind === "closed";
      if (!isLeft) ended({ count: 0, records: () => [], from: [], error });
      throw error;
    }
  }

  #tell(received: Received, beganAtMs: number, tookMs: number): SampledIn | undefined {
    const { telemetry, group, topic } = this.parts;
    const events = this.#notes;
    if (events.length > 0) this.#notes = [];
    if (!telemetry.traces) return undefined;
    const times = { beganAtMs, endedAtMs: beganAtMs + tookMs };
    return recordReceiveSpan(telemetry, { ...received, ...times, group, topic, events });
  }
}
