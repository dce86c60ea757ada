/**
 * The ports to durable bytes and metadata as the agent's rooms use them. From the outside in: the cache (`agent-rooms.ts`), retries
 * where the store is remote, the ledger, the instruments, the port itself: each attempt is measured, and what a cache answers is none. No
 * logic of its own. Called by `buildRooms`.
 */
import type { Clock } from "../core/clock.ts";
import type { RandomBytes } from "../core/ids.ts";
import { instrumentMetadata } from "../metadata/instrumented.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import { instrumentSink, instrumentStore } from "../storage/instrumented.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { createRetryingStore } from "../storage/retrying.ts";
import type { SegmentSink } from "../storage/segment-sink.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { WriteLedger } from "./write-ledger.ts";

export interface Ports {
  readonly metadata: MetadataStore;
  readonly sink: SegmentSink;
  readonly store: ObjectStore;
}

export interface PortComponents extends Ports {
  readonly clock: Clock;
  readonly random: RandomBytes;
}

export function measuredPorts(
  { clock, metadata, random, sink, store }: PortComponents,
  telemetry: Telemetry,
  ledger: WriteLedger,
): Ports {
  const { enabled, metrics } = telemetry;
  const parts = { metrics, clock };
  const around = (it: ObjectStore): ObjectStore => {
    const measured = enabled ? ledger.watchPuts(instrumentStore(it, parts)) : it;
    return it.remote === true
      ? createRetryingStore({ store: measured, ...parts, random })
      : measured;
  };
  // A sink that puts objects does so through the same decorators; one that appends to files of its own is measured as a whole.
  const chunks = sink.through?.(around, metrics);
  return {
    metadata: enabled ? instrumentMetadata(metadata, parts) : metadata,
    sink: chunks ?? (enabled ? ledger.watch(instrumentSink(sink, parts)) : sink),
    store: around(store),
  };
}
