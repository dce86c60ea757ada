/**
 * The tables of the PostgreSQL metadata, as migrations: each brings a schema from the version before to its own, and the functions
 * of `postgres-functions.ts` with it. What was once released is never changed, only followed by another. Run by
 * `postgres-migrations.ts`.
 *
 * - `topics`, `partitions`: next offset, log start, up to where it is merged; `run_id` and `epoch` are the lease (no run: free).
 * - `runs`: one row for each start of an agent; its expiry is the expiry of all its leases.
 * - `flushes`: one row for each committed flush, with the chunk's packed index. `watch_*` names one of its partitions that
 *   still needs it (topic id, partition, end offset there): only when that one no longer does, another is looked for.
 * - `merges`: one row for each merged segment, with the packed index of its pieces.
 * - `trims`: partitions that need no flush below `needed_from` any more, since trimming flushes last looked; `merge_trims`: that need
 *   no merge below it.
 * - `doomed`: objects that wait for their deletion. `swept`: keys that were given up.
 * - `producer_states`: one packed blob for each partition; `producers`: ids that were given out, and their epochs.
 * - `consumer_groups`, `members`, `offsets`; `assignments`: a group's row for each partition, with its holder (`member_id`) and who is
 *   to have it (`target_id`). What the columns mean stands in `group-snapshot.ts`.
 * - `api_keys`: one row for each key, with the hash of its secret.
 * - `counters`: `flush_id` and `merge_id` are the last ones given out. Their rows are locked from there to the commit, so that
 *   ids become visible in order; who sweeps keys locks them, too. `resolves` and `connections` are written so that an answer says
 *   that the standby has what came before. `trimming` is a lock for who trims. `topics` is the version of all topics.
 *
 * Locks are taken in this order, which is why nobody waits in a circle: runs by id, topics, partitions by (topic id, partition),
 * groups, counters by name. A flush commit takes partitions, and one counter last of all.
 *
 * Times are ms since 1970, by `now_ms()` and nothing else. Text is compared by its bytes, so that orders do not depend on the
 * database's language. Rows that are written at each flush have room on their page, so that no index has to be written.
 */
import { functions } from "./postgres-functions.ts";
import { groupMigration } from "./postgres-group-functions.ts";
import type { Migration } from "./schema.ts";

