/** The tables' migrations on a real PostgreSQL: starters at once, versions from the future, failures; and that the clock is the database's. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type PostgresServer, startPostgres } from "../../scripts/backends/postgres.ts";
import { type Clock, systemClock } from "../../src/core/clock.ts";
import { StreamHouseError } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { createPostgresMetadata } from "../../src/metadata/postgres.ts";
import { migratePostgres } from "../../src/metadata/postgres-migrations.ts";
import { resolvePostgresOptions } from "../../src/metadata/postgres-options.ts";
import { postgresMigrations } from "../../src/metadata/postgres-schema.ts";
import { PostgresServers } from "../../src/metadata/postgres-servers.ts";
import { type Migration, schemaVersion } from "../../src/metadata/schema.ts";
import { code, fresh, partitionsOf } from "../../src/testing/contracts/metadata-subject.ts";

describe("the tables in PostgreSQL", () => {
  let server: PostgresServer;
  before(async () => {
    server = await startPostgres();
  });
  after(() => server.remove());

  const migrate = (url: string, migrations: readonly Migration[]) => {
    const options = resolvePostgresOptions({ url });
    const servers = new PostgresServers(options, { clock: systemClock, logger: silentLogger });
    return migratePostgres(options, { servers, clock: systemClock, migrations });
  };
  const rows = (url: string, statement: string) =>
    server.query(statement, url.slice(url.lastIndexOf("/") + 1));
  const newest = schemaVersion(postgresMigrations);
  const next: Migration = {
    version: newest + 1,
    sql: "ALTER TABLE topics ADD COLUMN colour text; SELECT pg_sleep(0.2)",
  };

  it("are made once when five agents start at the same time", async () => {
    const url = await server.createDatabase();
    const stores = await Promise.all(
      [1, 2, 3, 4, 5].map(() => createPostgresMetadata({}, { url })),
    );
    const versions = await rows(
      url,
      "SELECT version::int AS version FROM streamhouse.schema_versions",
    );
    assert.deepEqual(
      versions.map((it) => it.version),
      postgresMigrations.map((it) => it.version),
    );
    const topic = { name: "one", partitions: 1, retentionMs: 0 };
    const made = await Promise.allSettled(stores.map((it) => it.createTopic(topic)));
    assert.equal(made.filter((it) => it.status === "fulfilled").length, 1);
    for (const store of stores) await store.close();
  });

  it("go from one version to the next once, whoever starts", async () => {
    const url = await server.createDatabase();
    await migrate(url, postgresMigrations);
    const known = [...postgresMigrations, next];
    await Promise.all([1, 2, 3, 4, 5].map(() => migrate(url, known)));
    const [row] = await rows(
      url,
      "SELECT max(version)::int AS version, count(*)::int AS rows FROM streamhouse.schema_versions",
    );
    assert.deepEqual(row, { version: newest + 1, rows: newest + 1 });
  });

  it("of a newer version are refused, untouched, with both versions named", async () => {
    const url = await server.createDatabase();
    await migrate(url, [...postgresMigrations, next]);
    const old = createPostgresMetadata({}, { url });
    await assert.rejects(old, code("METADATA_TOO_NEW"));
    await assert.rejects(old, new RegExp(`version ${newest + 1}.*up to ${newest}`));
  });

  it("stay whole when a migration fails half-way, and the next start tries again", async () => {
    const url = await server.createDatabase();
    const broken = { version: 1, sql: "CREATE TABLE half (x int8); SELECT * FROM missing" };
    await assert.rejects(migrate(url, [broken]), (error) => StreamHouseError.is(error));
    const [row] = await rows(url, "SELECT to_regclass('streamhouse.half')::text AS half");
    assert.equal(row?.half, null);
    await migrate(url, postgresMigrations);
  });

  it("can be two sets in one database", async () => {
    const url = await server.createDatabase();
    const [a, b] = await Promise.all(
      ["one", "two"].map((schema) => createPostgresMetadata({}, { url, schema })),
    );
    assert.ok(a !== undefined && b !== undefined);
    await a.createTopic({ name: "mine", partitions: 1, retentionMs: 0 });
    assert.deepEqual(await b.listTopics(), []);
    await a.close();
    await b.close();
  });

  it("have the database's time, whatever time an agent believes it is", async () => {
    const url = await server.createDatabase();
    const hours = 3_600_000;
    const apart = (ms: number): Clock => ({ ...systemClock, now: () => systemClock.now() + ms });
    const early = await createPostgresMetadata({ clock: apart(-5 * hours) }, { url });
    const late = await createPostgresMetadata({ clock: apart(5 * hours) }, { url });
    const topic = await early.createTopic({ name: "t", partitions: 1, retentionMs: 0 });
    const ids = [fresh("run"), fresh("run")] as const;
    const run = { agentId: "a", address: "", ttlMs: hours, predecessorsDead: false };
    const started = [
      await early.startRun({ ...run, runId: ids[0] }),
      await late.startRun({ ...run, runId: ids[1] }),
    ];
    const [row] = await rows(
      url,
      "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now",
    );
    for (const { startedAtMs, expiresAtMs } of started) {
      assert.ok(Math.abs(Number(row?.now) - startedAtMs) < hours / 2);
      assert.equal(expiresAtMs, startedAtMs + hours);
    }
    assert.equal((await early.acquireLeases(ids[0], partitionsOf(topic))).length, 1);
    // By its own clock the late one would find it expired.
    assert.deepEqual(await late.acquireLeases(ids[1], partitionsOf(topic)), []);
    assert.ok((await late.listRuns()).every((it) => it.isLive));
    await early.close();
    await late.close();
  });

  it("have a time that goes on within a transaction", async () => {
    const url = await server.createDatabase();
    await migrate(url, postgresMigrations);
    const [row] = await rows(
      url,
      "SELECT b - a AS passed FROM (SELECT a, pg_sleep(0.05), streamhouse.now_ms()::float8 AS b " +
        "FROM (SELECT streamhouse.now_ms()::float8 AS a OFFSET 0) first OFFSET 0) second",
    );
    assert.ok(Number(row?.passed) >= 50, `${row?.passed} ms passed in 50`);
  });
});
