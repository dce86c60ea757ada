/**
 * Bytes that one record allocates on its way in and out, by V8's sampling heap profiler (garbage
 * that was collected meanwhile counted too): in all, and in the code of telemetry and OpenTelemetry.
 * Node only: other runtimes have no such profiler, and their figure is left out.
 */
import { type HeapProfiler, Session } from "node:inspector/promises";
import type { Contender, Sample } from "../contender.ts";
import type { BenchSettings } from "../settings.ts";
import type { Workload } from "../workload.ts";
import { type SliceOptions, Slices, sliceOptions } from "./slice.ts";
import { bridge, none, off, on, type Variant, type VariantKind } from "./variants.ts";

/** Bytes between two samples: small, for an exact sum. */
const SAMPLING_BYTES = 1_024;

const isNode = process.versions.bun === undefined && process.versions.deno === undefined;

export function allocationContenders(settings: BenchSettings, workload: Workload): Contender[] {
  if (!isNode) return [];
  const slice = sliceOptions(settings, workload, { way: "embedded", via: "send" });
  return [off, none, on, bridge].map((kind) => allocationContender(kind, slice));
}

function allocationContender(kind: VariantKind, slice: SliceOptions): Contender {
  let variant: Variant | undefined;
  return {
    name: `telemetry-allocation-${kind.name}`,
    unit: "bytes",
    limits: [],
    note: `allocated for one record by \`send\` with a promise for each: ${kind.note}`,
    async prepare() {
      variant = kind.open();
    },
    async round() {
      if (variant === undefined) throw new Error("round() before prepare()");
      return await allocated(variant, slice);
    },
    close: async () => await variant?.close(),
  };
}

async function allocated(variant: Variant, slice: SliceOptions): Promise<Sample> {
  const session = new Session();
  session.connect();
  try {
    const slices = await Slices.open(variant, slice);
    await session.post("HeapProfiler.startSampling", {
      samplingInterval: SAMPLING_BYTES,
      // Without these only what is still held at the end would be counted.
      includeObjectsCollectedByMajorGC: true,
      includeObjectsCollectedByMinorGC: true,
    });
    await slices.produce();
    const { profile } = await session.post("HeapProfiler.stopSampling");
    await slices.close();
    const all = sizeOf(profile.head, () => true);
    const telemetry = sizeOf(profile.head, (url) => /\/src\/telemetry\/|@opentelemetry/.test(url));
    return {
      value: all / slice.records,
      also: { "in telemetry": telemetry / slice.records },
    };
  } finally {
    session.disconnect();
  }
}

function sizeOf(
  node: HeapProfiler.SamplingHeapProfileNode,
  counts: (url: string) => boolean,
): number {
  const own = counts(node.callFrame.url) ? node.selfSize : 0;
  return node.children.reduce((sum, child) => sum + sizeOf(child, counts), own);
}
