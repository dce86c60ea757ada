/** What is the same for unary calls and streams over gRPC. Used by `grpc-connection.ts` and `grpc-produce-channel.ts`. */
import type { ServiceError } from "@grpc/grpc-js";
import { StreamHouseError } from "../core/errors.ts";
import { fromWireStatus, STATUS_DETAILS_KEY } from "../rpc/status.ts";

/** The error of a call that failed in the gRPC library or at the agent. */
export function errorOfCall(
  error: ServiceError,
  method: string,
  address: string,
): StreamHouseError {
  const [details] = error.metadata?.get(STATUS_DETAILS_KEY) ?? [];
  return fromWireStatus({
    code: error.code,
    text: error.details,
    details: typeof details === "string" ? undefined : details,
    method,
    address,
  });
}

/** The same bytes as the library's type; no copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A call or frame was given up by its caller. */
export function aborted(
  method: string,
  outcome: "none" | "unknown",
  cause: unknown,
): StreamHouseError {
  const message = `${method} was aborted by its caller`;
  return new StreamHouseError({ code: "ABORTED", kind: "closed", outcome, message, cause });
}
