/**
 * The agent's instruments, resolved to cells. Everything that a room counts or observes goes through here, so that the
 * attributes of a family are written once (lag has its own room, `lag-gauges.ts`). Made once for each agent.
 */
import { catalogue } from "../telemetry/catalogue.ts";
import type {
  CounterCell,
  GaugeCell,
  HistogramCell,
  MetricRegistry,
  SampledIn,
} from "../telemetry/cells.ts";

/** What is measured of one held partition. */
export interface PartitionCells {
  readonly recordsWritten: CounterCell;
  readonly bytesWritten: CounterCell;
  readonly writeLatency: HistogramCell;
  readonly highWatermark: GaugeCell;
  readonly logStart: GaugeCell;
}

/** Reads that a cache answered, and that it could not. */
export interface CacheCells {
  readonly hits: CounterCell;
  readonly misses: CounterCell;
  readonly evictions: CounterCell;
  readonly bytes: GaugeCell;
}

/** The topic of a held partition, as it is when somebody collects. */
export interface ObservedTopic {
  readonly topic: string;
  /** 0 keeps for ever. */
  readonly retentionMs: number;
}

/** What is measured of a flush that has ended. */
export interface EndedFlush {
  readonly chunk: { readonly length: number };
  readonly span: { readonly context?: SampledIn | undefined };
}

export class AgentInstruments {
  readonly #metrics: MetricRegistry;
  readonly renewalsOk: CounterCell;
  readonly renewalsLost: CounterCell;
  readonly renewalsFailed: CounterCell;
  readonly retentionErrors: CounterCell;
  readonly groupsExpired: CounterCell;
  /** Batches at the tail, kept as they are committed. */
  readonly tailCache: CacheCells;
  readonly #fencedWrites: CounterCell;
  readonly #fetched = new Map<
    string,
    { readonly all: CounterCell; readonly unheld: CounterCell }
  >();
  /** Bytes of records that fetches were answered with, of all topics: also where nothing is exported. */
  bytesOut = 0;
  #topics: ReadonlySet<string> = new Set();
  #keeping: ReadonlySet<string> = new Set();

  constructor(metrics: MetricRegistry) {
    this.#metrics = metrics;
    this.renewalsOk = metrics.counter(catalogue.leaseRenewals, { status: "ok" });
    this.renewalsLost = metrics.counter(catalogue.leaseRenewals, { status: "lost" });
    this.renewalsFailed = metrics.counter(catalogue.leaseRenewals, { status: "error" });
    this.retentionErrors = metrics.counter(catalogue.retentionErrors);
    this.groupsExpired = metrics.counter(catalogue.groupsExpired);
    this.tailCache = cacheCells(metrics, "tail");
    this.#fencedWrites = metrics.counter(catalogue.fencedWrites);
  }

  /** Cells of a partition whose lease was taken. */
  partition(topic: string, partition: number): PartitionCells {
    const attributes = { topic, partition };
    return {
      recordsWritten: this.#metrics.counter(catalogue.recordsWritten, attributes),
      bytesWritten: this.#metrics.counter(catalogue.bytesWritten, { topic }),
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

  flushEnded(outcome: string, seconds: number, flush: EndedFlush): void {
    const { context } = flush.span;
    this.#metrics.histogram(catalogue.flushDuration, { outcome }).recordIn(seconds, context);
    this.#metrics
      .histogram(catalogue.flushBytes, { outcome })
      .recordIn(flush.chunk.length, context);
  }

  /** Batches that were accepted and end as `LEASE_LOST`. */
  fenced(batches: number): void {
    this.#fencedWrites.add(batches);
  }

  /** Bytes that a fetch was answered with; `held`: of a partition whose lease is this agent's. */
  fetched(topic: string, bytes: number, held: boolean): void {
    if (bytes === 0) return;
    this.bytesOut += bytes;
    let cells = this.#fetched.get(topic);
    if (cells === undefined) {
      cells = {
        all: this.#metrics.counter(catalogue.bytesFetched, { topic }),
        unheld: this.#metrics.counter(catalogue.bytesFetchedUnheld, { topic }),
      };
      this.#fetched.set(topic, cells);
    }
    cells.all.add(bytes);
    if (!held) cells.unheld.add(bytes);
  }

  /** The index was read on for those who wait. */
  indexRefreshed(outcome: string): void {
    this.#metrics.counter(catalogue.indexRefreshes, { outcome }).add(1);
  }

  /** Records that retention took from the log. */
  retained(topic: string, records: number): void {
    this.#metrics.counter(catalogue.retentionRecords, { topic }).add(records);
  }

  /** Sets what is only looked at when somebody collects. `held`: the topic of each held partition. */
  observe(held: Iterable<ObservedTopic>, bufferBytes: number): void {
    const counts = new Map<string, number>();
    const keeping = new Set<string>();
    for (const { topic, retentionMs } of held) {
      const count = counts.get(topic) ?? 0;
      counts.set(topic, count + 1);
      if (count > 0 || retentionMs === 0) continue;
      keeping.add(topic);
      this.#metrics.gauge(catalogue.retentionSeconds, { topic }).set(retentionMs / 1_000);
    }
    for (const [topic, count] of counts) {
      this.#metrics.gauge(catalogue.activePartitions, { topic }).set(count);
    }
    for (const topic of this.#topics) {
      if (!counts.has(topic)) this.#metrics.release(catalogue.activePartitions, { topic });
    }
    for (const topic of this.#keeping) {
      if (!keeping.has(topic)) this.#metrics.release(catalogue.retentionSeconds, { topic });
    }
    this.#topics = new Set(counts.keys());
    this.#keeping = keeping;
    this.#metrics.gauge(catalogue.bufferBytes).set(bufferBytes);
  }
}

function cacheCells(metrics: MetricRegistry, cache: string): CacheCells {
  return {
    hits: metrics.counter(catalogue.cacheHits, { cache }),
    misses: metrics.counter(catalogue.cacheMisses, { cache }),
    evictions: metrics.counter(catalogue.cacheEvictions, { cache }),
    bytes: metrics.gauge(catalogue.cacheBytes, { cache }),
  };
}
