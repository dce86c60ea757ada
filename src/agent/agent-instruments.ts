/**
 * The agent's instruments, resolved to cells. Everything that a room counts or observes goes through here, so that the
 * attributes of a family are written once. Made once for each agent.
 */
import { catalogue } from "../telemetry/catalogue.ts";
import type { CounterCell, GaugeCell, HistogramCell, MetricRegistry } from "../telemetry/cells.ts";

/** What is measured of one held partition. */
export interface PartitionCells {
  readonly recordsWritten: CounterCell;
  readonly writeLatency: HistogramCell;
  readonly highWatermark: GaugeCell;
  readonly logStart: GaugeCell;
}

export class AgentInstruments {
  readonly #metrics: MetricRegistry;
  readonly renewalsOk: CounterCell;
  readonly renewalsLost: CounterCell;
  readonly renewalsFailed: CounterCell;
  readonly #flushBytes: HistogramCell;
  readonly #fencedWrites: CounterCell;
  #topics: ReadonlySet<string> = new Set();

  constructor(metrics: MetricRegistry) {
    this.#metrics = metrics;
    this.renewalsOk = metrics.counter(catalogue.leaseRenewals, { status: "ok" });
    this.renewalsLost = metrics.counter(catalogue.leaseRenewals, { status: "lost" });
    this.renewalsFailed = metrics.counter(catalogue.leaseRenewals, { status: "error" });
    this.#flushBytes = metrics.histogram(catalogue.flushBytes);
    this.#fencedWrites = metrics.counter(catalogue.fencedWrites);
  }

  /** Cells of a partition whose lease was taken. */
  partition(topic: string, partition: number): PartitionCells {
    const attributes = { topic, partition };
    return {
      recordsWritten: this.#metrics.counter(catalogue.recordsWritten, attributes),
      writeLatency: this.#metrics.histogram(catalogue.writeLatency, { topic }),
      highWatermark: this.#metrics.gauge(catalogue.highWatermark, attributes),
      logStart: this.#metrics.gauge(catalogue.logStartOffset, attributes),
    };
  }

  /** The lease is gone: so are its gauges. */
  partitionReleased(topic: string, partition: number): void {
    const attributes = { topic, partition };
    this.#metrics.release(catalogue.highWatermark, attributes);
    this.#metrics.release(catalogue.logStartOffset, attributes);
  }

  flushEnded(outcome: string, seconds: number, bytes: number): void {
    this.#metrics.histogram(catalogue.flushDuration, { outcome }).record(seconds);
    if (bytes > 0) this.#flushBytes.record(bytes);
  }

  fenced(batches: number): void {
    this.#fencedWrites.add(batches);
  }

  /** Sets what is only looked at when somebody collects. `held`: the topic of each held partition. */
  observe(held: Iterable<string>, bufferBytes: number): void {
    const counts = new Map<string, number>();
    for (const topic of held) counts.set(topic, (counts.get(topic) ?? 0) + 1);
    for (const [topic, count] of counts) {
      this.#metrics.gauge(catalogue.activePartitions, { topic }).set(count);
    }
    for (const topic of this.#topics) {
      if (!counts.has(topic)) this.#metrics.release(catalogue.activePartitions, { topic });
    }
    this.#topics = new Set(counts.keys());
    this.#metrics.gauge(catalogue.bufferBytes).set(bufferBytes);
  }
}
