/**
 * Spans of gRPC calls, at both ends. `ProducerService.produce` has the seed's name; every other one is named after its method, as
 * the conventions want it (https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/). In the same process the calls are not made by
 * gRPC, but the tree is the same. Called by the agent's services and by `client/call-tracer.ts`. No function throws.
 */
import {
  type Attributes,
  context as activeContext,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { StreamHouseError } from "../core/errors.ts";
import { contextOfCall, type TraceFields } from "./propagation.ts";
import * as semconv from "./semconv.ts";
import { messageOf, start } from "./spans.ts";
import type { Telemetry } from "./telemetry.ts";

/** SERVER `ProducerService.produce`: one Produce call or one frame of a ProduceStream, continuing the caller's trace. */
export function startProduceServerSpan(
  telemetry: Telemetry,
  call: TraceFields,
  init: { readonly recordCount: number; readonly batches: number; readonly bytes: number },
): Span | undefined {
  const attributes = {
    ...rpc("streamhouse.v1.ProducerService/Produce"),
    record_count: init.recordCount,
    batch_count: init.batches,
    bytes: init.bytes,
  };
  return startServer(telemetry, "ProducerService.produce", call, attributes);
}

/** SERVER span of any other call. `method` is `package.Service/Method`. */
export function startServerSpan(
  telemetry: Telemetry,
  method: string,
  call: TraceFields,
  attributes: Attributes = {},
): Span | undefined {
  return startServer(telemetry, method, call, { ...rpc(method), ...attributes });
}

/**
 * CLIENT span of one unary call, only under an active span that is recorded: what runs in the background (heartbeats, waiting
 * fetches) would fill a backend with spans that say nothing.
 */
export function startCallSpan(
  telemetry: Telemetry,
  method: string,
  agent: string,
): Span | undefined {
  const parent = activeContext.active();
  if (!telemetry.enabled || !trace.getSpan(parent)?.isRecording()) return undefined;
  const attributes = { ...rpc(method), ...semconv.serverAttributes(agent) };
  return start(telemetry, method, { kind: SpanKind.CLIENT, attributes }, parent);
}

/**
 * Statuses that a server's span calls an error; the others are the caller's own doing.
 * https://opentelemetry.io/docs/specs/semconv/rpc/grpc/#grpc-status
 */
const SERVER_ERRORS: ReadonlySet<string> = new Set([
  "UNKNOWN",
  "DEADLINE_EXCEEDED",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
]);

/** Ends the span of a call. `status` is the gRPC code's name; our own code stands beside it. */
export function endCall(
  span: Span | undefined,
  end: "client" | "server",
  status: string,
  error?: unknown,
): void {
  if (span === undefined) return;
  try {
    span.setAttribute(semconv.RPC_RESPONSE_STATUS_CODE, status);
    if (StreamHouseError.is(error)) {
      span.setAttribute(semconv.STREAMHOUSE_ERROR_CODE, error.code);
    }
    const isError = end === "client" ? status !== "OK" : SERVER_ERRORS.has(status);
    if (isError) {
      span.setAttribute(semconv.ERROR_TYPE, status);
      span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error) });
    }
    span.end();
  } catch {
    // A span processor of the application threw: the call is done all the same.
  }
}

function startServer(
  telemetry: Telemetry,
  name: string,
  call: TraceFields,
  attributes: Attributes,
): Span | undefined {
  if (!telemetry.enabled) return undefined;
  return start(telemetry, name, { kind: SpanKind.SERVER, attributes }, contextOfCall(call));
}

function rpc(method: string): Attributes {
  return { [semconv.RPC_SYSTEM_NAME]: "grpc", [semconv.RPC_METHOD]: method };
}
