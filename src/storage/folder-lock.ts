/**
 * The data folder of one agent: its lock, its format version, and where things lie in it. Holding the lock proves that no
 * other process works on the folder, so whoever held its leases before is dead. Called by `serve` and the tests.
 */
import { closed } from "../core/errors.ts";

/** A folder that this process holds until `release()` (or until it dies, however it dies). */
export interface DataFolder {
  readonly dir: string;
  /** Directory for `createFolderStore` and `createFolderSink`: `<dir>/store`. */
  readonly storeDir: string;
  /** Path for `createSqliteMetadata`: `<dir>/metadata.db`. */
  readonly metadataPath: string;
  /** Idempotent. Close the stores first. */
  release(): void;
}

/**
 * Makes the folder if needed, locks it, and checks or writes its format version.
 * @throws StreamHouseError `DATA_FOLDER_IN_USE`, `DATA_FOLDER_UNUSABLE`, `METADATA_TOO_NEW`
 */
export async function openDataFolder(_dir: string): Promise<DataFolder> {
  throw closed("data folder (not written yet)");
}
