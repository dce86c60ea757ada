/**
 * The codecs of record batches: none, gzip and zstd, by `node:zlib`, which all three runtimes have
 * (zstd from Node 22.15). Work is done on the runtime's own threads. Must never give out more bytes
 * than the caller's limit.
 */
import {
  constants,
  gunzip as gunzipCallback,
  gzip as gzipCallback,
  zstdCompress as zstdCompressCallback,
  zstdDecompress as zstdDecompressCallback,
} from "node:zlib";
import { invalid, StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";

/** What a batch's records may be compressed with. */
export type Compression = "none" | "gzip" | "zstd";

/** Kafka's names by the id in the lowest three bits of a batch's attributes. */
const CODEC_NAMES = ["none", "gzip", "snappy", "lz4", "zstd"] as const;

/** Kafka's default level for gzip is zlib's; 1 costs a third of the time for a tenth more bytes. */
const GZIP_LEVEL = 1;
/** Kafka's default level for zstd. */
const ZSTD_LEVEL = 3;

/**
 * The codec named by a batch's attributes.
 * @throws StreamHouseError `UNSUPPORTED_COMPRESSION` for snappy, lz4 and unknown ids
 */
export function compressionOf(attributes: number): Compression {
  const id = attributes & 7;
  if (id === 0) return "none";
  if (id === 1) return "gzip";
  if (id === 4) return "zstd";
  throw invalid(
    "UNSUPPORTED_COMPRESSION",
    `compression ${CODEC_NAMES[id] ?? `codec ${id}`} is not supported: use none, gzip or zstd`,
  );
}

/** Kafka's id of a codec: 0 none, 1 gzip, 4 zstd. */
export function codecId(compression: Compression): number {
  return CODEC_NAMES.indexOf(compression);
}

/** Compresses; `none` answers the bytes themselves. */
export function compress(compression: Compression, bytes: Uint8Array): Promise<Uint8Array> {
  if (compression === "none") return Promise.resolve(bytes);
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, out: Uint8Array) => {
      if (error === null) resolve(plain(out));
      else reject(compressionFailed(compression, bytes.length, error));
    };
    if (compression === "gzip") gzipCallback(bytes, { level: GZIP_LEVEL }, done);
    else {
      const params = { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL };
      zstdCompressCallback(bytes, { params }, done);
    }
  });
}

/**
 * Decompresses to at most `bytesMax` bytes (default `limits.decompressedBytesMax`).
 * @throws StreamHouseError `CORRUPT_BATCH`: damaged, or larger than that
 */
export function decompress(
  compression: Compression,
  bytes: Uint8Array,
  bytesMax: number = limits.decompressedBytesMax,
): Promise<Uint8Array> {
  if (compression === "none") return Promise.resolve(bytes);
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, out: Uint8Array) => {
      if (error === null && out.length <= bytesMax) resolve(plain(out));
      else reject(decompressionFailed(compression, bytes.length, bytesMax, error));
    };
    const options = { maxOutputLength: bytesMax };
    if (compression === "gzip") gunzipCallback(bytes, options, done);
    else zstdDecompressCallback(bytes, options, done);
  });
}

/** Without the runtime's own subclass, whose `subarray` and `slice` mean something else. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function compressionFailed(codec: Compression, size: number, cause: Error): StreamHouseError {
  return new StreamHouseError({
    code: "INTERNAL",
    kind: "internal",
    message: `compressing ${size} bytes with ${codec} failed: ${cause.message}`,
    cause,
  });
}

function decompressionFailed(
  codec: Compression,
  size: number,
  bytesMax: number,
  cause: Error | null,
): StreamHouseError {
  const tooLarge = cause === null || (cause as { code?: string }).code === "ERR_BUFFER_TOO_LARGE";
  return new StreamHouseError({
    code: "CORRUPT_BATCH",
    kind: "corrupt",
    message: tooLarge
      ? `${size} bytes of ${codec} grow beyond the limit of ${bytesMax} bytes when decompressed`
      : `${size} bytes of ${codec} cannot be decompressed: ${cause.message}`,
    cause: cause ?? undefined,
  });
}
