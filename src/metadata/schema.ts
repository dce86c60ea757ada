/**
 * The tables of the SQLite metadata, as migrations: each brings a database from the version before to its own. What was once
 * released is never changed, only followed by another. Run by `sqlite-database.ts`.
 *
 * - `topics`, `partitions`: next offset and log start; `run_id` and `epoch` are the lease (no run: free).
 * - `runs`: one row for each start of an agent; its expiry is the expiry of all its leases.
 * - `flushes`: one row for each committed flush, with the chunk's packed index. `watch_*` names one of its partitions that
 *   still needs it (topic id, partition, end offset there): only when that one no longer does, another is looked for.
 *   So trimming finds dead flushes through an index and never reads the living ones.
 * - `trims`: partitions whose log start rose, which were merged further or deleted, since trimming flushes last looked;
 *   `merge_trims`: whose log start rose, or which were deleted, since trimming merges last looked.
 * - `merges`: one row for each merged segment, with the packed index of its pieces; `partitions.merged_until` is where the last
 *   one ended.
 * - `doomed`: objects that wait for their deletion. One in which a flush was committed since (a folder's file goes on growing) is
 *   left out when they are listed, so that a commit need not look here. `swept`: keys that were given up.
 * - `producer_states`: one packed blob for each partition; `producers`: ids that were given out, and their epochs.
 * - `consumer_groups`, `members`, `offsets`; `assignments`: a group's row for each partition, with its holder (`member_id`) and who is
 *   to have it (`target_id`). What the columns mean stands in `group-snapshot.ts`.
 * - `api_keys`: one row for each key, with the hash of its secret.
 * - `counters`: `resolves` is written by each look-up after an unknown commit (see `resolveFlush`); `topics` is the version of all
 *   topics.
 */
import { StreamHouseError } from "../core/errors.ts";

export interface Migration {
  /** The version that the database has afterwards. */
  readonly version: number;
  readonly sql: string;
}

