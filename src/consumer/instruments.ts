/** What a consumer measures, as cells that are resolved once for each topic and partition. Lag has its own room, `lag-gauges.ts`. */
import type { ErrorCode } from "../core/errors.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { CounterCell, GaugeCell, HistogramCell, MetricRegistry } from "../telemetry/cells.ts";

/** Gauges of one partition, there for as long as it is assigned. */
export interface PartitionCells {
  readonly recordsConsumed: CounterCell;
  readonly bytesConsumed: CounterCell;
  readonly currentOffset: GaugeCell;
  /** Made at the first commit: a group that never committed has no series. */
  setCommitted(offset: number): void;
  /** Takes the gauges out of every reader at the next collection. */
  release(): void;
}

export class ConsumerInstruments {
  readonly #registry: MetricRegistry;
  readonly #group: string;
  readonly pollDuration: HistogramCell;
  readonly #retries = new Map<string, CounterCell>();

  constructor(registry: MetricRegistry, group: string | undefined) {
    this.#registry = registry;
    this.#group = group ?? "";
    this.pollDuration = registry.histogram(catalogue.pollDuration, { group_id: this.#group });
  }

  /** A request is sent again because of an error with this code. */
  retry(code: ErrorCode): void {
    let cell = this.#retries.get(code);
    if (cell === undefined) {
      cell = this.#registry.counter(catalogue.retries, { "error.type": code });
      this.#retries.set(code, cell);
    }
    cell.add(1);
  }

  partition(topic: string, partition: number): PartitionCells {
    const registry = this.#registry;
    const labels = { topic, group_id: this.#group };
    const own = { ...labels, partition };
    const gauges = [catalogue.currentOffset, catalogue.lastCommittedOffset];
    let released = false;
    return {
      recordsConsumed: registry.counter(catalogue.recordsConsumed, own),
      bytesConsumed: registry.counter(catalogue.bytesConsumed, labels),
      currentOffset: registry.gauge(catalogue.currentOffset, own),
      setCommitted(offset) {
        if (!released) registry.gauge(catalogue.lastCommittedOffset, own).set(offset);
      },
      release() {
        released = true;
        for (const gauge of gauges) registry.release(gauge, own);
      },
    };
  }
}
