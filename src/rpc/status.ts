/**
 * The one room that turns `StreamHouseError` into a gRPC status and back. The rule is the table in
 * `proto/streamhouse/v1/error.proto`. It knows no gRPC library: the server adapter and the gRPC connection hand it numbers,
 * texts and the bytes of the `grpc-status-details-bin` trailer.
 */
import {
  type ErrorCode,
  type ErrorKind,
  type ErrorOutcome,
  StreamHouseError,
} from "../core/errors.ts";
import { type ConnectionSecurity, connectAdvice } from "./connect-failure.ts";
import { ErrorDetail, PackedDetail, RpcStatus } from "./gen/streamhouse/v1/error.ts";

/** gRPC's status codes (https://grpc.io/docs/guides/status-codes/). */
export const grpcStatus = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type GrpcStatusName = keyof typeof grpcStatus;

const statusNames = Object.keys(grpcStatus) as GrpcStatusName[];

/** The name of a status code: the `status` label of `streamhouse.grpc.requests`. Codes that gRPC does not know are `UNKNOWN`. */
export function grpcStatusName(code: number): GrpcStatusName {
  return statusNames[code] ?? "UNKNOWN";
}

/** Trailer that carries an `RpcStatus`; a gRPC convention, so stock tools decode it. */
export const STATUS_DETAILS_KEY = "grpc-status-details-bin";

const ERROR_DETAIL_TYPE = "type.googleapis.com/streamhouse.v1.ErrorDetail";

/**
 * Longest error text on the wire, in UTF-16 units. Trailers are HTTP/2 headers: peers refuse header lists above 8 KiB or so,
 * and the caller would then see a broken call instead of the reason.
 */
const MESSAGE_CHARACTERS_MAX = 600;

const statusOfCode: Readonly<Record<ErrorCode, GrpcStatusName>> = {
  INVALID_ARGUMENT: "INVALID_ARGUMENT",
  INVALID_TOPIC_NAME: "INVALID_ARGUMENT",
  TOPIC_NOT_FOUND: "NOT_FOUND",
  TOPIC_EXISTS: "ALREADY_EXISTS",
  PARTITION_OUT_OF_RANGE: "INVALID_ARGUMENT",
  RECORD_TOO_LARGE: "INVALID_ARGUMENT",
  REQUEST_TOO_LARGE: "INVALID_ARGUMENT",
  BATCH_TOO_LARGE: "INVALID_ARGUMENT",
  CORRUPT_BATCH: "INVALID_ARGUMENT",
  UNSUPPORTED_MAGIC: "INVALID_ARGUMENT",
  UNSUPPORTED_COMPRESSION: "INVALID_ARGUMENT",
  UNSUPPORTED_ATTRIBUTES: "INVALID_ARGUMENT",
  TIMESTAMP_OUT_OF_BOUNDS: "INVALID_ARGUMENT",
  OFFSET_OUT_OF_RANGE: "OUT_OF_RANGE",
  SEQUENCE_GAP: "FAILED_PRECONDITION",
  PRODUCER_FENCED: "ABORTED",
  UNKNOWN_PRODUCER: "FAILED_PRECONDITION",
  NOT_LEASE_HOLDER: "FAILED_PRECONDITION",
  LEASE_LOST: "ABORTED",
  GROUP_FENCED: "ABORTED",
  UNKNOWN_MEMBER: "ABORTED",
  GROUP_BUSY: "FAILED_PRECONDITION",
  GROUP_NOT_FOUND: "NOT_FOUND",
  INSTANCE_ID_IN_USE: "FAILED_PRECONDITION",
  OVERLOADED: "RESOURCE_EXHAUSTED",
  AGENT_UNREACHABLE: "UNAVAILABLE",
  AGENT_DRAINING: "UNAVAILABLE",
  STORE_UNAVAILABLE: "UNAVAILABLE",
  STORE_FULL: "RESOURCE_EXHAUSTED",
  OBJECT_NOT_FOUND: "INTERNAL",
  OBJECT_EXISTS: "INTERNAL",
  CORRUPT_SEGMENT: "DATA_LOSS",
  METADATA_UNAVAILABLE: "UNAVAILABLE",
  METADATA_TOO_NEW: "FAILED_PRECONDITION",
  DATA_FOLDER_IN_USE: "FAILED_PRECONDITION",
  DATA_FOLDER_UNUSABLE: "FAILED_PRECONDITION",
  ADDRESS_IN_USE: "FAILED_PRECONDITION",
  DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
  ABORTED: "CANCELLED",
  CLOSED: "UNAVAILABLE",
  UNAUTHENTICATED: "UNAUTHENTICATED",
  PERMISSION_DENIED: "PERMISSION_DENIED",
  NOT_SUPPORTED: "UNIMPLEMENTED",
  SCHEMA_MISMATCH: "INVALID_ARGUMENT",
  INTERNAL: "INTERNAL",
};

