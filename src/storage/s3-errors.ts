/**
 * What an error of the AWS SDK means to the callers of a store: whether the operation may have been applied, whether another attempt can
 * help, and what an operator has to do. Never repeats credentials, signatures or headers. Called by the rooms of the S3 store.
 *
 * Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 */
import { type ErrorOutcome, StreamHouseError } from "../core/errors.ts";
import { objectExists, objectNotFound } from "./store-errors.ts";

/** What was being done. */
export interface S3Operation {
  /** `put`, `get`, `head`, `list`, `delete`. */
  readonly doing: string;
  /** As the store's callers know it, without the store's prefix. */
  readonly key?: string | undefined;
  readonly bucket: string;
  /** It changes something: where the answer is lost, it may have been applied. */
  readonly writes: boolean;
}

/** What this room reads of an error of the SDK's (`ServiceException`), of node's, or of anything thrown. */
interface Thrown {
  readonly code: string;
  readonly message: string;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;
}

/** Nothing was sent: there was no connection. */
const UNCONNECTED: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ConnectionRefused",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
]);

/** Nothing was sent: the TLS handshake came to nothing (https://nodejs.org/api/tls.html#x509-certificate-error-codes). */
const UNTRUSTED =
  /^(ERR_TLS_CERT_ALTNAME_INVALID|CERT_[A-Z_]+|[A-Z_]*SELF_SIGNED_CERT[A-Z_]*|UNABLE_TO_[A-Z_]+)$/;

/** The service refused the request before it did anything, and will take it another time. */
const NOT_NOW: ReadonlySet<string> = new Set([
  "SlowDown",
  "ServiceUnavailable",
  "RequestTimeout",
  "RequestTimeTooSkewed",
  "TooManyRequests",
  "Throttling",
  "ThrottlingException",
  "BandwidthLimitExceeded",
  // The body was damaged on its way.
  "BadDigest",
  "XAmzContentSHA256Mismatch",
  "XAmzContentChecksumMismatch",
  "IncompleteBody",
]);

const FULL: ReadonlySet<string> = new Set([
  "QuotaExceeded",
  "InsufficientCapacity",
  "XMinioStorageFull",
]);

/** What an operator has to do about it, by code. */
const CURES: Readonly<Record<string, string>> = {
  NoSuchBucket: "create the bucket, or check its name, the endpoint and the region",
  AccessDenied:
    "the credentials may not do this: allow s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload on the objects and s3:ListBucket on the bucket",
  AllAccessDisabled: "access to the bucket is switched off: ask its owner",
  AccountProblem: "there is a problem with the account: ask the service",
  InvalidAccessKeyId: "the service does not know the access key: check which credentials are used",
  SignatureDoesNotMatch: "the secret key does not belong to the access key: check the credentials",
  InvalidToken: "the session token is not valid: renew the credentials",
  PermanentRedirect: "the bucket is in another region or at another endpoint: name the right one",
  AuthorizationHeaderMalformed: "the bucket is in another region: name it with region=",
  IllegalLocationConstraintException: "the bucket is in another region: name it with region=",
  NotImplemented: "the service cannot do this: it must offer conditional writes (If-None-Match)",
};

/** Keeps a `StreamHouseError` as it is. */
export function s3Error(error: unknown, operation: S3Operation): StreamHouseError {
  if (StreamHouseError.is(error)) return error;
  const thrown = read(error);
  const { doing, key, bucket } = operation;
  const object = key === undefined ? "" : ` of ${key}`;
  const what = `${doing}${object} in bucket ${bucket} failed (${describe(thrown)})`;
  return conflictOf(thrown, key, error) ?? unavailable(thrown, what, operation, error);
}

/** The two answers that are about the object and not about the store. */
function conflictOf(
  { code, status }: Thrown,
  key: string | undefined,
  cause: unknown,
): StreamHouseError | undefined {
  if (key === undefined) return undefined;
  if (status === 412 || code === "PreconditionFailed") return objectExists(key);
  const missing = code === "NoSuchKey" || code === "NotFound";
  return missing ? objectNotFound(key, cause) : undefined;
}

