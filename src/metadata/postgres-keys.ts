/** API keys, in PostgreSQL: hashes of their secrets. Part of `createPostgresMetadata`. */
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
import type { PostgresPool, PostgresTransaction } from "./postgres-pool.ts";
import { numberOf } from "./sql-rows.ts";

export function createKeyStore(pool: PostgresPool): KeyStore {
  return {
    async createKey(key) {
      checkNewKey(key);
      return pool.transaction({ doing: "creating an API key" }, (tx) => createKey(tx, key));
    },
    async listKeys() {
      // One row even where there is no key: for the moment.
      const rows = await pool.run(
        { doing: "listing API keys", reads: true },
        `SELECT now_ms() AS as_of_ms, ${KEY_COLUMNS} FROM (SELECT 1) one ` +
          "LEFT JOIN api_keys ON true ORDER BY created_at_ms, key_id",
      );
      const keys = rows.filter((row) => row.key_id !== null).map(keyOf);
      return { asOfMs: numberOf(rows[0] ?? {}, "as_of_ms"), keys };
    },
    async revokeKey(id) {
      const rows = await pool.run(
        { doing: "revoking an API key" },
        "DELETE FROM api_keys WHERE key_id = $1 RETURNING key_id",
        id,
      );
      return rows.length > 0;
    },
  };
}

async function createKey(tx: PostgresTransaction, key: NewApiKey): Promise<ApiKeyInfo> {
  const { id, name, rights, secretHash, lifeMs } = key;
  const row = await tx.get(
    `INSERT INTO api_keys (${KEY_COLUMNS}) ` +
      "SELECT $1, $2, $3::bytea, $4, it.now_ms, it.now_ms + $5::int8 FROM (SELECT now_ms() AS now_ms) it " +
      `ON CONFLICT (key_id) DO NOTHING RETURNING ${KEY_COLUMNS}`,
    ...[id, name, secretHash, rightsToText(rights), lifeMs ?? null],
  );
  if (row === undefined) throw keyExists(id);
  const count = await tx.get("SELECT count(*) AS keys FROM api_keys");
  if (numberOf(count ?? {}, "keys") > limits.apiKeysMax) throw tooManyKeys();
  const { secretHash: _, ...shown } = keyOf(row);
  return shown;
}
