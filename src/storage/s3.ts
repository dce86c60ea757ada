/**
 * Objects in a bucket of Amazon S3 or of a service that speaks its protocol, through `@aws-sdk/client-s3` (an optional peer: only this
 * room and its workers import it). One call is one request, or a few for large objects and long lists. It must never overwrite and never
 * retry. What an agent makes of it, from the outside in: caching over retrying over instrumented over this, so that
 * what a cache answers costs nothing, one deadline holds over all attempts, and each attempt is measured.
 */
import {
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { type Clock, systemClock } from "../core/clock.ts";
import { closed, invalid } from "../core/errors.ts";
import { checkKey, isKey } from "./object-key.ts";
import type { ByteRange, ObjectInfo, ObjectStore } from "./object-store.ts";
import { checksumOf, lengthOf } from "./parts.ts";
import { bodyOf, checksumHeader, readBody } from "./s3-body.ts";
import { type S3Operation, s3Error } from "./s3-errors.ts";
import { putInParts } from "./s3-multipart.ts";
import { type S3Credentials, type S3RequestOptions, S3Requests } from "./s3-requests.ts";
import { signBody } from "./s3-signing.ts";
import { checkBucket, checkEndpoint, checkPrefix } from "./s3-url.ts";
import { checkRange, checkSignal, objectNotFound } from "./store-errors.ts";

export { parseS3Url } from "./s3-url.ts";

/** Where the objects lie and how they are reached. `parseS3Url` makes the first five from a URL. */
export interface S3StoreOptions {
  readonly bucket: string;
  /** In front of every key. Default: none. */
  readonly prefix?: string | undefined;
  /** Of an S3-compatible service, `http(s)://host:port`. Default: Amazon S3, or what the AWS SDK's settings name. */
  readonly endpoint?: string | undefined;
  /** Default: what the AWS SDK finds (`AWS_REGION`, the profile). */
  readonly region?: string | undefined;
  /** The bucket in the path, not in the host name. Default: true with an endpoint. */
  readonly pathStyle?: boolean | undefined;
  /** Default: the AWS SDK's credential chain, which renews what expires. */
  readonly credentials?: S3Credentials | (() => Promise<S3Credentials>) | undefined;
  /** Longest wait for an answer, and for each 8 MiB of a body a second more, ms. Default 5,000. */
  readonly requestTimeoutMs?: number | undefined;
  /** Connections to the service. Default 64. */
  readonly connectionsMax?: number | undefined;
  /** Larger objects are uploaded in parts. Default 64 MiB. */
  readonly multipartBytes?: number | undefined;
  /** Length of a part; the protocol's least is 5 MiB. Default 16 MiB. */
  readonly partBytes?: number | undefined;
  /** The body's SHA-256 in every signature. Default: with an `http://` endpoint, where nothing else protects the bytes. */
  readonly signBodies?: boolean | undefined;
}

/** What a store works with beside its options. */
export interface S3StoreComponents {
  /** Default: the process's own. */
  readonly clock?: Clock | undefined;
}

const MIB = 1_048_576;
/** The protocol's limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const PART_BYTES_MIN = 5 * MIB;
const PARTS_MAX = 10_000;
const SINGLE_PUT_BYTES_MAX = 5 * 1_024 * MIB;
const KEYS_PER_DELETE = 1_000;

/** The user metadata that holds an object's CRC-32C, 8 hexadecimal digits: every service keeps it, in parts uploaded too. */
const CHECKSUM = "crc32c";

/**
 * A store in a bucket. Nothing is sent before the first operation.
 * @throws StreamHouseError `INVALID_ARGUMENT` for options out of range
 */
export function createS3Store(components: S3StoreComponents, options: S3StoreOptions): ObjectStore {
  return new S3Store(components.clock ?? systemClock, options);
}

class S3Store implements ObjectStore {
  readonly kind = "s3";
  readonly remote = true;
  readonly #requests: S3Requests;
  readonly #bucket: string;
  /** Empty, or ends with a slash. */
  readonly #root: string;
  readonly #multipartBytes: number;
  readonly #partBytes: number;
  #closed = false;

  constructor(clock: Clock, options: S3StoreOptions) {
    const { multipartBytes = 64 * MIB, partBytes = 16 * MIB } = options;
    this.#multipartBytes = whole("multipartBytes", multipartBytes, 0, SINGLE_PUT_BYTES_MAX);
    this.#partBytes = whole("partBytes", partBytes, PART_BYTES_MIN, SINGLE_PUT_BYTES_MAX);
    const resolved = resolve(options);
    this.#bucket = resolved.bucket;
    this.#root = resolved.prefix === "" ? "" : `${resolved.prefix}/`;
    this.#requests = new S3Requests(clock, resolved);
  }

  async put(key: string, parts: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
    const operation = this.#begin("put", key, signal);
    const bytes = lengthOf(parts);
    if (bytes > this.#partBytes * PARTS_MAX) {
      throw invalid("INVALID_ARGUMENT", `object ${key} has ${bytes} bytes: more than S3 takes`);
    }
    const crc = checksumOf(parts);
    const metadata = { [CHECKSUM]: crc.toString(16).padStart(8, "0") };
    if (bytes > this.#multipartBytes) {
      const taken = async () => (await this.head(key, signal)) !== undefined;
      const objectKey = this.#root + key;
      const partBytes = this.#partBytes;
      const put = { operation, key, objectKey, parts, metadata, partBytes, taken, signal };
      return putInParts(this.#requests, put);
    }
    const command = new PutObjectCommand({
      ...{ Bucket: this.#bucket, Key: this.#root + key, IfNoneMatch: "*", Metadata: metadata },
      ...{ Body: bodyOf(parts), ContentLength: bytes, ChecksumCRC32C: checksumHeader(crc) },
    });
    await signBody(this.#requests, command, parts);
    await this.#requests.run(
      operation,
      ({ signal: abortSignal }) => this.#requests.client.send(command, { abortSignal }),
      signal,
      bytes,
    );
  }

  async get(key: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    const operation = this.#begin("get", key, signal);
    if (range !== undefined) {
      checkRange(key, Number.MAX_SAFE_INTEGER, range);
      // No range of the protocol's has no bytes.
      if (range.length === 0) return this.#checkAgainstSize(key, range, signal);
    }
    try {
      return await this.#requests.run(
        operation,
        async ({ signal: abortSignal, expect }) => {
          const command = new GetObjectCommand({
            ...{ Bucket: this.#bucket, Key: this.#root + key },
            ...(range === undefined ? {} : { Range: rangeHeader(range) }),
          });
          const answer = await this.#requests.client.send(command, { abortSignal });
          const length = answer.ContentLength ?? 0;
          const size = Number(/\/(\d+)$/.exec(answer.ContentRange ?? "")?.[1] ?? length);
          if (range !== undefined) checkRange(key, size, range);
          expect(length);
          const bytes = await readBody(answer.Body, length, key);
          // A service that does not know ranges answers with everything.
          const isWhole = range !== undefined && answer.ContentRange === undefined;
          return isWhole ? bytes.slice(range.start, range.start + range.length) : bytes;
        },
        signal,
      );
    } catch (error) {
      if (range === undefined || !isUnsatisfiable(error)) throw error;
      return this.#checkAgainstSize(key, range, signal);
    }
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    const operation = this.#begin("head", key, signal);
    try {
      const command = new HeadObjectCommand({ Bucket: this.#bucket, Key: this.#root + key });
      const found = await this.#requests.run(
        operation,
        ({ signal: abortSignal }) => this.#requests.client.send(command, { abortSignal }),
        signal,
      );
      const claimed = found.Metadata?.[CHECKSUM];
      const known = claimed !== undefined && /^[0-9a-f]{8}$/.test(claimed);
      return {
        key,
        size: found.ContentLength ?? 0,
        modifiedAtMs: wholeSeconds(found.LastModified),
        ...(known ? { crc32c: Number.parseInt(claimed, 16) } : {}),
      };
    } catch (error) {
      if ((error as { readonly code?: unknown }).code === "OBJECT_NOT_FOUND") return undefined;
      throw error;
    }
  }

  async *list(
    prefix: string,
    startAfter?: string,
    signal?: AbortSignal,
  ): AsyncGenerator<ObjectInfo, void, undefined> {
    let token: string | undefined;
    do {
      const operation = this.#begin("list", undefined, signal);
      const command = new ListObjectsV2Command({
        ...{ Bucket: this.#bucket, Prefix: this.#root + prefix },
        ...(token === undefined ? {} : { ContinuationToken: token }),
        ...(startAfter === undefined ? {} : { StartAfter: this.#root + startAfter }),
      });
      const page = await this.#requests.run(
        operation,
        ({ signal: abortSignal }) => this.#requests.client.send(command, { abortSignal }),
        signal,
      );
      for (const { Key = "", Size = 0, LastModified } of page.Contents ?? []) {
        const key = Key.slice(this.#root.length);
        // What others put there (a console's empty "folders") is none of ours.
        if (!isKey(key)) continue;
        yield { key, size: Size, modifiedAtMs: wholeSeconds(LastModified) };
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async delete(keys: readonly string[], signal?: AbortSignal): Promise<void> {
    this.#begin("delete", undefined, signal);
    for (const key of keys) checkKey(key);
    for (let at = 0; at < keys.length; at += KEYS_PER_DELETE) {
      await this.#deleteSome(keys.slice(at, at + KEYS_PER_DELETE), signal);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#requests.close();
  }

  /** One request. It can fail for some of the keys. */
  async #deleteSome(keys: readonly string[], signal: AbortSignal | undefined): Promise<void> {
    const operation = this.#begin("delete", undefined, signal);
    const Objects = keys.map((key) => ({ Key: this.#root + key }));
    const command = new DeleteObjectsCommand({
      ...{ Bucket: this.#bucket, Delete: { Objects, Quiet: true } },
    });
    const { Errors = [] } = await this.#requests.run(
      operation,
      ({ signal: abortSignal }) => this.#requests.client.send(command, { abortSignal }),
      signal,
    );
    const left = Errors.filter(({ Code }) => Code !== "NoSuchKey");
    const [first] = left;
    if (first === undefined) return;
    const doing = `delete of ${left.length} of ${keys.length} objects, the first`;
    const key = (first.Key ?? "").slice(this.#root.length);
    // As the service would have said of a single one; the outcome of all is open.
    const error = { name: first.Code ?? "InternalError", message: "", $metadata: {} };
    throw s3Error(error, { ...operation, doing, key });
  }

  async #checkAgainstSize(
    key: string,
    range: ByteRange,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array> {
    const found = await this.head(key, signal);
    if (found === undefined) throw objectNotFound(key);
    checkRange(key, found.size, range);
    return new Uint8Array(0);
  }

  /** @throws StreamHouseError `CLOSED`, `ABORTED`, `INVALID_ARGUMENT` */
  #begin(doing: string, key: string | undefined, signal: AbortSignal | undefined): S3Operation {
    if (this.#closed) throw closed(`s3 store of bucket ${this.#bucket}`);
    checkSignal(signal, `${doing} in bucket ${this.#bucket}`);
    if (key !== undefined) checkKey(key);
    const writes = doing === "put" || doing === "delete";
    return { doing, key, bucket: this.#bucket, writes };
  }
}

function resolve(options: S3StoreOptions): S3RequestOptions {
  const endpoint = checkEndpoint(options.endpoint);
  const { requestTimeoutMs = 5_000, connectionsMax = 64 } = options;
  return {
    bucket: checkBucket(options.bucket),
    prefix: checkPrefix(options.prefix ?? ""),
    endpoint,
    region: options.region,
    pathStyle: options.pathStyle ?? endpoint !== undefined,
    credentials: options.credentials,
    requestTimeoutMs: whole("requestTimeoutMs", requestTimeoutMs, 1, 3_600_000),
    connectionsMax: whole("connectionsMax", connectionsMax, 1, 10_000),
    signBodies: options.signBodies ?? endpoint?.startsWith("http:") === true,
  };
}

function whole(field: string, value: number, min: number, max: number): number {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
  const message = `${field} is ${value}: expected a whole number from ${min} to ${max}`;
  throw invalid("INVALID_ARGUMENT", message, { field });
}

/** Its last byte is included: https://www.rfc-editor.org/rfc/rfc9110#section-14.1.2 */
function rangeHeader({ start, length }: ByteRange): string {
  return `bytes=${start}-${start + length - 1}`;
}

/** The range begins behind the object's end: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.17 */
function isUnsatisfiable(error: unknown): boolean {
  const cause = (error as { readonly cause?: { readonly $metadata?: unknown } }).cause;
  return (cause?.$metadata as { httpStatusCode?: number } | undefined)?.httpStatusCode === 416;
}

/** A listing has fractions of a second on some services, an object's header never. */
function wholeSeconds(date: Date | undefined): number {
  return Math.floor((date?.getTime() ?? 0) / 1_000) * 1_000;
}
