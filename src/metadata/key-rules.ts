/** What both metadata stores say of API keys: what a new one must be, and how its rights are kept. */
import { type AccessRight, accessActions, checkKeyLife, checkKeySpec } from "../core/access.ts";
import { isApiKeyId } from "../core/api-key.ts";
import { invalid, type StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { SECRET_HASH_BYTES } from "../core/secret-hash.ts";
import type { NewApiKey, StoredApiKey } from "./key-store.ts";
import { bytesOf, numberOf, type SqlRow, textOf } from "./sql-rows.ts";

export const KEY_COLUMNS = "key_id, name, secret_hash, rights, created_at_ms, expires_at_ms";

/** @throws StreamHouseError `INVALID_ARGUMENT` */
export function checkNewKey(key: NewApiKey): void {
  checkKeySpec(key.name, key.rights);
  checkKeyLife(key.lifeMs);
  // Not repeated: whoever mixes up its parts would have the secret in a message.
  if (!isApiKeyId(key.id)) throw invalid("INVALID_ARGUMENT", "this is no API key's id", at("id"));
  if (key.secretHash.length !== SECRET_HASH_BYTES) {
    const message = `the secret's hash has ${key.secretHash.length} bytes, not ${SECRET_HASH_BYTES}`;
    throw invalid("INVALID_ARGUMENT", message, at("secretHash"));
  }
}

export function keyExists(id: string): StreamHouseError {
  return invalid("INVALID_ARGUMENT", `there is a key with the id ${id}: make another`, at("id"));
}

export function tooManyKeys(): StreamHouseError {
  return invalid(
    "INVALID_ARGUMENT",
    `there are ${limits.apiKeysMax} API keys, which is the limit: revoke those that have expired or are not used`,
  );
}

export function rightsToText(rights: readonly AccessRight[]): string {
  return JSON.stringify(rights.map(({ action, topicPrefix }) => [action, topicPrefix]));
}

/** A row of `KEY_COLUMNS`. Rights of a kind that this version does not know give nothing. */
export function keyOf(row: SqlRow): StoredApiKey {
  const expires = row.expires_at_ms;
  return {
    id: textOf(row, "key_id"),
    name: textOf(row, "name"),
    secretHash: bytesOf(row, "secret_hash"),
    rights: rightsOf(textOf(row, "rights")),
    createdAtMs: numberOf(row, "created_at_ms"),
    expiresAtMs: expires === null ? undefined : numberOf(row, "expires_at_ms"),
  };
}

function rightsOf(text: string): readonly AccessRight[] {
  const pairs = JSON.parse(text) as readonly (readonly [string, string])[];
  return pairs.flatMap(([word, topicPrefix]) => {
    const action = accessActions.find((it) => it === word);
    return action === undefined ? [] : [{ action, topicPrefix }];
  });
}

function at(field: string): { readonly field: string } {
  return { field };
}
