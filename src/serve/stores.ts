/** Opens what an agent works on: a data folder, or memory. Called by `serve`, `embed` and the test house. */
import type { Clock } from "../core/clock.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import { createSqliteMetadata } from "../metadata/sqlite.ts";
import { createFolderStore } from "../storage/folder.ts";
import { openDataFolder } from "../storage/folder-lock.ts";
import { createFolderSink } from "../storage/folder-sink.ts";
import { createMemoryStore } from "../storage/memory.ts";
import { createObjectSink } from "../storage/object-sink.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import type { SegmentSink } from "../storage/segment-sink.ts";
import type { Teardown } from "./teardown.ts";

export interface Stores {
  readonly metadata: MetadataStore;
  readonly store: ObjectStore;
  readonly sink: SegmentSink;
  /** Nobody else can hold a lease on this data: whoever did is dead. */
  readonly predecessorsDead: boolean;
}

/**
 * Locks the folder and opens what is in it.
 * @throws StreamHouseError `DATA_FOLDER_IN_USE`, `DATA_FOLDER_UNUSABLE`, `METADATA_TOO_NEW`, `STORE_FULL`
 */
export async function openFolderStores(
  dir: string,
  runId: string,
  clock: Clock,
  teardown: Teardown,
): Promise<Stores> {
  const folder = await openDataFolder(dir);
  teardown.add("data folder", () => folder.release());
  const metadata = createSqliteMetadata({ path: folder.metadataPath, clock });
  teardown.add("metadata", () => metadata.close());
  const store = createFolderStore(folder.storeDir);
  teardown.add("store", () => store.close());
  const sink = createFolderSink({ dir: folder.storeDir, runId, clock });
  teardown.add("segment files", () => sink.close());
  return { metadata, store, sink, predecessorsDead: true };
}

/** Everything in this process's memory, gone with it. */
export function openMemoryStores(runId: string, clock: Clock, teardown: Teardown): Stores {
  const metadata = createSqliteMetadata({ path: ":memory:", clock });
  teardown.add("metadata", () => metadata.close());
  const store = createMemoryStore({ clock });
  teardown.add("store", () => store.close());
  const sink = createObjectSink({ store, runId, clock });
  teardown.add("segments", () => sink.close());
  return { metadata, store, sink, predecessorsDead: true };
}
