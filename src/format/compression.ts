/** The codecs of record batches: none, gzip and zstd, by `node:zlib`, which all three runtimes have. */

/** What a batch's records may be compressed with. */
export type Compression = "none" | "gzip" | "zstd";

/**
 * The codec named by the lowest three bits of a batch's attributes.
 * @throws StreamHouseError `UNSUPPORTED_COMPRESSION` for snappy, lz4 and unknown ids
 */
export function compressionOf(attributes: number): Compression {
  throw new Error(`not yet: ${attributes}`);
}

/** Kafka's id of a codec: 0 none, 1 gzip, 4 zstd. */
export function codecId(compression: Compression): number {
  throw new Error(`not yet: ${compression}`);
}

/** Compresses; `none` answers the bytes themselves. */
export function compress(compression: Compression, bytes: Uint8Array): Promise<Uint8Array> {
  throw new Error(`not yet: ${compression} ${bytes.length}`);
}

/**
 * Decompresses to at most `bytesMax` bytes (default `limits.decompressedBytesMax`).
 * @throws StreamHouseError `CORRUPT_BATCH`: damaged, or larger than that
 */
export function decompress(
  compression: Compression,
  bytes: Uint8Array,
  bytesMax?: number,
): Promise<Uint8Array> {
  throw new Error(`not yet: ${compression} ${bytes.length} ${bytesMax}`);
}