export const postgresMigrations: readonly Migration[] = [
  {
    version: 1,
    sql: `
      CREATE TABLE topics (
        topic_id uuid PRIMARY KEY,
        name text COLLATE "C" NOT NULL UNIQUE,
        partitions int4 NOT NULL,
        retention_ms int8 NOT NULL,
        created_at_ms int8 NOT NULL
      );
      CREATE TABLE partitions (
        topic_id uuid NOT NULL,
        partition int4 NOT NULL,
        next_offset int8 NOT NULL,
        log_start int8 NOT NULL,
        merged_until int8 NOT NULL,
        run_id text COLLATE "C",
        epoch int8 NOT NULL,
        PRIMARY KEY (topic_id, partition)
      ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
      CREATE INDEX partitions_by_run ON partitions (run_id) WHERE run_id IS NOT NULL;
      CREATE TABLE runs (
        run_id text COLLATE "C" PRIMARY KEY,
        agent_id text NOT NULL,
        address text NOT NULL,
        started_at_ms int8 NOT NULL,
        expires_at_ms int8 NOT NULL,
        retiring boolean NOT NULL DEFAULT false,
        load text
      ) WITH (fillfactor = 50);
      CREATE TABLE flushes (
        flush_id int8 PRIMARY KEY,
        run_id text COLLATE "C" NOT NULL,
        flush_sequence int8 NOT NULL,
        object_key text COLLATE "C" NOT NULL,
        position int8 NOT NULL,
        length int8 NOT NULL,
        entries bytea NOT NULL,
        watch_topic_id uuid NOT NULL,
        watch_partition int4 NOT NULL,
        watch_end int8 NOT NULL,
        UNIQUE (run_id, flush_sequence)
      );
      CREATE INDEX flushes_by_watch ON flushes (watch_topic_id, watch_partition, watch_end);
      CREATE INDEX flushes_by_object ON flushes (object_key);
      CREATE TABLE merges (
        merge_id int8 PRIMARY KEY,
        topic_id uuid NOT NULL,
        partition int4 NOT NULL,
        base_offset int8 NOT NULL,
        end_offset int8 NOT NULL,
        object_key text COLLATE "C" NOT NULL UNIQUE,
        position int8 NOT NULL,
        length int8 NOT NULL,
        entries bytea NOT NULL,
        UNIQUE (topic_id, partition, end_offset)
      );
      CREATE TABLE trims (
        topic_id uuid NOT NULL,
        partition int4 NOT NULL,
        needed_from int8 NOT NULL,
        PRIMARY KEY (topic_id, partition)
      );
      CREATE TABLE merge_trims (
        topic_id uuid NOT NULL,
        partition int4 NOT NULL,
        needed_from int8 NOT NULL,
        PRIMARY KEY (topic_id, partition)
      );
      CREATE TABLE doomed (
        object_key text COLLATE "C" PRIMARY KEY,
        doomed_at_ms int8 NOT NULL
      );
      CREATE INDEX doomed_by_age ON doomed (doomed_at_ms);
      CREATE TABLE swept (
        object_key text COLLATE "C" PRIMARY KEY,
        swept_at_ms int8 NOT NULL
      );
      CREATE TABLE producer_states (
        topic_id uuid NOT NULL,
        partition int4 NOT NULL,
        state bytea NOT NULL,
        PRIMARY KEY (topic_id, partition)
      ) WITH (fillfactor = 50);
      CREATE TABLE producers (
        producer_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        epoch int4 NOT NULL
      );
      CREATE TABLE consumer_groups (
        name text COLLATE "C" PRIMARY KEY,
        epoch int8 NOT NULL
      );
      CREATE TABLE members (
        group_name text COLLATE "C" NOT NULL,
        member_id text COLLATE "C" NOT NULL,
        client_id text NOT NULL,
        topics text NOT NULL,
        joined_epoch int8 NOT NULL,
        member_epoch int8 NOT NULL,
        previous_epoch int8 NOT NULL,
        expires_at_ms int8 NOT NULL,
        PRIMARY KEY (group_name, member_id)
      ) WITH (fillfactor = 50);
      CREATE TABLE assignments (
        group_name text COLLATE "C" NOT NULL,
        topic_id uuid NOT NULL,
        partition int4 NOT NULL,
        member_id text COLLATE "C" NOT NULL,
        epoch int8 NOT NULL,
        PRIMARY KEY (group_name, topic_id, partition)
      );
      CREATE TABLE offsets (
        group_name text COLLATE "C" NOT NULL,
        topic_id uuid NOT NULL,
        partition int4 NOT NULL,
        committed_offset int8 NOT NULL,
        metadata text NOT NULL,
        committed_at_ms int8 NOT NULL,
        PRIMARY KEY (group_name, topic_id, partition)
      ) WITH (fillfactor = 50);
      CREATE INDEX assignments_by_topic ON assignments (topic_id);
      CREATE INDEX offsets_by_topic ON offsets (topic_id);
      CREATE TABLE counters (
        name text COLLATE "C" PRIMARY KEY,
        value int8 NOT NULL
      ) WITH (fillfactor = 10);
      INSERT INTO counters (name, value)
        VALUES ('connections', 0), ('flush_id', 0), ('merge_id', 0), ('resolves', 0), ('trimming', 0);
      ${functions}
    `,
  },
  {
    version: 2,
    sql: `
      CREATE TABLE api_keys (
        key_id text COLLATE "C" PRIMARY KEY,
        name text NOT NULL,
        secret_hash bytea NOT NULL,
        rights text NOT NULL,
        created_at_ms int8 NOT NULL,
        expires_at_ms int8
      );
    `,
  },
  { version: 3, sql: groupMigration },
];
