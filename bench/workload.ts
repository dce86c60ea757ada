/**
 * The records that everything is measured with, and what they are when encoded. The same for every
 * contender.
 */
import type { ProducerRecord } from "../src/core/record.ts";
import { NO_PRODUCER, RecordBatchBuilder } from "../src/format/batch-builder.ts";
import type { BenchSettings } from "./settings.ts";

/** Bytes of a full batch: the producer's default. */
export const BATCH_BYTES = 1_048_576;

export interface Workload {
  readonly valueBytes: number;
  /** Values to send, different from one another, without a key; used in turn. */
  readonly values: readonly Uint8Array[];
  /** A full batch of them. */
  readonly batch: Uint8Array;
  readonly recordsPerBatch: number;
  /** Encoded bytes of one record, its share of the batch's header included. */
  readonly encodedBytes: number;
}

/** Enough to defeat a cache of the last few, few enough to stay in the processor's. */
const VALUES = 1_024;

export function createWorkload(settings: BenchSettings): Workload {
  const values = Array.from({ length: VALUES }, (_, i) => value(i, settings.valueBytes));
  const { batch, records } = encodeBatch(values, Date.now());
  return {
    valueBytes: settings.valueBytes,
    values,
    batch,
    recordsPerBatch: records,
    encodedBytes: batch.length / records,
  };
}

/** Fills one batch with the values and seals it. */
export function encodeBatch(
  values: readonly Uint8Array[],
  timestamp: number,
): { readonly batch: Uint8Array; readonly records: number } {
  const builder = new RecordBatchBuilder({
    compression: "none",
    bytesMax: BATCH_BYTES,
    bytesInitial: BATCH_BYTES,
  });
  const record = { value: values[0] as Uint8Array, timestamp };
  while (builder.append(record) !== undefined) {
    record.value = values[builder.recordCount % values.length] as Uint8Array;
  }
  const batch = builder.seal(NO_PRODUCER);
  if (!(batch instanceof Uint8Array)) throw new Error("an uncompressed batch is sealed at once");
  return { batch, records: builder.recordCount };
}

/** `count` records over the values, in chunks for `sendBatch`. */
export function recordChunks(
  workload: Workload,
  count: number,
  chunk: number,
): readonly (readonly ProducerRecord[])[] {
  const records = workload.values.map((value) => ({ value }));
  const chunks: ProducerRecord[][] = [];
  for (let at = 0; at < count; at += chunk) {
    const length = Math.min(chunk, count - at);
    chunks.push(
      Array.from(
        { length },
        (_, i) => records[(at + i) % records.length] as (typeof records)[number],
      ),
    );
  }
  return chunks;
}

function value(seed: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed + 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
