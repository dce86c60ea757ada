/** Metadata in SQLite, for one process. */
import type { Clock } from "../core/clock.ts";
import { closed } from "../core/errors.ts";
import type { MetadataStore } from "./metadata-store.ts";

export interface SqliteMetadataComponents {
  /** A file, or `:memory:`. Its directory must exist. */
  readonly path: string;
  readonly clock: Clock;
}

/**
 * Opens (and makes or migrates) the database.
 * @throws StreamHouseError `METADATA_TOO_NEW`, `METADATA_UNAVAILABLE`, `DATA_FOLDER_UNUSABLE`, `STORE_FULL`
 */
export function createSqliteMetadata(_components: SqliteMetadataComponents): MetadataStore {
  throw closed("SQLite metadata (not written yet)");
}
