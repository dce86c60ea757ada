/**
 * The port to durable bytes: a small part of what S3 offers. Implementations: memory, folder, S3. Objects are
 * never overwritten: `put` is always conditional. Every implementation runs the contract suite in
 * src/testing/contracts/object-store.ts.
 */

/** An object as a listing shows it. */
export interface ObjectInfo {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** ms since 1970. */
  readonly modifiedAtMs: number;
  /** CRC-32C of the whole object; from `head` only, where the store knows it without reading. */
  readonly crc32c?: number | undefined;
}

/** A part of an object, in bytes from its beginning. */
export interface ByteRange {
  readonly start: number;
  readonly length: number;
}

/**
 * The port to durable bytes under keys, in Web types. Objects are never overwritten. `objectStoreContract` of `./testing` is
 * its exact meaning.
 */
export interface ObjectStore {
  /** Name for telemetry and messages: `memory`, `folder`, `s3`. */
  readonly kind: string;
  /** Behind a network: an agent tries its operations again, and hedges slow writes. Default false. */
  readonly remote?: boolean | undefined;

  /**
   * Stores a new object; durable when resolved.
   * @throws StreamHouseError `OBJECT_EXISTS` (conflict) if the key is taken, `STORE_UNAVAILABLE` (outcome `unknown` where
   * it may have been written), `STORE_FULL`
   */
  put(key: string, parts: readonly Uint8Array[], signal?: AbortSignal): Promise<void>;

  /**
   * Reads an object or a range of it.
   * @throws StreamHouseError `OBJECT_NOT_FOUND`, `STORE_UNAVAILABLE`, `CORRUPT_SEGMENT` if the range is beyond its end
   */
  get(key: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array>;

  /** Undefined if there is no such object. */
  head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined>;

  /** In key order, after `startAfter` (exclusive). */
  list(prefix: string, startAfter?: string, signal?: AbortSignal): AsyncIterable<ObjectInfo>;

  /** Deletes what exists of the keys; a missing one is no error. */
  delete(keys: readonly string[], signal?: AbortSignal): Promise<void>;

  close(): Promise<void>;
}
