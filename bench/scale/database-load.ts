/** What a database and this process have done so far, for figures of what something cost them. */
import { readdirSync, readFileSync } from "node:fs";
import type postgres from "postgres";
import type { PostgresServer } from "../../scripts/backends/postgres.ts";

/** Clock ticks that the kernel counts in a second. */
const TICKS = 100;

export interface Load {
  readonly at: number;
  readonly transactions: number;
  readonly databaseMs: number;
  readonly ownMs: number;
}

/** `sql` asks in another database of the server, so that looking is not counted. */
export async function loadOf(
  server: PostgresServer,
  database: string,
  sql: postgres.Sql,
): Promise<Load> {
  const [row] = await sql`
    SELECT xact_commit::float8 AS commits FROM pg_stat_database WHERE datname = ${database}`;
  const { system, user } = process.cpuUsage();
  return {
    at: performance.now(),
    transactions: Number(row?.commits),
    databaseMs: cpuMsOf(server.pid ?? 0),
    ownMs: (user + system) / 1_000,
  };
}

export function loadBetween(before: Load, after: Load): Readonly<Record<string, number>> {
  const seconds = (after.at - before.at) / 1_000;
  return {
    "transactions/s": (after.transactions - before.transactions) / seconds,
    "CPU % of the database": (after.databaseMs - before.databaseMs) / seconds / 10,
    "CPU % of the members": (after.ownMs - before.ownMs) / seconds / 10,
  };
}

/** Of the server and its processes, which stay as long as their connections. */
function cpuMsOf(server: number): number {
  let ticks = 0;
  for (const pid of readdirSync("/proc").filter((it) => /^\d+$/.test(it))) {
    try {
      const text = readFileSync(`/proc/${pid}/stat`, "utf8");
      const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
      if (Number(pid) !== server && Number(fields[1]) !== server) continue;
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // It has just ended.
    }
  }
  return (ticks * 1_000) / TICKS;
}
