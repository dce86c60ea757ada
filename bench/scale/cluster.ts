/**
 * Real servers for all figures about scale: one PostgreSQL that syncs every commit, one radosgw with its data in memory. Started by
 * the first that asks, stopped by the last that leaves. A fleet of agents has a database and a prefix of its own.
 */

import postgres from "postgres";
import { type PostgresServer, startPostgres } from "../../scripts/backends/postgres.ts";
import { type Radosgw, startRadosgw } from "../../scripts/backends/radosgw.ts";
import { Shared } from "../shared.ts";

/** The database that agents share, as the bench looks at it. */
export interface Database {
  readonly url: string;
  /** Transactions committed since its creation, as PostgreSQL counts them. */
  transactions(): Promise<number>;
  /** How many partitions each run holds, and a number that changes whenever one moves. */
  holders(): Promise<Holders>;
  close(): Promise<void>;
}

export interface Holders {
  readonly byRun: ReadonlyMap<string, number>;
  readonly epochs: number;
}

export interface Backends {
  readonly bucket: Radosgw;
  database(): Promise<Database>;
}

/** Made by the catalogue, once for all contenders. */
export type SharedBackends = Shared<Backends & { close(): Promise<void> }>;

export function sharedBackends(): SharedBackends {
  return new Shared(start);
}

async function start(): Promise<Backends & { close(): Promise<void> }> {
  const server = await startPostgres({ fsync: "on", shared_buffers: "256MB" });
  try {
    const bucket = await startRadosgw({ bytesMax: 4 * 2 ** 30 });
    return {
      bucket,
      database: () => openDatabase(server),
      async close() {
        await bucket.stop();
        await server.remove();
      },
    };
  } catch (error) {
    await server.remove();
    throw error;
  }
}

async function openDatabase(server: PostgresServer): Promise<Database> {
  const url = await server.createDatabase();
  const name = new URL(url).pathname.slice(1);
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  // Asked in another database, so that looking is not counted.
  const outside = postgres(server.url, { max: 1, onnotice: () => {} });
  return {
    url,
    async transactions() {
      const [row] = await outside`
        SELECT xact_commit::float8 AS commits FROM pg_stat_database WHERE datname = ${name}`;
      return Number(row?.commits);
    },
    async holders() {
      const rows = await sql`
        SELECT run_id, count(*)::int AS partitions, sum(epoch)::float8 AS epochs
        FROM streamhouse.partitions WHERE run_id IS NOT NULL GROUP BY run_id`;
      return {
        byRun: new Map(rows.map((row) => [String(row.run_id), Number(row.partitions)])),
        epochs: rows.reduce((sum, row) => sum + Number(row.epochs), 0),
      };
    },
    async close() {
      await sql.end({ timeout: 1 });
      await outside.end({ timeout: 1 });
    },
  };
}
