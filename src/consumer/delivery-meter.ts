/**
 * When records were handed to the application, measured exactly in number and closely in time, without reading the clock for each: at
 * full speed that would cost a twentieth of the throughput. What is handed over at once has one reading. Record by record the clock
 * is read every `chunk` records, and the chunk is made so small that it takes about a millisecond: a slow handler is read at each
 * record. One for each consumer; called by its deliveries.
 */
import type { Clock } from "../core/clock.ts";
import type { ConsumerRecord } from "../core/record.ts";
import { creationOf } from "../telemetry/creation-context.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { DeliveryCells } from "./instruments.ts";

/** Records between two readings of the clock: so many may be a little off when a handler suddenly stalls. */
const CHUNK_MAX = 256;
/** Unmeasured: it hardly comes to that. A small integer for the runtime; counting down from Infinity cost a twentieth of a record. */
const NEVER = 2 ** 30 - 1;
/** A chunk should take about so long, ms. */
const CHUNK_MS = 1;

/**
 * How the records between two readings lie in time: `together` · `spread` one after the other up to now · `stalled` handed over soon
 * after the last reading, and the application is at the last of them since.
 */
export type DeliveryPace = "together" | "spread" | "stalled";

/** The records of a batch. */
export interface DecodedBatch {
  readonly records: readonly ConsumerRecord[];
  /** Where those begin that have one timestamp: ascending, the first is 0. */
  readonly runs: readonly number[];
}

export class DeliveryMeter {
  readonly #clock: Clock;
  readonly #enabled: boolean;
  /** One sample for what is handed over together, instead of one for each record. */
  readonly #perBatch: boolean;
  /** Records to hand out before the clock is looked at. */
  left: number;
  #chunk = 1;
  /** Wall clock, ms. */
  #lookedAt = 0;

  constructor(clock: Clock, options: Pick<Telemetry, "enabled" | "sendDuration">) {
    this.#clock = clock;
    this.#enabled = options.enabled;
    this.#perBatch = options.sendDuration === "per-batch";
    this.left = options.enabled ? 1 : NEVER;
  }

  /** The application asks, and is about to get something after it may have waited. */
  begin(): void {
    if (this.#enabled) this.#lookedAt = this.#clock.now();
  }

  /** Samples for `records[from]` to `records[to - 1]` of a batch. */
  delivered(
    cells: DeliveryCells,
    batch: DecodedBatch,
    range: { readonly from: number; readonly to: number },
    pace: DeliveryPace,
  ): void {
    if (!this.#enabled) {
      this.left = NEVER;
      return;
    }
    const { from, to } = range;
    const now = this.#clock.now();
    const elapsed = now - this.#lookedAt;
    if (this.#perBatch) recordOne(cells, batch, from, to, now);
    else if (pace === "together") record(cells, batch, from, to, now);
    else if (pace === "stalled") {
      record(cells, batch, from, to, Math.min(now, this.#lookedAt + CHUNK_MS));
    } else if (elapsed <= 2 * CHUNK_MS || to - from === 1) record(cells, batch, from, to, now);
    else {
      const each = elapsed / (to - from);
      for (let i = from; i < to; i++) {
        record(cells, batch, i, i + 1, this.#lookedAt + each * (i + 1 - from));
      }
    }
    if (pace === "spread") this.#adapt(to - from, elapsed);
    this.#lookedAt = now;
  }

  /** After a jump of the clock the chunk is wrong once. */
  #adapt(records: number, elapsed: number): void {
    const wanted = elapsed <= 0 ? CHUNK_MAX : Math.floor((records * CHUNK_MS) / elapsed);
    // It grows by doubling, as long as that goes well, and shrinks at once.
    this.#chunk = Math.max(1, Math.min(wanted, 2 * this.#chunk, CHUNK_MAX));
    this.left = this.#chunk;
  }
}

/** One sample for all of them: of the last record's latency (they were appended together), and of the first one's age. */
function recordOne(
  cells: DeliveryCells,
  { records }: DecodedBatch,
  from: number,
  to: number,
  at: number,
): void {
  const [first, last] = [records[from], records[to - 1]];
  if (first === undefined || last === undefined) return;
  const latency = Math.max(0, at - last.appendTimestamp) / 1_000;
  cells.endToEndLatency.recordIn(latency, last.headers.length > 0 ? creationOf(last) : undefined);
  if (at < first.timestamp) cells.recordAgeNegative.add(1);
  cells.recordAge.record(Math.max(0, at - first.timestamp) / 1_000);
}

/** Samples of records that were handed over at `at`, ms since 1970. */
function record(
  cells: DeliveryCells,
  { records, runs }: DecodedBatch,
  from: number,
  to: number,
  at: number,
): void {
  const last = records[to - 1];
  if (last === undefined || from >= to) return;
  const { endToEndLatency, recordAge, recordAgeNegative } = cells;
  // The agents' clock may be ahead of ours: that is no latency.
  const latency = Math.max(0, at - last.appendTimestamp) / 1_000;
  endToEndLatency.recordMany(latency, to - 1 - from);
  // One record of many stands for them as an exemplar: the trace that created it.
  endToEndLatency.recordIn(latency, last.headers.length > 0 ? creationOf(last) : undefined);
  let i = from;
  for (let run = runOf(runs, from); i < to; run++) {
    const next = Math.min(to, runs[run + 1] ?? to);
    const age = at - (records[i] as ConsumerRecord).timestamp;
    if (age < 0) recordAgeNegative.add(next - i);
    recordAge.recordMany(Math.max(0, age) / 1_000, next - i);
    i = next;
  }
}

/** The run that record `i` is in. */
function runOf(runs: readonly number[], i: number): number {
  let low = 0;
  let high = runs.length - 1;
  while (low < high) {
    const mid = (low + high + 1) >>> 1;
    if ((runs[mid] as number) <= i) low = mid;
    else high = mid - 1;
  }
  return low;
}
