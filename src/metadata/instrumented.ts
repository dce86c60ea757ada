/**
 * A decorator that measures every call of a metadata store: how long it took, and `ok` or the error's code. It changes no result; a
 * flush that metadata refuses is an answer, hence `ok`. Goes directly around the store, under every retry. Put in by the agent.
 */
import type { Clock } from "../core/clock.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { HistogramCell, MetricRegistry } from "../telemetry/cells.ts";
import { OK, outcomeOf } from "../telemetry/outcome.ts";
import type { MetadataStore } from "./metadata-store.ts";

export interface InstrumentComponents {
  readonly metrics: MetricRegistry;
  readonly clock: Clock;
}

type Operation = Exclude<keyof MetadataStore, "kind" | "close" | "watch">;

/** By name, so that the compiler misses one that is added to the port. The names are the label's values. */
const operations: Readonly<Record<Operation, true>> = {
  createTopic: true,
  alterTopic: true,
  deleteTopic: true,
  listTopics: true,
  startRun: true,
  renewRun: true,
  retireRun: true,
  endRun: true,
  listRuns: true,
  acquireLeases: true,
  releaseLeases: true,
  listLeases: true,
  commitFlush: true,
  resolveFlush: true,
  listFlushes: true,
  partitionBounds: true,
  advanceLogStart: true,
  dropDeadFlushes: true,
  commitMerge: true,
  listMerges: true,
  dropDeadMerges: true,
  listDoomed: true,
  forgetDoomed: true,
  sweepKeys: true,
  forgetSwept: true,
  identity: true,
  allocateProducerId: true,
  bumpProducerEpoch: true,
  heartbeat: true,
  leaveGroup: true,
  commitOffsets: true,
  fetchOffsets: true,
  listGroups: true,
  describeGroup: true,
  deleteGroup: true,
  expireOffsets: true,
  lagSnapshot: true,
  createKey: true,
  listKeys: true,
  revokeKey: true,
};

type Call = (...args: unknown[]) => Promise<unknown>;

/** The same store, measured as `streamhouse.metadata.operation.duration.seconds`. */
export function instrumentMetadata(
  metadata: MetadataStore,
  components: InstrumentComponents,
): MetadataStore {
  const measured: Partial<Record<Operation, Call>> = {};
  for (const name of Object.keys(operations) as Operation[]) {
    const call = metadata[name] as unknown as Call;
    measured[name] = measure(name, (...args) => call.apply(metadata, args), components);
  }
  const rest = {
    kind: metadata.kind,
    watch: (wake: Parameters<MetadataStore["watch"]>[0]) => metadata.watch(wake),
    close: () => metadata.close(),
  };
  // Each call keeps the types that its caller sees; only in between they are unknown.
  return { ...(measured as unknown as MetadataStore), ...rest };
}

function measure(operation: Operation, call: Call, components: InstrumentComponents): Call {
  const { clock, metrics } = components;
  const cells = new Map<string, HistogramCell>();
  const record = (outcome: string, startedAt: number): void => {
    let cell = cells.get(outcome);
    if (cell === undefined) {
      cell = metrics.histogram(catalogue.metadataOperationDuration, { operation, outcome });
      cells.set(outcome, cell);
    }
    cell.record((clock.monotonic() - startedAt) / 1_000);
  };
  return async (...args) => {
    const startedAt = clock.monotonic();
    try {
      const result = await call(...args);
      record(OK, startedAt);
      return result;
    } catch (error) {
      record(outcomeOf(error), startedAt);
      throw error;
    }
  };
}
