/**
 * The disk's limit: the same encoded bytes appended to one file, with an fdatasync after each 4
 * MiB.
 */
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Contender } from "./contender.ts";
import type { BenchSettings } from "./settings.ts";
import { secondsOf } from "./stopwatch.ts";
import type { Workload } from "./workload.ts";

/** What the agent flushes at once on a folder, by default. */
const SYNC_BYTES = 4_194_304;

export function rawWriteContender(
  settings: BenchSettings,
  workload: Workload,
  folder: string,
): Contender {
  const { batch } = workload;
  const perSync = Math.max(1, Math.floor(SYNC_BYTES / batch.length));
  const syncs = Math.ceil(settings.rawBytesPerRound / (perSync * batch.length));
  const bytes = syncs * perSync * batch.length;
  const path = join(folder, "raw.bin");
  return {
    name: "raw-write",
    unit: "MB/s",
    limits: [],
    note: `writev of ${perSync} batches and fdatasync, ${syncs} times, to one file`,
    round: async () => {
      const file = await open(path, "w");
      try {
        const seconds = await secondsOf(() => append(file, batch, perSync, syncs));
        return { value: bytes / seconds / 1e6, bytesPerSecond: bytes / seconds };
      } finally {
        await file.close();
        await rm(path, { force: true });
      }
    },
  };
}

async function append(
  file: FileHandle,
  batch: Uint8Array,
  perSync: number,
  syncs: number,
): Promise<void> {
  const parts = Array.from({ length: perSync }, () => batch);
  for (let i = 0; i < syncs; i++) {
    const { bytesWritten } = await file.writev(parts);
    if (bytesWritten !== perSync * batch.length) throw new Error(`short write: ${bytesWritten}`);
    await file.datasync();
  }
}
