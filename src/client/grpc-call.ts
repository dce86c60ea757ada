/** What is the same for unary calls and streams over gRPC. Used by `grpc-connection.ts` and `grpc-produce-channel.ts`. */
import { Metadata, type ServiceError } from "@grpc/grpc-js";
import { StreamHouseError } from "../core/errors.ts";
import type { CallContext } from "../rpc/agent-api.ts";
import type { ConnectionSecurity } from "../rpc/connect-failure.ts";
import type { GatherWriter } from "../rpc/gather-writer.ts";
import { fromWireStatus, STATUS_DETAILS_KEY } from "../rpc/status.ts";

/** The error of a call that failed in the gRPC library or at the agent. */
export function errorOfCall(
  error: ServiceError,
  method: string,
  { address, security }: CalledAgent,
): StreamHouseError {
  const [details] = error.metadata?.get(STATUS_DETAILS_KEY) ?? [];
  return fromWireStatus({
    code: error.code,
    text: error.details,
    details: typeof details === "string" ? undefined : details,
    method,
    address,
    security,
  });
}

/** Whom a call was made to, for its errors. */
export interface CalledAgent {
  /** `host:port` */
  readonly address: string;
  readonly security: ConnectionSecurity;
}

/** What a call carries beside its request: whose it is, and the trace that it belongs to. */
export function callMetadata(call: CallContext, authorization: string | undefined): Metadata {
  const metadata = new Metadata();
  if (authorization !== undefined) metadata.set("authorization", authorization);
  if (call.traceparent !== undefined) {
    metadata.set("traceparent", call.traceparent);
    if (call.tracestate) metadata.set("tracestate", call.tracestate);
  }
  return metadata;
}

/** The same bytes as the library's type; no copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * A message that copies itself to where the library wants it: behind the five bytes of the gRPC frame. @grpc/grpc-js 1.14.7 asks a serialized
 * message for its `length` and calls `copy` once (`writeMessage` in compression-filter.js), so the copy in between, and its
 * megabyte of garbage for each message, can be saved.
 */
export function selfCopyingMessage(writer: GatherWriter): Buffer {
  const message = {
    length: writer.size(),
    copy: (target: Uint8Array, at: number) => writer.copyTo(target, at),
  };
  return message as unknown as Buffer;
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
