/**
 * Opens metadata without a store or an agent, for a moment: what is kept there can be looked at and changed while no agent runs, or beside
 * those that share a database. Called by `streamhouse keys`.
 */
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import { createSqliteMetadata } from "../metadata/sqlite.ts";
import { openDataFolder } from "../storage/folder-lock.ts";
import { openMetadataUrl } from "./store-urls.ts";
import { Teardown } from "./teardown.ts";

/** A data folder, which no agent may use at the same time, or the URL of a database. */
export type MetadataPlace = { readonly data: string } | { readonly metadata: string };

/**
 * Runs `work` with the metadata and closes it.
 * @throws StreamHouseError `DATA_FOLDER_IN_USE`, `DATA_FOLDER_UNUSABLE`, `METADATA_TOO_NEW`, `METADATA_UNAVAILABLE`, `INVALID_ARGUMENT`,
 * `NOT_SUPPORTED` (a package that the URL needs is not installed); what `work` throws
 */
export async function withMetadata<T>(
  place: MetadataPlace,
  components: { readonly clock: Clock; readonly logger: Logger },
  work: (metadata: MetadataStore) => Promise<T>,
): Promise<T> {
  const teardown = new Teardown(components.logger);
  try {
    const metadata = await open(place, components, teardown);
    return await work(metadata);
  } finally {
    await teardown.unwind();
  }
}

async function open(
  place: MetadataPlace,
  components: { readonly clock: Clock; readonly logger: Logger },
  teardown: Teardown,
): Promise<MetadataStore> {
  if ("metadata" in place) {
    const metadata = await openMetadataUrl(place.metadata, components);
    teardown.add("metadata", () => metadata.close());
    return metadata;
  }
  const folder = await openDataFolder(place.data);
  teardown.add("data folder", () => folder.release());
  const { clock } = components;
  const metadata = createSqliteMetadata({ path: folder.metadataPath, clock });
  teardown.add("metadata", () => metadata.close());
  return metadata;
}
