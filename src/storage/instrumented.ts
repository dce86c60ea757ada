/**
 * Decorators that measure the ports to durable bytes: every operation once, how long it took, how many bytes it moved, and `ok` or
 * the error's code. They change no result. Order, from the outside in: caches and retries, these, the store itself, so that each
 * request is seen. What a sink makes durable counts as `put`: on a folder that is an append and a sync. Put in by the agent.
 */
import type { Clock } from "../core/clock.ts";
import type { ChunkLocation } from "../format/chunk.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { CounterCell, HistogramCell, MetricRegistry } from "../telemetry/cells.ts";
import { OK, outcomeOf } from "../telemetry/outcome.ts";
import type { ObjectInfo, ObjectStore } from "./object-store.ts";
import type { SegmentSink } from "./segment-sink.ts";

export interface InstrumentComponents {
  readonly metrics: MetricRegistry;
  readonly clock: Clock;
}

type Operation = "put" | "get" | "head" | "list" | "delete";

/** The same store, measured as `streamhouse.store.operation.duration.seconds` and `streamhouse.store.bytes`. */
export function instrumentStore(store: ObjectStore, components: InstrumentComponents): ObjectStore {
  const operations = new OperationCells(components);
  /** From the first object asked for to the last one, the caller's own time between them included. */
  async function* list(
    ...args: Parameters<ObjectStore["list"]>
  ): AsyncGenerator<ObjectInfo, void, undefined> {
    const startedAt = components.clock.monotonic();
    let outcome = OK;
    try {
      yield* store.list(...args);
    } catch (error) {
      outcome = outcomeOf(error);
      throw error;
    } finally {
      operations.record("list", outcome, startedAt);
    }
  }

  return {
    kind: store.kind,
    remote: store.remote,
    put: (key, parts, signal) =>
      operations.write(() => store.put(key, parts, signal), bytesOf(parts)),
    get: (key, range, signal) => operations.read(() => store.get(key, range, signal)),
    head: (key, signal) => operations.measure("head", () => store.head(key, signal)),
    list,
    delete: (keys, signal) => operations.measure("delete", () => store.delete(keys, signal)),
    close: () => store.close(),
  };
}

/** The same sink, measured under the same names as `put`. */
export function instrumentSink(sink: SegmentSink, components: InstrumentComponents): SegmentSink {
  const operations = new OperationCells(components);
  return {
    concurrency: sink.concurrency,
    append: (parts, flush, signal) =>
      operations.write<ChunkLocation>(() => sink.append(parts, flush, signal), bytesOf(parts)),
    close: () => sink.close(),
  };
}

/** The cells of one store, resolved when an operation first ends in an outcome. */
class OperationCells {
  readonly #metrics: MetricRegistry;
  readonly #clock: Clock;
  readonly #durations = new Map<string, HistogramCell>();
  readonly #bytes = new Map<string, CounterCell>();

  constructor({ metrics, clock }: InstrumentComponents) {
    this.#metrics = metrics;
    this.#clock = clock;
  }

  record(operation: Operation, outcome: string, startedAt: number): void {
    const key = `${operation} ${outcome}`;
    let cell = this.#durations.get(key);
    if (cell === undefined) {
      cell = this.#metrics.histogram(catalogue.storeOperationDuration, { operation, outcome });
      this.#durations.set(key, cell);
    }
    cell.record((this.#clock.monotonic() - startedAt) / 1_000);
  }

  async measure<T>(operation: Operation, work: () => Promise<T>): Promise<T> {
    const startedAt = this.#clock.monotonic();
    try {
      const result = await work();
      this.record(operation, OK, startedAt);
      return result;
    } catch (error) {
      this.record(operation, outcomeOf(error), startedAt);
      throw error;
    }
  }

  /** Bytes of a write that failed count under its error: they went out all the same. */
  async write<T>(work: () => Promise<T>, bytes: number): Promise<T> {
    try {
      const result = await this.measure("put", work);
      this.#moved("put", OK, bytes);
      return result;
    } catch (error) {
      this.#moved("put", outcomeOf(error), bytes);
      throw error;
    }
  }

  async read(work: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const bytes = await this.measure("get", work);
    this.#moved("get", OK, bytes.length);
    return bytes;
  }

  #moved(operation: Operation, outcome: string, bytes: number): void {
    const key = `${operation} ${outcome}`;
    let cell = this.#bytes.get(key);
    if (cell === undefined) {
      cell = this.#metrics.counter(catalogue.storeBytes, { operation, outcome });
      this.#bytes.set(key, cell);
    }
    cell.add(bytes);
  }
}

function bytesOf(parts: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const part of parts) bytes += part.length;
  return bytes;
}
