/** API keys, in SQLite: hashes of their secrets. Part of `createSqliteMetadata`. */
import { limits } from "../core/limits.ts";
import {
  checkNewKey,
  KEY_COLUMNS,
  keyExists,
  keyOf,
  rightsToText,
  tooManyKeys,
} from "./key-rules.ts";
import type { ApiKeyInfo, KeyStore, NewApiKey } from "./key-store.ts";
import { numberOf } from "./sql-rows.ts";
import type { SqliteDatabase } from "./sqlite-database.ts";

export function createKeyStore(db: SqliteDatabase): KeyStore {
  return {
    async createKey(key) {
      checkNewKey(key);
      return db.write("creating an API key", (nowMs) => createKey(db, key, nowMs));
    },
    async listKeys() {
      return db.read("listing API keys", (nowMs) => {
        const rows = db.all(`SELECT ${KEY_COLUMNS} FROM api_keys ORDER BY created_at_ms, key_id`);
        return { asOfMs: nowMs, keys: rows.map(keyOf) };
      });
    },
    async revokeKey(id) {
      return db.write("revoking an API key", () => {
        if (db.get("SELECT 1 AS found FROM api_keys WHERE key_id = ?", id) === undefined)
          return false;
        db.run("DELETE FROM api_keys WHERE key_id = ?", id);
        return true;
      });
    },
  };
}

function createKey(db: SqliteDatabase, key: NewApiKey, nowMs: number): ApiKeyInfo {
  const { id, name, rights, secretHash, lifeMs } = key;
  if (db.get("SELECT 1 AS found FROM api_keys WHERE key_id = ?", id) !== undefined) {
    throw keyExists(id);
  }
  const count = numberOf(db.get("SELECT count(*) AS keys FROM api_keys") ?? {}, "keys");
  if (count >= limits.apiKeysMax) throw tooManyKeys();
  const expiresAtMs = lifeMs === undefined ? undefined : nowMs + lifeMs;
  db.run(
    `INSERT INTO api_keys (${KEY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)`,
    ...[id, name, secretHash, rightsToText(rights), nowMs, expiresAtMs ?? null],
  );
  return { id, name, rights, createdAtMs: nowMs, expiresAtMs };
}