const kinds: ReadonlySet<string> = new Set<ErrorKind>([
  "invalid",
  "unavailable",
  "fenced",
  "conflict",
  "corrupt",
  "closed",
  "internal",
]);

/** The gRPC status code of an error. */
export function grpcStatusOf(error: StreamHouseError): number {
  // The same code for bytes that a client sent (its fault) and bytes that were stored (ours): the kind tells them apart.
  if (error.kind === "corrupt") return grpcStatus.DATA_LOSS;
  // An error of another copy of this package may have a code that this one does not know.
  return grpcStatus[statusOfCode[error.code] ?? "INTERNAL"];
}

/** An error as it travels: in `BatchResult.error`, in a stream's answer, in the status details. */
export function toErrorDetail(error: StreamHouseError): ErrorDetail {
  return {
    code: error.code,
    message: wireText(error.message),
    kind: error.kind,
    retriable: error.retriable,
    outcomeUnknown: error.outcome === "unknown",
    retryAfterMs: Math.min(Math.max(0, Math.ceil(error.retryAfterMs ?? 0)), 0xffff_ffff),
    field: wireText(error.field ?? ""),
    holderAddress: error.holderAddress ?? "",
  };
}

/**
 * The error that an agent sent. A code that this version does not know becomes `INTERNAL` (codes are label values, so what a
 * peer sends must not invent new ones), with kind, outcome and text kept.
 */
export function fromErrorDetail(detail: ErrorDetail): StreamHouseError {
  const known = Object.hasOwn(statusOfCode, detail.code);
  return new StreamHouseError({
    code: known ? (detail.code as ErrorCode) : "INTERNAL",
    kind: kinds.has(detail.kind) ? (detail.kind as ErrorKind) : "internal",
    message: known ? detail.message : `${detail.message} (${detail.code.slice(0, 60)})`,
    retriable: detail.retriable,
    outcome: detail.outcomeUnknown ? "unknown" : "none",
    retryAfterMs: detail.retryAfterMs > 0 ? detail.retryAfterMs : undefined,
    field: detail.field === "" ? undefined : detail.field,
    holderAddress: detail.holderAddress === "" ? undefined : detail.holderAddress,
  });
}

/** A failed call as the server sends it: status code, text, and the value of the `STATUS_DETAILS_KEY` trailer. */
export interface WireStatus {
  readonly code: number;
  readonly message: string;
  readonly details: Uint8Array;
}

/** What a server answers a call with that failed with `error`. */
export function toWireStatus(error: StreamHouseError): WireStatus {
  const code = grpcStatusOf(error);
  const detail = toErrorDetail(error);
  const value = ErrorDetail.encode(detail).finish();
  const details = [PackedDetail.fromPartial({ typeUrl: ERROR_DETAIL_TYPE, value })];
  return {
    code,
    message: detail.message,
    details: RpcStatus.encode({ code, message: detail.message, details }).finish(),
  };
}

/** A failed call as the client library reports it. */
export interface ReceivedStatus {
  readonly code: number;
  /** The library's or the server's text. */
  readonly text: string;
  /** Value of the `STATUS_DETAILS_KEY` trailer, when there is one. */
  readonly details?: Uint8Array | undefined;
  /** Method for the message, `Service/Method`. */
  readonly method: string;
  /** Whom we called, `host:port`. */
  readonly address: string;
  /** How the connection is protected. Default `plain`. */
  readonly security?: ConnectionSecurity | undefined;
}

/** The error of a failed call: from the agent's own details, or else from the bare status of the gRPC layers between. */
export function fromWireStatus(received: ReceivedStatus): StreamHouseError {
  const detail = received.details === undefined ? undefined : findDetail(received.details);
  return detail === undefined ? fromBareStatus(received) : fromErrorDetail(detail);
}

function findDetail(bytes: Uint8Array): ErrorDetail | undefined {
  try {
    const any = RpcStatus.decode(bytes).details.find((it) => it.typeUrl === ERROR_DETAIL_TYPE);
    return any === undefined ? undefined : ErrorDetail.decode(any.value);
  } catch {
    // Damaged or foreign details: the bare status still says enough.
    return undefined;
  }
}

