/** Opens what an agent works on: a data folder, a bucket and a database, or memory. Called by `serve`, `embed` and the test house. */
import type { Clock } from "../core/clock.ts";
import { invalid } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import { createSqliteMetadata } from "../metadata/sqlite.ts";
import { createFolderStore } from "../storage/folder.ts";
import { openDataFolder } from "../storage/folder-lock.ts";
import { createFolderSink } from "../storage/folder-sink.ts";
import { createMemoryStore } from "../storage/memory.ts";
import { createObjectSink } from "../storage/object-sink.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import type { SegmentSink } from "../storage/segment-sink.ts";
import { openMetadataUrl, openStoreUrl } from "./store-urls.ts";
import type { Teardown } from "./teardown.ts";

/** What an agent's data lies in: a folder for one agent, or a store and metadata that many agents share. */
export interface StoreOptions {
  /** The folder that holds everything; made if it is missing. One agent at a time. */
  readonly data?: string | undefined;
  /**
   * Where the records are, for many agents: `s3://bucket/prefix?endpoint=…&region=…` (needs the package `@aws-sdk/client-s3`), or a
   * store of the application's own, which stays open after the stop. Goes with `metadata`.
   */
  readonly store?: string | ObjectStore | undefined;
  /**
   * Where the agents agree on who holds what: `postgres://user:password@host:port/database` (needs the package `postgres`), or metadata
   * of the application's own, which stays open after the stop. Goes with `store`.
   */
  readonly metadata?: string | MetadataStore | undefined;
}

export interface Stores {
  readonly metadata: MetadataStore;
  readonly store: ObjectStore;
  readonly sink: SegmentSink;
  /** Nobody else can hold a lease on this data: whoever did is dead. */
  readonly predecessorsDead: boolean;
}

export interface StoresComponents {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly teardown: Teardown;
}

/** Undefined if nothing was named. @throws StreamHouseError as its parts do; `INVALID_ARGUMENT` for a half of two that go together */
export async function openStores(
  options: StoreOptions,
  components: StoresComponents,
): Promise<Stores | undefined> {
  const { data, store, metadata } = options;
  if (store === undefined && metadata === undefined) {
    return data === undefined ? undefined : openFolderStores(data, components);
  }
  if (data !== undefined) {
    throw invalid(
      "INVALID_ARGUMENT",
      `data and ${store === undefined ? "metadata" : "store"} are both given: a data folder holds everything and is for one agent; for many agents leave data out`,
      { field: "data" },
    );
  }
  if (store === undefined) throw halfGiven("store", "metadata");
  if (metadata === undefined) throw halfGiven("metadata", "store");
  return openSharedStores(store, metadata, components);
}

function halfGiven(missing: "store" | "metadata", given: string): Error {
  const forms = { store: "s3://BUCKET/PREFIX", metadata: "postgres://HOST/DATABASE" };
  return invalid(
    "INVALID_ARGUMENT",
    `${given} is given and ${missing} is not: many agents share both; name ${missing} too, such as ${forms[missing]}`,
    { field: missing },
  );
}

async function openSharedStores(
  store: string | ObjectStore,
  metadata: string | MetadataStore,
  components: StoresComponents,
): Promise<Stores> {
  const { clock, teardown } = components;
  const opened =
    typeof metadata === "string" ? await openMetadataUrl(metadata, components) : metadata;
  if (opened !== metadata) teardown.add("metadata", () => opened.close());
  const objects = typeof store === "string" ? await openStoreUrl(store, components) : store;
  if (objects !== store) teardown.add("store", () => objects.close());
  const sink = createObjectSink({ store: objects, clock });
  teardown.add("segments", () => sink.close());
  return { metadata: opened, store: objects, sink, predecessorsDead: false };
}

/**
 * Locks the folder and opens what is in it.
 * @throws StreamHouseError `DATA_FOLDER_IN_USE`, `DATA_FOLDER_UNUSABLE`, `METADATA_TOO_NEW`, `STORE_FULL`
 */
export async function openFolderStores(dir: string, components: StoresComponents): Promise<Stores> {
  const { clock, teardown } = components;
  const folder = await openDataFolder(dir);
  teardown.add("data folder", () => folder.release());
  const metadata = createSqliteMetadata({ path: folder.metadataPath, clock });
  teardown.add("metadata", () => metadata.close());
  const store = createFolderStore(folder.storeDir);
  teardown.add("store", () => store.close());
  const sink = createFolderSink({ dir: folder.storeDir, clock });
  teardown.add("segment files", () => sink.close());
  return { metadata, store, sink, predecessorsDead: true };
}

/** Everything in this process's memory, gone with it. */
export function openMemoryStores(components: StoresComponents): Stores {
  const { clock, teardown } = components;
  const metadata = createSqliteMetadata({ path: ":memory:", clock });
  teardown.add("metadata", () => metadata.close());
  const store = createMemoryStore({ clock });
  teardown.add("store", () => store.close());
  const sink = createObjectSink({ store, clock });
  teardown.add("segments", () => sink.close());
  return { metadata, store, sink, predecessorsDead: true };
}
