/**
 * One request to S3 at a time, through the AWS SDK: with a time limit over its whole answer, ended at once by the caller's signal, its
 * failure as a `StreamHouseError`. It never retries: `retrying.ts` does, outside of what measures, so that each request is seen and one
 * deadline holds; the SDK's own retries (three by default, with its own pauses) are off. Called by `s3.ts` and `s3-multipart.ts`.
 */
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import type { Clock, Timer } from "../core/clock.ts";
import { closed, StreamHouseError } from "../core/errors.ts";
import { type S3Operation, s3Error } from "./s3-errors.ts";
import type { S3Location } from "./s3-url.ts";
import { abortedError } from "./store-errors.ts";

/** Keys for signing. Without them the SDK's chain is asked: environment, profile, SSO, web identity, container and machine roles. */
export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export interface S3RequestOptions extends S3Location {
  readonly credentials: S3Credentials | (() => Promise<S3Credentials>) | undefined;
  readonly requestTimeoutMs: number;
  readonly connectionsMax: number;
  readonly signBodies: boolean;
}

/** A request may take this much longer for each byte that it moves: no less than 8 MiB a second is expected. */
const MS_PER_BYTE = 1_000 / 8_388_608;

/** What a request is given while it runs. */
export interface S3Attempt {
  readonly signal: AbortSignal;
  /** So many bytes come: the time limit begins anew, with the time that they need. */
  expect(bytes: number): void;
}

export class S3Requests {
  readonly client: S3Client;
  readonly bucket: string;
  /** Bodies are hashed into the signature. */
  readonly signBodies: boolean;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #closing = new AbortController();

  constructor(clock: Clock, options: S3RequestOptions) {
    this.#clock = clock;
    this.bucket = options.bucket;
    this.signBodies = options.signBodies;
    this.#timeoutMs = options.requestTimeoutMs;
    this.client = new S3Client(clientConfig(options));
  }

  /**
   * Runs one request. `bytes`: how many it sends. @throws StreamHouseError as `s3Error`; `ABORTED` as soon as the signal aborts, even
   * if the SDK (waiting for credentials, say) does not listen
   */
  async run<T>(
    operation: S3Operation,
    work: (attempt: S3Attempt) => Promise<T>,
    signal: AbortSignal | undefined,
    bytes = 0,
  ): Promise<T> {
    const ended = new AbortController();
    const { promise: given, reject } = Promise.withResolvers<never>();
    given.catch(() => {});
    let timer: Timer | undefined;
    const end = (error: StreamHouseError) => {
      reject(error);
      ended.abort(error);
    };
    const arm = (more: number) => {
      timer?.cancel();
      const limit = this.#timeoutMs + more * MS_PER_BYTE;
      timer = this.#clock.schedule(limit, () => end(timedOut(operation, limit)), {
        background: true,
      });
    };
    const onAbort = () => end(abortedError(signal, operation));
    const onClose = () => end(closed(`s3 store of bucket ${this.bucket}`));
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#closing.signal.addEventListener("abort", onClose, { once: true });
    arm(bytes);
    try {
      const answer = work({ signal: ended.signal, expect: arm });
      answer.catch(() => {});
      return await Promise.race([answer, given]);
    } catch (error) {
      // What is still under way (the other half of the race, an answer that is not read on) ends here.
      ended.abort();
      throw s3Error(error, operation);
    } finally {
      timer?.cancel();
      signal?.removeEventListener("abort", onAbort);
      this.#closing.signal.removeEventListener("abort", onClose);
    }
  }

  /** Ends what is under way. Idempotent. */
  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.client.destroy();
  }
}

function timedOut({ doing, key, bucket, writes }: S3Operation, limitMs: number): StreamHouseError {
  return new StreamHouseError({
    code: "STORE_UNAVAILABLE",
    kind: "unavailable",
    outcome: writes ? "unknown" : "none",
    message: `${doing}${key === undefined ? "" : ` of ${key}`} in bucket ${bucket} was not answered within ${Math.round(limitMs)} ms: look at the service and the network`,
  });
}

function clientConfig(options: S3RequestOptions): S3ClientConfig {
  const { connectionsMax: maxSockets, credentials, endpoint, pathStyle, region } = options;
  return {
    forcePathStyle: pathStyle,
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials: credentialsOf(credentials) }),
    maxAttempts: 1,
    // Bodies carry our own CRC-32C, which is computed natively; what is read is checked batch by batch where it is used.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    // Without one of our own the SDK warns on the console that a stream cannot be sent again (middleware-retry of 3.1173).
    logger: silent,
    // The SDK asks before it sends 2 MiB and more, on a new connection each time: a round trip and a handshake for every flush.
    expectContinueHeader: false,
    requestHandler: {
      httpAgent: { keepAlive: true, maxSockets },
      httpsAgent: { keepAlive: true, maxSockets },
      logger: silent,
    },
  };
}

function credentialsOf(
  credentials: S3Credentials | (() => Promise<S3Credentials>),
): NonNullable<S3ClientConfig["credentials"]> {
  const identity = ({ accessKeyId, secretAccessKey, sessionToken }: S3Credentials) => ({
    accessKeyId,
    secretAccessKey,
    ...(sessionToken === undefined ? {} : { sessionToken }),
  });
  if (typeof credentials !== "function") return identity(credentials);
  return async () => identity(await credentials());
}

const silent = {
  trace(): void {},
  debug(): void {},
  info(): void {},
  warn(): void {},
  error(): void {},
};
