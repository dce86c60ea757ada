/**
 * A real PostgreSQL as child processes: one server, or a primary with a synchronous streaming standby. For tests and for
 * `npm run chaos`. Servers listen on free ports of 127.0.0.1 and keep their data in a folder below the system's temporary one;
 * both are gone after `remove()`, and also when the process that started them dies in whatever way.
 *
 * PostgreSQL refuses to run as root: then its programs run as the account `postgres` (or `nobody`).
 */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import {
  dataOf,
  POSTGRES_PASSWORD,
  POSTGRES_USER,
  PostgresServer,
  type PostgresSettings,
  READY_WITHIN_MS,
  unprivileged,
  until,
} from "./postgres-server.ts";

export { PostgresServer, type PostgresSettings, type StopMode } from "./postgres-server.ts";

const STANDBY_NAME = "standby";
const STARTS_MAX = 5;
/** A primary, and a standby that each commit waits for. */
export interface PostgresPair {
  readonly primary: PostgresServer;
  readonly standby: PostgresServer;
  /** Names both hosts, the primary first. */
  urlOf(database: string): string;
  /** Both. */
  remove(): Promise<void>;
}

/** A new, empty server. @throws Error naming the Debian package if there are no programs */
export async function startPostgres(more: PostgresSettings = {}): Promise<PostgresServer> {
  const bin = programs();
  const folder = makeFolder();
  const password = join(folder, "password");
  try {
    writeFileSync(password, `${POSTGRES_PASSWORD}\n`);
    run(bin, "initdb", [
      ...["-D", dataOf(folder), "-U", POSTGRES_USER, "--auth=scram-sha-256"],
      ...[`--pwfile=${password}`, "--no-sync", "--encoding=UTF8", "--locale=C"],
    ]);
    return await onFreePort((port) => new PostgresServer(bin, folder, port, more));
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/** A primary that acknowledges a commit when its standby has it on disk, too. */
export async function startPostgresPair(more: PostgresSettings = {}): Promise<PostgresPair> {
  const primary = await startPostgres(more);
  let standby: PostgresServer | undefined;
  try {
    standby = await addStandby(primary, more);
    await primary.query(`ALTER SYSTEM SET synchronous_standby_names = '${STANDBY_NAME}'`);
    await primary.query("SELECT pg_reload_conf()");
    const synchronous = await until(async () => {
      const rows = await primary.query("SELECT sync_state FROM pg_stat_replication");
      return rows.some((row) => row.sync_state === "sync");
    }, READY_WITHIN_MS);
    if (!synchronous) throw new Error(`the standby does not follow: ${standby.log}`);
  } catch (error) {
    await primary.remove();
    await standby?.remove();
    throw error;
  }
  const { port } = standby;
  const pair = { primary, standby };
  return {
    ...pair,
    urlOf: (database) =>
      primary.urlOf(database).replace(`:${primary.port}/`, `:${primary.port},127.0.0.1:${port}/`),
    remove: async () => {
      await pair.standby.remove();
      await primary.remove();
    },
  };
}

/** A copy of a running primary that streams from it. */
export async function addStandby(
  primary: PostgresServer,
  more: PostgresSettings = {},
): Promise<PostgresServer> {
  const bin = programs();
  const folder = makeFolder();
  try {
    const from = `${primary.url}?application_name=${STANDBY_NAME}`;
    run(bin, "pg_basebackup", [
      ...["-d", from, "-D", dataOf(folder), "--write-recovery-conf", "--wal-method=stream"],
      ...["--checkpoint=fast", "--no-sync"],
    ]);
    return await onFreePort((port) => new PostgresServer(bin, folder, port, more));
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/** Where the server's programs are: Debian keeps them out of the search path. @throws Error */
function programs(): string {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian)
    ? readdirSync(debian).map(Number).filter(Number.isFinite)
    : [];
  const newest = versions.sort((a, b) => b - a).map(String);
  const folders = [
    ...["15", ...newest].map((version) => join(debian, version, "bin")),
    ...(process.env.PATH ?? "").split(delimiter),
  ];
  const found = folders.find((it) => existsSync(join(it, "initdb")));
  if (found !== undefined) return found;
  throw new Error(
    "PostgreSQL's server programs are missing: install the Debian package postgresql-15 " +
      "(apt-get install postgresql-15)",
  );
}

function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "streamhouse-postgres-"));
  const { uid, gid } = unprivileged();
  if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid);
  return folder;
}

function run(bin: string, program: string, args: readonly string[]): void {
  const done = spawnSync(join(bin, program), [...args], {
    encoding: "utf8",
    ...unprivileged(),
  });
  if (done.status === 0) return;
  throw new Error(`${program} failed (${done.status}): ${done.error ?? done.stderr}`);
}

/** A port may be taken between our look and the server's: then the start is tried anew. */
async function onFreePort(make: (port: number) => PostgresServer): Promise<PostgresServer> {
  for (let tries = 1; ; tries++) {
    const server = make(await freePort());
    try {
      await server.start();
      return server;
    } catch (error) {
      if (tries === STARTS_MAX || !/in use/.test(String(error))) throw error;
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  await once(server.close(), "close");
  if (typeof address === "object" && address !== null) return address.port;
  throw new Error("no free port");
}
