/**
 * Secrets are kept as SHA-256 and compared in a time that tells nothing. A plain hash is enough for them: they are 256 random bits, which
 * nobody finds by guessing, unlike passwords. An edge: the runtime's own crypto, because Web Crypto's digest is not at hand at once.
 */
import { createHash, timingSafeEqual } from "node:crypto";

/** Bytes of a hash. */
export const SECRET_HASH_BYTES = 32;

/** SHA-256 of the secret's text. */
export function hashSecret(secret: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(secret, "utf8").digest());
}

/** Whether two hashes are the same. Looks at every byte, whatever it finds. */
export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