interface Verdict {
  readonly code: ErrorCode;
  readonly kind: ErrorKind;
  readonly outcome: ErrorOutcome;
  readonly advice: string;
}

function fromBareStatus(received: ReceivedStatus): StreamHouseError {
  const { code, kind, outcome, advice } = judge(received);
  const name = grpcStatusName(received.code);
  // Texts of TLS libraries have line ends in them, and grpc-js adds a note that is empty.
  const text = received.text.replace(/\s+/g, " ").replace(/\.? Resolution note: $/, "");
  return new StreamHouseError({
    code,
    kind,
    outcome,
    message: `${received.method} at agent ${received.address} failed with ${name}: ${text}${advice}`,
  });
}

function judge({ code: status, text, security = "plain" }: ReceivedStatus): Verdict {
  const outcome: ErrorOutcome = neverLeft(text) ? "none" : "unknown";
  const unreachable: Verdict = {
    code: "AGENT_UNREACHABLE",
    kind: "unavailable",
    outcome,
    advice: `; ${connectAdvice(text, security)}`,
  };
  if (brokeOff(text)) return unreachable;
  switch (status) {
    case grpcStatus.UNAVAILABLE:
      return unreachable;
    case grpcStatus.DEADLINE_EXCEEDED:
      // No connection within the deadline: the agent is out of reach, however the clock put it.
      if (outcome === "none") {
        return {
          code: "AGENT_UNREACHABLE",
          kind: "unavailable",
          outcome,
          advice: "; no connection was made in that time: check the address and the network",
        };
      }
      return { code: "DEADLINE_EXCEEDED", kind: "unavailable", outcome, advice: "" };
    case grpcStatus.CANCELLED:
      return { code: "ABORTED", kind: "closed", outcome, advice: "" };
    case grpcStatus.UNIMPLEMENTED:
      return {
        code: "NOT_SUPPORTED",
        kind: "invalid",
        outcome: "none",
        advice: "; is it a StreamHouse agent, and is it as new as this client?",
      };
    case grpcStatus.RESOURCE_EXHAUSTED:
      if (!/larger than/.test(text)) {
        return { code: "OVERLOADED", kind: "unavailable", outcome, advice: "; try again later" };
      }
      // "Received message larger" is worded alike for our request (refused unread) and for an answer that this end refuses.
      return {
        code: "REQUEST_TOO_LARGE",
        kind: "invalid",
        outcome,
        advice: "; send or ask for less in one request",
      };
    case grpcStatus.UNAUTHENTICATED:
      return {
        code: "UNAUTHENTICATED",
        kind: "invalid",
        outcome: "none",
        advice: "; give a key that is known and in force as apiKey",
      };
    case grpcStatus.PERMISSION_DENIED:
      return {
        code: "PERMISSION_DENIED",
        kind: "invalid",
        outcome: "none",
        advice: "; use a key with the right to do that",
      };
    case grpcStatus.INVALID_ARGUMENT:
      return { code: "INVALID_ARGUMENT", kind: "invalid", outcome: "none", advice: "" };
    default:
      return { code: "INTERNAL", kind: "internal", outcome, advice: "" };
  }
}

/**
 * True if the text of @grpc/grpc-js 1.14 says that the call certainly never reached the agent's handlers. Anything else may have
 * arrived. (test/unit/rpc/status.test.ts provokes the real ones, so a release that words them differently is noticed.)
 */
function neverLeft(text: string): boolean {
  return (
    text.startsWith("No connection established") ||
    text.startsWith("Name resolution failed") ||
    text.startsWith("Stream refused by server") ||
    text.startsWith("Failed to start HTTP/2 stream") ||
    text.startsWith("Attempted to send message with a size larger than") ||
    text.startsWith("Channel has been shut down") ||
    text.includes("Waiting for LB pick") ||
    text.includes("waiting for name resolution") ||
    text.includes("waiting for metadata filters")
  );
}

/**
 * True if the stream ended without any status: its connection broke, or something between reset it. Node reports that as
 * UNAVAILABLE, Bun and Deno as INTERNAL or CANCELLED ("Cancelled on client" is our own doing, and another text).
 */
function brokeOff(text: string): boolean {
  return text.startsWith("Received RST_STREAM") || text === "Call cancelled";
}

/** Trailers are percent-encoded from well-formed UTF-16, and short. */
function wireText(text: string): string {
  const short =
    text.length <= MESSAGE_CHARACTERS_MAX ? text : `${text.slice(0, MESSAGE_CHARACTERS_MAX - 1)}…`;
  return short.toWellFormed();
}