export const migrations: readonly Migration[] = [
  {
    version: 1,
    sql: `
      CREATE TABLE topics (
        topic_id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        partitions INTEGER NOT NULL,
        retention_ms INTEGER NOT NULL,
        created_at_ms INTEGER NOT NULL
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE partitions (
        topic_id TEXT NOT NULL,
        partition INTEGER NOT NULL,
        next_offset INTEGER NOT NULL,
        log_start INTEGER NOT NULL,
        run_id TEXT,
        epoch INTEGER NOT NULL,
        PRIMARY KEY (topic_id, partition)
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX partitions_by_run ON partitions (run_id) WHERE run_id IS NOT NULL;
      CREATE TABLE runs (
        run_id TEXT PRIMARY KEY,
        agent_id TEXT NOT NULL,
        address TEXT NOT NULL,
        started_at_ms INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE flushes (
        flush_id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL,
        flush_sequence INTEGER NOT NULL,
        object_key TEXT NOT NULL,
        position INTEGER NOT NULL,
        length INTEGER NOT NULL,
        entries BLOB NOT NULL,
        watch_topic_id TEXT NOT NULL,
        watch_partition INTEGER NOT NULL,
        watch_end INTEGER NOT NULL,
        UNIQUE (run_id, flush_sequence)
      ) STRICT;
      CREATE INDEX flushes_by_watch ON flushes (watch_topic_id, watch_partition, watch_end);
      CREATE TABLE trims (
        topic_id TEXT NOT NULL,
        partition INTEGER NOT NULL,
        PRIMARY KEY (topic_id, partition)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE producer_states (
        topic_id TEXT NOT NULL,
        partition INTEGER NOT NULL,
        state BLOB NOT NULL,
        PRIMARY KEY (topic_id, partition)
      ) STRICT;
      CREATE TABLE producers (
        producer_id INTEGER PRIMARY KEY AUTOINCREMENT,
        epoch INTEGER NOT NULL
      ) STRICT;
      CREATE TABLE consumer_groups (
        name TEXT PRIMARY KEY,
        epoch INTEGER NOT NULL
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE members (
        group_name TEXT NOT NULL,
        member_id TEXT NOT NULL,
        client_id TEXT NOT NULL,
        topics TEXT NOT NULL,
        joined_epoch INTEGER NOT NULL,
        member_epoch INTEGER NOT NULL,
        previous_epoch INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        PRIMARY KEY (group_name, member_id)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE assignments (
        group_name TEXT NOT NULL,
        topic_id TEXT NOT NULL,
        partition INTEGER NOT NULL,
        member_id TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        PRIMARY KEY (group_name, topic_id, partition)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE offsets (
        group_name TEXT NOT NULL,
        topic_id TEXT NOT NULL,
        partition INTEGER NOT NULL,
        committed_offset INTEGER NOT NULL,
        metadata TEXT NOT NULL,
        committed_at_ms INTEGER NOT NULL,
        PRIMARY KEY (group_name, topic_id, partition)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE counters (
        name TEXT PRIMARY KEY,
        value INTEGER NOT NULL
      ) STRICT, WITHOUT ROWID;
      INSERT INTO counters (name, value) VALUES ('resolves', 0);
    `,
  },
  {
    version: 2,
    sql: `
      ALTER TABLE partitions ADD COLUMN merged_until INTEGER NOT NULL DEFAULT 0;
      ALTER TABLE runs ADD COLUMN load TEXT;
      ALTER TABLE runs ADD COLUMN retiring INTEGER NOT NULL DEFAULT 0;
      CREATE INDEX flushes_by_object ON flushes (object_key);
      CREATE TABLE merges (
        merge_id INTEGER PRIMARY KEY AUTOINCREMENT,
        topic_id TEXT NOT NULL,
        partition INTEGER NOT NULL,
        base_offset INTEGER NOT NULL,
        end_offset INTEGER NOT NULL,
        object_key TEXT NOT NULL UNIQUE,
        position INTEGER NOT NULL,
        length INTEGER NOT NULL,
        entries BLOB NOT NULL,
        UNIQUE (topic_id, partition, end_offset)
      ) STRICT;
      CREATE TABLE merge_trims (
        topic_id TEXT NOT NULL,
        partition INTEGER NOT NULL,
        PRIMARY KEY (topic_id, partition)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE doomed (
        object_key TEXT PRIMARY KEY,
        doomed_at_ms INTEGER NOT NULL
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX doomed_by_age ON doomed (doomed_at_ms);
      CREATE TABLE swept (
        object_key TEXT PRIMARY KEY,
        swept_at_ms INTEGER NOT NULL
      ) STRICT, WITHOUT ROWID;
    `,
  },
  {
    version: 3,
    sql: `
      CREATE TABLE api_keys (
        key_id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        secret_hash BLOB NOT NULL,
        rights TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL,
        expires_at_ms INTEGER
      ) STRICT, WITHOUT ROWID;
    `,
  },
  {
    version: 4,
    sql: `
      ALTER TABLE consumer_groups ADD COLUMN topics_version INTEGER NOT NULL DEFAULT -1;
      ALTER TABLE consumer_groups ADD COLUMN check_at_ms INTEGER NOT NULL DEFAULT 0;
      ALTER TABLE consumer_groups ADD COLUMN active_at_ms INTEGER NOT NULL DEFAULT 0;
      ALTER TABLE members ADD COLUMN instance_id TEXT NOT NULL DEFAULT '';
      ALTER TABLE members ADD COLUMN session_timeout_ms INTEGER NOT NULL DEFAULT 10000;
      ALTER TABLE members ADD COLUMN rebalance_timeout_ms INTEGER NOT NULL DEFAULT 60000;
      ALTER TABLE members ADD COLUMN is_away INTEGER NOT NULL DEFAULT 0;
      ALTER TABLE members ADD COLUMN is_pending INTEGER NOT NULL DEFAULT 1;
      ALTER TABLE assignments ADD COLUMN target_id TEXT NOT NULL DEFAULT '';
      ALTER TABLE assignments ADD COLUMN revoke_by_ms INTEGER NOT NULL DEFAULT 0;
      UPDATE assignments SET target_id = member_id;
      CREATE INDEX assignments_by_member ON assignments (group_name, member_id);
      CREATE INDEX assignments_by_target ON assignments (group_name, target_id);
      INSERT INTO counters (name, value) VALUES ('topics', 0);
    `,
  },
];

/** The newest version there is here. */
export function schemaVersion(known: readonly Migration[] = migrations): number {
  return known.at(-1)?.version ?? 0;
}

/**
 * What is to be run on a database of version `current`, in order.
 * @throws StreamHouseError `METADATA_TOO_NEW`
 */
export function pendingMigrations(
  current: number,
  path: string,
  known: readonly Migration[] = migrations,
): readonly Migration[] {
  const newest = schemaVersion(known);
  if (current > newest) {
    throw new StreamHouseError({
      code: "METADATA_TOO_NEW",
      kind: "invalid",
      message:
        `metadata ${path} has version ${current}, this program knows versions up to ${newest}: ` +
        "start the version of StreamHouse that wrote it, or a newer one",
    });
  }
  return known.filter((it) => it.version > current);
}
