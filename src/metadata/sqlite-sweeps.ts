/** Objects that wait for their deletion and keys that were given up, in SQLite. Part of `createSqliteMetadata`. */
import type { RandomBytes } from "../core/ids.ts";
import type { MetadataStore } from "./metadata-store.ts";
import { numberOf, textOf } from "./sql-rows.ts";
import type { SqliteDatabase } from "./sqlite-database.ts";
import { drawIdentity, identityText } from "./store-identity.ts";

type SweepStore = Pick<
  MetadataStore,
  "listDoomed" | "forgetDoomed" | "sweepKeys" | "forgetSwept" | "identity"
>;

export function createSweepStore(db: SqliteDatabase, random: RandomBytes): SweepStore {
  return {
    async identity() {
      return db.write("telling the database's identity", () => {
        const sql = "INSERT OR IGNORE INTO counters (name, value) VALUES ('identity', ?)";
        db.run(sql, drawIdentity(random));
        const row = db.get("SELECT value FROM counters WHERE name = 'identity'");
        return identityText(numberOf(row ?? {}, "value"));
      });
    },
    async listDoomed(olderThanMs, limit) {
      const sql =
        "SELECT object_key FROM doomed WHERE doomed_at_ms <= ? AND NOT EXISTS " +
        "(SELECT 1 FROM flushes f WHERE f.object_key = doomed.object_key) " +
        "ORDER BY doomed_at_ms, object_key LIMIT ?";
      return db.read("listing doomed objects", (nowMs) =>
        db.all(sql, nowMs - olderThanMs, limit).map((row) => textOf(row, "object_key")),
      );
    },
    async forgetDoomed(keys) {
      db.write("forgetting doomed objects", () => {
        for (const key of keys) db.run("DELETE FROM doomed WHERE object_key = ?", key);
      });
    },
    async sweepKeys(keys) {
      return db.write("sweeping keys", (nowMs) => keys.filter((key) => sweep(db, key, nowMs)));
    },
    async forgetSwept(olderThanMs) {
      const sql = "DELETE FROM swept WHERE swept_at_ms < ?";
      return db.write("forgetting swept keys", (nowMs) => db.run(sql, nowMs - olderThanMs).changes);
    },
  };
}

/** Nothing refers to the object any more: from now on its age counts. */
export function doom(db: SqliteDatabase, key: string, nowMs: number): void {
  db.run(
    "INSERT INTO doomed (object_key, doomed_at_ms) VALUES (?, ?) " +
      "ON CONFLICT (object_key) DO UPDATE SET doomed_at_ms = excluded.doomed_at_ms",
    key,
    nowMs,
  );
}

/** Whether the key was given up. Asked by each commit of a flush or merge. */
export function isSwept(db: SqliteDatabase, key: string): boolean {
  return db.get("SELECT 1 FROM swept WHERE object_key = ?", key) !== undefined;
}

/** False: something refers to it. A key that was swept before is swept anew, from now on. */
function sweep(db: SqliteDatabase, key: string, nowMs: number): boolean {
  for (const table of ["flushes", "merges", "doomed"]) {
    const sql = `SELECT 1 FROM ${table} WHERE object_key = ? LIMIT 1`;
    if (db.get(sql, key) !== undefined) return false;
  }
  db.run(
    "INSERT INTO swept (object_key, swept_at_ms) VALUES (?, ?) " +
      "ON CONFLICT (object_key) DO UPDATE SET swept_at_ms = excluded.swept_at_ms",
    key,
    nowMs,
  );
  return true;
}
