/** The instruments of merging, deleting and sweeping, resolved to cells. Made once for each agent; fed by those three. */
import { catalogue } from "../telemetry/catalogue.ts";
import type { CounterCell, GaugeCell, HistogramCell, MetricRegistry } from "../telemetry/cells.ts";

/** Why an object was deleted. */
export type DeleteReason = "dead" | "abandoned" | "orphan";

export class CompactionInstruments {
  readonly #metrics: MetricRegistry;
  readonly duration: HistogramCell;
  readonly sweepErrors: CounterCell;
  readonly sweepObjects: CounterCell;
  readonly #doomed: GaugeCell;
  readonly #backlogBytes: GaugeCell;
  readonly #backlogSeconds: GaugeCell;
  readonly #indexShares: GaugeCell;
  readonly #indexUnmerged: GaugeCell;

  constructor(metrics: MetricRegistry) {
    this.#metrics = metrics;
    this.duration = metrics.histogram(catalogue.compactionDuration, {});
    this.sweepErrors = metrics.counter(catalogue.sweepErrors);
    this.sweepObjects = metrics.counter(catalogue.sweepObjects);
    this.#doomed = metrics.gauge(catalogue.objectsDoomed);
    this.#backlogBytes = metrics.gauge(catalogue.compactionBacklogBytes);
    this.#backlogSeconds = metrics.gauge(catalogue.compactionBacklogSeconds);
    this.#indexShares = metrics.gauge(catalogue.indexShares);
    this.#indexUnmerged = metrics.gauge(catalogue.indexUnmergedShares);
  }

  /** A merge ended: an outcome of metadata, or an error's code. */
  merged(outcome: string): void {
    this.#metrics.counter(catalogue.compactionMerges, { outcome }).add(1);
  }

  /** A merged segment was committed. */
  wrote(topic: string, records: number, bytes: number): void {
    this.#metrics.counter(catalogue.compactionRecords, { topic }).add(records);
    this.#metrics.counter(catalogue.compactionBytes, { topic }).add(bytes);
  }

  backlog(bytes: number, seconds: number): void {
    this.#backlogBytes.set(bytes);
    this.#backlogSeconds.set(seconds);
  }

  indexed(shares: number, unmerged: number): void {
    this.#indexShares.set(shares);
    this.#indexUnmerged.set(unmerged);
  }

  doomed(objects: number): void {
    this.#doomed.set(objects);
  }

  deleted(reason: DeleteReason, objects: number): void {
    if (objects > 0) this.#metrics.counter(catalogue.objectsDeleted, { reason }).add(objects);
  }
}
