/**
 * A decorator that measures every operation of an object store, one sample each: how long, and `ok` or the error's code. It
 * changes no result. Goes directly around a store, under retries and caches, so that each request is seen.
 */
import type { Clock } from "../core/clock.ts";
import { StreamHouseError } from "../core/errors.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { HistogramCell, MetricRegistry } from "../telemetry/cells.ts";
import type { ObjectInfo, ObjectStore } from "./object-store.ts";

export interface InstrumentComponents {
  readonly metrics: MetricRegistry;
  readonly clock: Clock;
}

type Operation = "put" | "get" | "head" | "list" | "delete";

/** The same store, measured as `streamhouse.store.operation.duration.seconds`. */
export function instrumentStore(store: ObjectStore, components: InstrumentComponents): ObjectStore {
  const { metrics, clock } = components;
  const cells = new Map<string, HistogramCell>();

  const record = (operation: Operation, outcome: string, startedAt: number): void => {
    const key = `${operation} ${outcome}`;
    let cell = cells.get(key);
    if (cell === undefined) {
      cell = metrics.histogram(catalogue.storeOperationDuration, { operation, outcome });
      cells.set(key, cell);
    }
    cell.record((clock.monotonic() - startedAt) / 1_000);
  };
  const measured = async <T>(operation: Operation, work: () => Promise<T>): Promise<T> => {
    const startedAt = clock.monotonic();
    try {
      const result = await work();
      record(operation, "ok", startedAt);
      return result;
    } catch (error) {
      record(operation, outcomeOf(error), startedAt);
      throw error;
    }
  };
  /** From the first object asked for to the last one, the caller's own time between them included. */
  async function* list(
    ...args: Parameters<ObjectStore["list"]>
  ): AsyncGenerator<ObjectInfo, void, undefined> {
    const startedAt = clock.monotonic();
    let outcome = "ok";
    try {
      yield* store.list(...args);
    } catch (error) {
      outcome = outcomeOf(error);
      throw error;
    } finally {
      record("list", outcome, startedAt);
    }
  }

  return {
    kind: store.kind,
    put: (key, parts, signal) => measured("put", () => store.put(key, parts, signal)),
    get: (key, range, signal) => measured("get", () => store.get(key, range, signal)),
    head: (key, signal) => measured("head", () => store.head(key, signal)),
    list,
    delete: (keys, signal) => measured("delete", () => store.delete(keys, signal)),
    close: () => store.close(),
  };
}

/** Codes are a closed list, so the label stays small. */
function outcomeOf(error: unknown): string {
  return StreamHouseError.is(error) ? error.code : "INTERNAL";
}
