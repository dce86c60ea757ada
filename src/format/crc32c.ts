/**
 * CRC-32C (Castagnoli, reflected 0x82F63B78): `@node-rs/crc32` where it can be loaded, own table code otherwise. The one
 * gate for that native module. Never asynchronous.
 */

/** The checksum of `bytes`, or with `previous` of what `previous` was made of followed by `bytes`. */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  throw new Error(`not yet: ${bytes.length} ${previous}`);
}
