/**
 * The part of the port to metadata that keeps API keys: never their secrets, only the hash of each. Part of `MetadataStore`; the contract
 * suite is src/testing/contracts/metadata-keys.ts. Called by agents that ask for keys, and by `streamhouse keys`.
 */
import type { AccessRight } from "../core/access.ts";

/** A key without its secret: what is shown of it. */
export interface ApiKeyInfo {
  /** The public part of its text. */
  readonly id: string;
  /** What people call it. Two keys may have the same name: one that follows another does. */
  readonly name: string;
  readonly rights: readonly AccessRight[];
  /** By the store's clock, as everything that is stored. */
  readonly createdAtMs: number;
  /** From here on it is refused; undefined: it does not expire. */
  readonly expiresAtMs: number | undefined;
}

/** A key as agents need it. */
export interface StoredApiKey extends ApiKeyInfo {
  /** SHA-256 of the secret. */
  readonly secretHash: Uint8Array;
}

/** What a key is made of. */
export interface NewApiKey {
  /** Made by the caller, with the secret. */
  readonly id: string;
  readonly name: string;
  readonly secretHash: Uint8Array;
  /** At least one. */
  readonly rights: readonly AccessRight[];
  /** From now on, by the store's clock; undefined: for ever. */
  readonly lifeMs: number | undefined;
}

/** All keys, of one moment. */
export interface ApiKeyList {
  /** The moment, by the store's clock: what `expiresAtMs` is to be compared with. */
  readonly asOfMs: number;
  /** In the order of their creation, the expired ones with them. */
  readonly keys: readonly StoredApiKey[];
}

/** Keeps keys. Each call is one transaction. */
export interface KeyStore {
  /** @throws StreamHouseError `INVALID_ARGUMENT` for a bad name, rights or life, an id in use, or when there are too many keys */
  createKey(key: NewApiKey): Promise<ApiKeyInfo>;
  listKeys(): Promise<ApiKeyList>;
  /** Forgets the key. False: there is none of this id. */
  revokeKey(id: string): Promise<boolean>;
}
