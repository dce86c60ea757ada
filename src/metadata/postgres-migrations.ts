/**
 * Brings the tables up to date when a store is opened. Safe when many agents start at once: one migrates, the others wait for its
 * lock. All in one transaction, so that a crash leaves the old version whole. Called by `createPostgresMetadata`.
 */
import type { Clock } from "../core/clock.ts";
import { postgresError } from "./postgres-errors.ts";
import type { PostgresLane } from "./postgres-lane.ts";
import type { ResolvedPostgresOptions } from "./postgres-options.ts";
import { postgresMigrations } from "./postgres-schema.ts";
import type { PostgresServers } from "./postgres-servers.ts";
import { type Migration, pendingMigrations } from "./schema.ts";
import { numberOf } from "./sql-rows.ts";

export interface MigrationComponents {
  readonly servers: PostgresServers;
  readonly clock: Clock;
  /** Default: the real ones. Tests bring their own. */
  readonly migrations?: readonly Migration[] | undefined;
}

/** Waiting for another's migration is part of it. */
const MIGRATION_MS = 120_000;
const DOING = "bringing the tables up to date";

/** @throws StreamHouseError `METADATA_TOO_NEW`, `METADATA_UNAVAILABLE` */
export async function migratePostgres(
  options: ResolvedPostgresOptions,
  components: MigrationComponents,
): Promise<void> {
  const { servers } = components;
  const lane = await servers.open({ doing: DOING, settled: false, onEnd: () => {} });
  try {
    await migrate(lane, options, components.migrations ?? postgresMigrations);
    await lane.close();
  } catch (error) {
    lane.destroy();
    // Whatever became of it, the next start looks anew.
    throw postgresError(error, { doing: DOING, name: options.name, unanswered: "none" });
  }
}

async function migrate(
  lane: PostgresLane,
  { schema, name }: ResolvedPostgresOptions,
  known: readonly Migration[],
): Promise<void> {
  const run = async (sql: string) => (await lane.query(sql, [], MIGRATION_MS)).rows;
  await run("BEGIN");
  await run(`SET LOCAL statement_timeout = ${MIGRATION_MS}`);
  await run(`SELECT pg_advisory_xact_lock(hashtextextended('streamhouse ${schema}', 0))`);
  // Who may not make schemas can be given one.
  const there = await run(`SELECT 1 FROM pg_namespace WHERE nspname = '${schema}'`);
  if (there.length === 0) await run(`CREATE SCHEMA "${schema}"`);
  const versions = await run(
    `SELECT to_regclass('"${schema}".schema_versions') IS NOT NULL AS known`,
  );
  if (versions[0]?.known !== true) {
    await run(
      "CREATE TABLE schema_versions (version int8 PRIMARY KEY, migrated_at timestamptz NOT NULL)",
    );
  }
  const [row] = await run("SELECT coalesce(max(version), 0) AS version FROM schema_versions");
  const current = numberOf(row ?? {}, "version");
  for (const { version, sql } of pendingMigrations(current, `${name} (schema ${schema})`, known)) {
    await lane.script(sql, MIGRATION_MS);
    await run(`INSERT INTO schema_versions (version, migrated_at) VALUES (${version}, now())`);
  }
  await run("COMMIT");
}
