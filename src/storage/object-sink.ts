/** One object for each chunk, over any object store. */
import type { Clock } from "../core/clock.ts";
import { closed } from "../core/errors.ts";
import type { ObjectStore } from "./object-store.ts";
import type { SegmentSink } from "./segment-sink.ts";

export interface ObjectSinkComponents {
  readonly store: ObjectStore;
  readonly runId: string;
  readonly clock: Clock;
}

export interface ObjectSinkOptions {
  /** Appends under way at once. Default 4. */
  readonly concurrency?: number;
}

export function createObjectSink(
  _components: ObjectSinkComponents,
  _options: ObjectSinkOptions = {},
): SegmentSink {
  throw closed("object sink (not written yet)");
}
