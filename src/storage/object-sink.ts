/**
 * One object for each chunk, over any object store: memory now, buckets later. The key names run and flush sequence, so a
 * key that is taken can only be our own earlier attempt whose answer was lost. Called by the flusher.
 */
import type { Clock } from "../core/clock.ts";
import { closed, StreamHouseError } from "../core/errors.ts";
import type { ChunkLocation } from "../format/chunk.ts";
import { segmentKey } from "../format/keys.ts";
import type { ObjectStore } from "./object-store.ts";
import type { SegmentSink } from "./segment-sink.ts";

/** The store that chunks are put into. */
export interface ObjectSinkComponents {
  /** Stays open when the sink is closed. */
  readonly store: ObjectStore;
  readonly clock: Clock;
}

export interface ObjectSinkOptions {
  /** Appends that the caller may have under way at once. Default 4. */
  readonly concurrency?: number | undefined;
  /** In front of every key. Default: nothing. */
  readonly prefix?: string | undefined;
}

/** A sink that puts each chunk as an object of its own, for stores without append. */
export function createObjectSink(
  components: ObjectSinkComponents,
  options: ObjectSinkOptions = {},
): SegmentSink {
  const { store, clock } = components;
  const prefix = options.prefix ?? "";
  const underWay = new Set<Promise<ChunkLocation>>();
  let isClosed = false;
  const append: SegmentSink["append"] = async (parts, flush, signal) => {
    if (isClosed) throw closed("this segment sink");
    const key = segmentKey(prefix, clock.now(), flush.runId, flush.sequence);
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    try {
      await store.put(key, parts, signal);
    } catch (error) {
      const taken = StreamHouseError.is(error) && error.code === "OBJECT_EXISTS";
      const found = taken ? await store.head(key, signal) : undefined;
      if (found?.size !== length) throw error;
    }
    return { key, position: 0, length };
  };
  return {
    concurrency: options.concurrency ?? 4,
    append(parts, flush, signal) {
      const appending = append(parts, flush, signal);
      underWay.add(appending);
      const done = () => void underWay.delete(appending);
      appending.then(done, done);
      return appending;
    },
    async close() {
      isClosed = true;
      await Promise.allSettled(underWay);
    },
  };
}
