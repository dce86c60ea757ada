import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Cursor } from "../../../src/consumer/cursor.ts";
import { decodeFetched, type Fetched } from "../../../src/consumer/fetched.ts";
import { NO_PRODUCER, RecordBatchBuilder } from "../../../src/format/batch-builder.ts";
import { readBatchHeader } from "../../../src/format/batch-header.ts";

const START = 1_700_000_000_000;

/** A batch with these timestamps, of which what is below `fromOffset` was given out before. */
async function fetched(
  timestamps: readonly number[],
  fromOffset: number,
  compression: "none" | "gzip" = "none",
): Promise<Fetched> {
  const builder = new RecordBatchBuilder({ compression, bytesMax: 10_000, bytesInitial: 1_000 });
  for (const at of timestamps) builder.append({ timestamp: START + at, value: new Uint8Array(1) });
  const bytes = await builder.seal(NO_PRODUCER);
  return {
    kind: "batch",
    cursor: { topic: "t", partition: 0, name: "t/0" } as Cursor,
    generation: 0,
    bytes,
    header: readBatchHeader(bytes),
    appendTimeMs: START,
    fromOffset,
    nextOffset: timestamps.length,
  };
}

describe("decoding a fetched batch", () => {
  for (const compression of ["none", "gzip"] as const) {
    it(`tells where records begin that have one timestamp (${compression})`, async () => {
      const timestamps = [0, 0, 1, 1, 1, 0, 5];
      const wanted: Readonly<Record<number, readonly number[]>> = {
        0: [0, 2, 5, 6],
        1: [0, 1, 4, 5],
        2: [0, 3, 4],
        6: [0],
      };
      for (const [fromOffset, starts] of Object.entries(wanted)) {
        const runs: number[] = [];
        const batch = await fetched(timestamps, Number(fromOffset), compression);
        const records = await decodeFetched(batch, true, runs);
        assert.equal(records.length, timestamps.length - Number(fromOffset));
        assert.deepEqual(runs, starts, `from offset ${fromOffset}`);
      }
    });
  }
});
