/**
 * Metadata in SQLite, for one process: the embedded default. Puts the rooms `sqlite-*.ts` together; each method is one
 * transaction. Called by `serve` and by tests.
 */
import type { Clock } from "../core/clock.ts";
import { type RandomBytes, systemRandom } from "../core/ids.ts";
import { hintedMetadata } from "./hints.ts";
import type { MetadataStore } from "./metadata-store.ts";
import { SqliteDatabase } from "./sqlite-database.ts";
import { createFlushStore } from "./sqlite-flushes.ts";
import { createGroupStore } from "./sqlite-groups.ts";
import { createKeyStore } from "./sqlite-keys.ts";
import { createLagStore } from "./sqlite-lag.ts";
import { createLeaseStore } from "./sqlite-leases.ts";
import { createMergeStore } from "./sqlite-merges.ts";
import { createProducerStore } from "./sqlite-producers.ts";
import { SqliteSnapshots } from "./sqlite-snapshots.ts";
import { createSweepStore } from "./sqlite-sweeps.ts";
import { createTopicStore } from "./sqlite-topics.ts";

/** Where the database is, and the ports it uses. */
export interface SqliteMetadataComponents {
  /** A file, or `:memory:`. Its directory must exist. */
  readonly path: string;
  readonly clock: Clock;
  /** For topic ids. Default: the platform's generator. */
  readonly random?: RandomBytes | undefined;
}

/**
 * Opens (and makes or migrates) the database.
 * @throws StreamHouseError `METADATA_TOO_NEW`, `METADATA_UNAVAILABLE`, `DATA_FOLDER_UNUSABLE`, `STORE_FULL`
 */
export function createSqliteMetadata(components: SqliteMetadataComponents): MetadataStore {
  const db = new SqliteDatabase(components);
  const snapshots = new SqliteSnapshots(db, components.clock);
  const store: Omit<MetadataStore, "watch"> = {
    kind: "sqlite",
    ...createTopicStore(db, components.random ?? systemRandom),
    ...createLeaseStore(db),
    ...createFlushStore(db),
    ...createMergeStore(db),
    ...createSweepStore(db, components.random ?? systemRandom),
    ...createProducerStore(db),
    ...createGroupStore(db),
    ...createLagStore(snapshots),
    ...createKeyStore(db),
    async close() {
      snapshots.close();
      db.close();
    },
  };
  return hintedMetadata(store, components);
}
