/** Where one agent run puts its chunks. The folder appends to a file of the run; object stores get one object a chunk. */
import type { ChunkLocation } from "../format/chunk.ts";
import type { MetricRegistry } from "../telemetry/cells.ts";
import type { ObjectStore } from "./object-store.ts";

/** Which flush a chunk is of: no two have the same. Object keys are made from it. */
export interface FlushName {
  /** The run that sealed it; an agent that lost its run goes on under another. */
  readonly runId: string;
  /** Rises by one with every seal of the run. */
  readonly sequence: number;
}

/** The port through which an agent's run makes chunks durable. `segmentSinkContract` of `./testing` is its exact meaning. */
export interface SegmentSink {
  /** How many appends may be under way at once (folder 1: one file is written in order). */
  readonly concurrency: number;

  /**
   * Writes one chunk; durable when resolved. After a rejection the chunk may or may not be there, but nothing will
   * refer to it: the caller writes what was not acknowledged again, under a new flush sequence, and the
   * folder's sink does that to a new file (the old descriptor is closed for ever, its sync never retried).
   * @throws StreamHouseError `STORE_UNAVAILABLE`, `STORE_FULL`
   */
  append(
    parts: readonly Uint8Array[],
    flush: FlushName,
    signal?: AbortSignal,
  ): Promise<ChunkLocation>;

  /**
   * Only of sinks that write through an object store: the same sink, writing through what `around` makes of that store (retries,
   * measurement). It is closed with this one.
   */
  through?(around: (store: ObjectStore) => ObjectStore, metrics: MetricRegistry): SegmentSink;

  close(): Promise<void>;
}
