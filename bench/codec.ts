/**
 * The record batch's own speed: encode with CRC, and decode with CRC. No network, no disk: a raw
 * limit for the rest.
 */
import { decodeBatch, plainRecord } from "../src/format/batch-decoder.ts";
import type { Contender, Sample } from "./contender.ts";
import type { BenchSettings } from "./settings.ts";
import { secondsOf } from "./stopwatch.ts";
import { encodeBatch, type Workload } from "./workload.ts";

/** CRC + encode alone. */
export function encodeContender(settings: BenchSettings, workload: Workload): Contender {
  return {
    name: "encode",
    unit: "records/s",
    limits: [],
    note: "records into full 1 MiB batches, with CRC-32C",
    round: () => timed(settings, workload, () => encodeBatch(workload.values, Date.now())),
  };
}

export function decodeContender(settings: BenchSettings, workload: Workload): Contender {
  return {
    name: "decode",
    unit: "records/s",
    limits: [],
    note: "every record of full 1 MiB batches as an object, with CRC-32C",
    round: () => timed(settings, workload, () => decodeBatch(workload.batch, plainRecord)),
  };
}

/** Runs `work`, which handles one full batch, often enough for a round. */
async function timed(
  settings: BenchSettings,
  workload: Workload,
  work: () => unknown,
): Promise<Sample> {
  const batches = Math.ceil(settings.recordsPerRound / workload.recordsPerBatch);
  const seconds = await secondsOf(() => {
    for (let i = 0; i < batches; i++) work();
  });
  return {
    value: (batches * workload.recordsPerBatch) / seconds,
    bytesPerSecond: (batches * workload.batch.length) / seconds,
  };
}