function unavailable(
  thrown: Thrown,
  what: string,
  { writes }: S3Operation,
  cause: unknown,
): StreamHouseError {
  const { code, status, retryAfterMs } = thrown;
  const make = (cure: string, retriable: boolean, outcome: ErrorOutcome = "none") =>
    new StreamHouseError({
      code: FULL.has(code) || status === 507 ? "STORE_FULL" : "STORE_UNAVAILABLE",
      kind: "unavailable",
      ...{ message: `${what}: ${cure}`, retriable, outcome, retryAfterMs, cause },
    });
  // Redirects and refusals of HEAD have no body, and so no code.
  const cure = CURES[code] ?? (status === 301 ? CURES.PermanentRedirect : undefined);
  if (cure !== undefined) return make(cure, false);
  if (FULL.has(code) || status === 507) {
    return make("there is no room: raise the quota, or shorten the topics' retention", true);
  }
  if (code === "CredentialsProviderError") {
    return make(
      "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE), or give the machine a role",
      true,
    );
  }
  if (code === "ExpiredToken" || code === "ExpiredTokenException") {
    return make("the credentials have expired: renew them", true);
  }
  if (code === "RegionIsMissing") {
    return make("no region is set: name it with region= in the store's URL, or AWS_REGION", false);
  }
  if (code === "RequestTimeTooSkewed") return make("set this machine's clock", true);
  if (UNTRUSTED.test(code)) {
    return make(
      "the service's certificate is not accepted: name its authority's file in NODE_EXTRA_CA_CERTS, and use an endpoint that the certificate holds",
      true,
    );
  }
  if (UNCONNECTED.has(code)) return make("is the endpoint right, and does it run?", true);
  if (NOT_NOW.has(code) || status === 429) return make("the service is busy: try again", true);
  // A conditional write met another one under way: nothing of this one is there.
  if (status === 409) return make("another write of the key is under way: try again", true);
  const refused = status !== undefined && status >= 400 && status < 500;
  if (refused) return make(status === 403 ? (CURES.AccessDenied ?? "") : "see its code", false);
  return make("look at the service and the network", true, writes ? "unknown" : "none");
}

function read(error: unknown): Thrown {
  const it = (typeof error === "object" && error !== null ? error : {}) as {
    readonly name?: unknown;
    readonly code?: unknown;
    readonly message?: unknown;
    readonly $metadata?: { readonly httpStatusCode?: unknown };
    readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
  };
  const status = it.$metadata?.httpStatusCode;
  const message = typeof it.message === "string" ? it.message : String(error);
  return {
    code: codeOf(it, message),
    message,
    status: typeof status === "number" ? status : undefined,
    retryAfterMs: retryAfter(it.$response?.headers?.["retry-after"]),
  };
}

/** The SDK puts the service's code into `name`; errors of connections have it in `code`, and several at once in `errors`. */
function codeOf(
  it: { readonly name?: unknown; readonly code?: unknown; readonly errors?: unknown },
  message: string,
): string {
  if (/\bRegion is missing\b/.test(message)) return "RegionIsMissing";
  if (typeof it.code === "string" && /^[A-Z0-9_]+$/.test(it.code)) return it.code;
  const first: unknown = Array.isArray(it.errors) ? it.errors[0] : undefined;
  if (typeof first === "object" && first !== null && "code" in first) return String(first.code);
  if (it.code === "ConnectionRefused") return it.code;
  const known = typeof it.name === "string" && it.name !== "Error" && it.name !== "UnknownError";
  return known ? String(it.name) : "";
}

/** The service's own text can quote the request with its signature: only its code and status are told. */
function describe({ code, status, message }: Thrown): string {
  if (status !== undefined) return `${code === "" ? "no code" : code}, HTTP ${status}`;
  return code === "" ? message.slice(0, 200) : code;
}

/** Seconds or a date (https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3); only seconds are in use here. */
function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined || !/^\d{1,4}$/.test(header)) return undefined;
  return Number(header) * 1_000;
}
