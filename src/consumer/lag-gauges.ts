/**
 * The gauges of what a consumer has not committed: `streamhouse.consumer.lag.*`, `.lead.records` and the age of all three. A series
 * begins with the first answer for its partition and is gone at the first collection after the partition is. Between two answers
 * seconds grow by the monotonic clock: the agents' clock and this process's need not agree. Called by `lag.ts`.
 */
import type { Clock } from "../core/clock.ts";
import type { PartitionLag } from "../rpc/gen/streamhouse/v1/group.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { CounterCell, GaugeCell, MetricRegistry } from "../telemetry/cells.ts";
import type { Cursor } from "./cursor.ts";

interface Shown {
  readonly topic: string;
  readonly partition: number;
  readonly records: GaugeCell;
  readonly seconds: GaugeCell;
  readonly lead: GaugeCell;
  lagSeconds: number;
  logStart: number;
}

export class ConsumerLagGauges {
  /** Questions to the agents that failed; the old values stay. */
  readonly refreshErrors: CounterCell;
  readonly #metrics: MetricRegistry;
  readonly #clock: Clock;
  readonly #group: string;
  readonly #shown = new Map<Cursor, Shown>();
  /** By the monotonic clock; undefined before the first answer. */
  #answeredAt: number | undefined;

  constructor(metrics: MetricRegistry, clock: Clock, group: string | undefined) {
    this.#metrics = metrics;
    this.#clock = clock;
    this.#group = group ?? "";
    this.refreshErrors = metrics.counter(catalogue.lagRefreshErrors);
  }

  /** What the agents answered to a question asked at `askedAt`, by the monotonic clock. */
  show(lags: ReadonlyMap<Cursor, PartitionLag>, askedAt: number): void {
    this.#answeredAt = askedAt;
    this.#forget((cursor) => cursor.revoked);
    for (const [cursor, lag] of lags) {
      if (cursor.revoked) continue;
      const shown = this.#shown.get(cursor) ?? this.#begin(cursor);
      shown.records.set(lag.lagRecords);
      shown.lagSeconds = lag.lagSeconds;
      shown.logStart = lag.logStartOffset;
    }
    this.moveOn();
  }

  /** Before each collection. */
  moveOn(): void {
    if (this.#answeredAt === undefined) return;
    this.#forget((cursor) => cursor.revoked);
    const age = (this.#clock.monotonic() - this.#answeredAt) / 1_000;
    for (const [cursor, { seconds, lead, lagSeconds, logStart }] of this.#shown) {
      seconds.set(lagSeconds === 0 ? 0 : lagSeconds + age);
      lead.set(Math.max(0, cursor.position - logStart));
    }
    if (this.#shown.size > 0) this.#metrics.gauge(catalogue.lagAge, this.#age).set(age);
    else this.#metrics.release(catalogue.lagAge, this.#age);
  }

  /** The consumer is closed. */
  close(): void {
    this.#forget(() => true);
    this.#metrics.release(catalogue.lagAge, this.#age);
  }

  get #age(): { readonly group_id: string } {
    return { group_id: this.#group };
  }

  #begin(cursor: Cursor): Shown {
    const { topic, partition } = cursor;
    const labels = { topic, partition, group_id: this.#group };
    const shown = {
      topic,
      partition,
      records: this.#metrics.gauge(catalogue.consumerLagRecords, labels),
      seconds: this.#metrics.gauge(catalogue.consumerLagSeconds, labels),
      lead: this.#metrics.gauge(catalogue.consumerLeadRecords, labels),
      lagSeconds: 0,
      logStart: 0,
    };
    this.#shown.set(cursor, shown);
    return shown;
  }

  #forget(gone: (cursor: Cursor) => boolean): void {
    for (const [cursor, { topic, partition }] of this.#shown) {
      if (!gone(cursor)) continue;
      this.#shown.delete(cursor);
      const labels = { topic, partition, group_id: this.#group };
      this.#metrics.release(catalogue.consumerLagRecords, labels);
      this.#metrics.release(catalogue.consumerLagSeconds, labels);
      this.#metrics.release(catalogue.consumerLeadRecords, labels);
    }
  }
}
