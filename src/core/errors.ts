/**
 * The one error class of the project. Callers decide by `kind`, `retriable` and `outcome`, never by the text.
 * `rpc/status.ts` is the only room that turns it into a gRPC status and back.
 */

/**
 * What the caller can do about it:
 * `invalid` mend the input · `unavailable` wait and try again · `fenced` somebody newer took over ·
 * `conflict` look at what is there · `corrupt` stored or sent bytes are damaged · `closed` the component was
 * closed · `internal` a defect of ours.
 */
export type ErrorKind =
  | "invalid"
  | "unavailable"
  | "fenced"
  | "conflict"
  | "corrupt"
  | "closed"
  | "internal";

/** Whether what was asked for took effect: `none` = certainly not, `unknown` = it may have. */
export type ErrorOutcome = "none" | "unknown";

/** Every `code` there is. They are stable: scripts and `error.type` label values rely on them. */
export type ErrorCode =
  | "INVALID_ARGUMENT"
  | "INVALID_TOPIC_NAME"
  | "TOPIC_NOT_FOUND"
  | "TOPIC_EXISTS"
  | "PARTITION_OUT_OF_RANGE"
  | "RECORD_TOO_LARGE"
  | "REQUEST_TOO_LARGE"
  | "BATCH_TOO_LARGE"
  | "CORRUPT_BATCH"
  | "UNSUPPORTED_MAGIC"
  | "UNSUPPORTED_COMPRESSION"
  | "UNSUPPORTED_ATTRIBUTES"
  | "TIMESTAMP_OUT_OF_BOUNDS"
  | "OFFSET_OUT_OF_RANGE"
  | "SEQUENCE_GAP"
  | "PRODUCER_FENCED"
  | "UNKNOWN_PRODUCER"
  | "NOT_LEASE_HOLDER"
  | "LEASE_LOST"
  | "GROUP_FENCED"
  | "UNKNOWN_MEMBER"
  | "GROUP_BUSY"
  | "GROUP_NOT_FOUND"
  | "INSTANCE_ID_IN_USE"
  | "OVERLOADED"
  | "AGENT_UNREACHABLE"
  | "AGENT_DRAINING"
  | "STORE_UNAVAILABLE"
  | "STORE_FULL"
  | "OBJECT_NOT_FOUND"
  | "OBJECT_EXISTS"
  | "CORRUPT_SEGMENT"
  | "METADATA_UNAVAILABLE"
  | "METADATA_TOO_NEW"
  | "DATA_FOLDER_IN_USE"
  | "DATA_FOLDER_UNUSABLE"
  | "ADDRESS_IN_USE"
  | "DEADLINE_EXCEEDED"
  | "ABORTED"
  | "CLOSED"
  | "UNAUTHENTICATED"
  | "PERMISSION_DENIED"
  | "NOT_SUPPORTED"
  | "SCHEMA_MISMATCH"
  | "INTERNAL";

/** Records of one partition, both ends included. */
export interface OffsetRange {
  readonly topic: string;
  readonly partition: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
}

export interface StreamHouseErrorInit {
  readonly code: ErrorCode;
  readonly kind: ErrorKind;
  readonly message: string;
  /** Sending the same again can succeed. Default: true for `unavailable`, false otherwise. */
  readonly retriable?: boolean | undefined;
  /** Default `none`. */
  readonly outcome?: ErrorOutcome | undefined;
  /** Wait at least this long before the next try. */
  readonly retryAfterMs?: number | undefined;
  /** Path of the input field at fault, for instance `batches[1].records`. */
  readonly field?: string | undefined;
  /** With `NOT_LEASE_HOLDER`: where the holder listens, `host:port`. */
  readonly holderAddress?: string | undefined;
  /** From a consumer: the records that cannot be read. It can go on at `lastOffset + 1`. */
  readonly range?: OffsetRange | undefined;
  readonly cause?: unknown;
}

const BRAND = Symbol.for("@streamhouse/streamhouse/error");

/** Thrown and rejected with by everything in this package. */
export class StreamHouseError extends Error {
  override readonly name = "StreamHouseError";
  /** What happened, by a stable name: see docs/errors.md. */
  readonly code: ErrorCode;
  /** What the caller can do about it. */
  readonly kind: ErrorKind;
  /** The same call can succeed later. */
  readonly retriable: boolean;
  /** `none`: certainly not applied. `unknown`: it may have been. */
  readonly outcome: ErrorOutcome;
  /** The agent asks for at least this pause, ms. */
  readonly retryAfterMs: number | undefined;
  /** The option, argument or request field that is at fault. */
  readonly field: string | undefined;
  /** Who holds the partition's lease, `host:port`, where the agent knew. */
  readonly holderAddress: string | undefined;
  /** From a consumer: the records that cannot be read. `seek` to `lastOffset + 1` to go on behind them. */
  readonly range: OffsetRange | undefined;

  constructor(init: StreamHouseErrorInit) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause });
    this.code = init.code;
    this.kind = init.kind;
    this.retriable = init.retriable ?? init.kind === "unavailable";
    this.outcome = init.outcome ?? "none";
    this.retryAfterMs = init.retryAfterMs;
    this.field = init.field;
    this.holderAddress = init.holderAddress;
    this.range = init.range;
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** True for an error of any copy of this package in the process (`instanceof` knows only its own copy). */
  static is(value: unknown): value is StreamHouseError {
    return typeof value === "object" && value !== null && BRAND in value;
  }
}

/** Short for `new StreamHouseError`: `invalid("INVALID_TOPIC_NAME", "…", { field: "name" })`. */
export function invalid(
  code: ErrorCode,
  message: string,
  more: Partial<StreamHouseErrorInit> = {},
): StreamHouseError {
  return new StreamHouseError({ ...more, code, message, kind: "invalid" });
}

/** A component was used after its `close()`, `stop()` or disposal. */
export function closed(what: string): StreamHouseError {
  return new StreamHouseError({
    code: "CLOSED",
    kind: "closed",
    message: `${what} is closed: make a new one`,
  });
}

/** Makes anything thrown into a `StreamHouseError`, keeping one that already is. */
export function asStreamHouseError(error: unknown, doing: string): StreamHouseError {
  if (StreamHouseError.is(error)) return error;
  const text = error instanceof Error ? error.message : String(error);
  if (error instanceof Error && error.name === "AbortError") {
    return new StreamHouseError({
      code: "ABORTED",
      kind: "closed",
      message: `${doing} was aborted`,
      outcome: "unknown",
      cause: error,
    });
  }
  return new StreamHouseError({
    code: "INTERNAL",
    kind: "internal",
    message: `${doing} failed: ${text}`,
    outcome: "unknown",
    cause: error,
  });
}
