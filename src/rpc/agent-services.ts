/**
 * `AgentApi` as services of a nice-grpc server: requests and answers as bytes, errors as statuses with details, trace context from
 * metadata. It decides nothing of its own. Used by `agent/server.ts`.
 */
import { type CallContext as GrpcCallContext, type Metadata, ServerError } from "nice-grpc-common";
import { asStreamHouseError, invalid, type StreamHouseError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { AgentApi, CallContext } from "./agent-api.ts";
import type { CallAccess, ShownCall } from "./call-access.ts";
import type {
  ProduceRequest,
  ProduceResponse,
  ProduceStreamRequest,
} from "./gen/streamhouse/v1/producer.ts";
import {
  carriesBatches,
  decodeMessage,
  encodeMessage,
  type MessageType,
  services,
} from "./methods.ts";
import {
  agentDraining,
  failureOfAll,
  type ProduceStreamComponents,
  serveProduceStream,
} from "./produce-stream.ts";
import { STATUS_DETAILS_KEY, toWireStatus } from "./status.ts";

export interface AgentServicesComponents extends ProduceStreamComponents {
  readonly api: AgentApi;
  readonly logger: Logger;
  /** Where callers must show a key. Its `api` is the one that is served. */
  readonly access?: CallAccess | undefined;
}

/** A service in the shape that nice-grpc takes. */
export interface NiceService {
  readonly definition: NiceDefinition;
  readonly implementation: Readonly<Record<string, Handler>>;
}

type Handler = (request: never, context: GrpcCallContext) => unknown;

interface NiceDefinition {
  readonly name: string;
  readonly fullName: string;
  readonly methods: Readonly<Record<string, NiceMethod>>;
}

interface NiceMethod {
  readonly name: string;
  readonly requestType: NiceType;
  readonly requestStream: boolean;
  readonly responseType: NiceType;
  readonly responseStream: boolean;
  readonly options: Readonly<Record<string, never>>;
}

interface NiceType {
  encode(message: unknown): { finish(): Uint8Array };
  decode(bytes: Uint8Array): unknown;
}

/** The agent's four services. */
export function agentServices(components: AgentServicesComponents): readonly NiceService[] {
  const waiting = new WaitingFetches(components.draining);
  return services.map((service) => {
    const methods: Record<string, NiceMethod> = {};
    const implementation: Record<string, Handler> = {};
    for (const [key, method] of Object.entries(service.methods)) {
      methods[key] = {
        name: method.name,
        requestType: niceType(method.requestType, false),
        requestStream: method.requestStream,
        responseType: niceType(method.responseType, carriesBatches(key)),
        responseStream: method.responseStream,
        options: {},
      };
      implementation[key] = method.requestStream
        ? streamHandler(components, `${service.fullName}/${method.name}`)
        : unaryHandler(components, waiting, key as keyof AgentApi);
    }
    return {
      definition: { name: service.name, fullName: service.fullName, methods },
      implementation,
    };
  });
}

/** A request that is not the message it should be. Answered with a reason, where the library would say `INTERNAL`. */
class Undecodable {
  readonly reason: string;
  constructor(reason: string) {
    this.reason = reason;
  }
}

function niceType(type: unknown, heavy: boolean): NiceType {
  const message = type as MessageType<unknown>;
  return {
    encode: (value) => ({
      // nice-grpc copies a Uint8Array once more, and takes an ArrayBuffer as it is.
      finish: () => encodeMessage(message, value, heavy).buffer as unknown as Uint8Array,
    }),
    decode(bytes) {
      try {
        return decodeMessage(message, bytes);
      } catch (error) {
        return new Undecodable(error instanceof Error ? error.message : String(error));
      }
    },
  };
}

function unaryHandler(
  components: AgentServicesComponents,
  waiting: WaitingFetches,
  name: keyof AgentApi,
): Handler {
  type Method = (request: unknown, call: CallContext) => Promise<unknown>;
  const api = components.access?.api ?? components.api;
  const method = (api[name] as Method).bind(api);
  const call: Method =
    name === "produce"
      ? (request, context) => produceUnary(method as AgentApi["produce"], request, context)
      : name === "fetch"
        ? (request, context) => waiting.run(context, (it) => method(request, it))
        : method;
  return async (request: unknown, context: GrpcCallContext) => {
    try {
      if (request instanceof Undecodable) throw undecodable(request);
      return await call(request, callContext(context));
    } catch (error) {
      throw refuse(error, name, context, components.logger);
    }
  };
}

/** No signal: a client that goes away stops nothing that was accepted. */
async function produceUnary(
  produce: AgentApi["produce"],
  request: unknown,
  { traceparent, tracestate, credential }: CallContext,
): Promise<ProduceResponse> {
  const message = request as ProduceRequest;
  const timeoutMs = message.timeoutMs || undefined;
  const answer = await produce(message, { timeoutMs, traceparent, tracestate, credential });
  const failure = failureOfAll(answer);
  if (failure !== undefined) throw failure;
  return answer;
}

function streamHandler(components: AgentServicesComponents, method: string): Handler {
  const { access } = components;
  return async function* (requests: AsyncIterable<unknown>, context: GrpcCallContext) {
    try {
      const api =
        access === undefined
          ? components.api
          : await access.openProduceStream(shownCall(context, method));
      yield* serveProduceStream(decodedFrames(requests), { ...components, api });
    } catch (error) {
      throw refuse(error, "produceStream", context, components.logger);
    }
  };
}

async function* decodedFrames(
  requests: AsyncIterable<unknown>,
): AsyncGenerator<ProduceStreamRequest, void, undefined> {
  for await (const request of requests) {
    if (request instanceof Undecodable) throw undecodable(request);
    yield request as ProduceStreamRequest;
  }
}

function undecodable({ reason }: Undecodable): StreamHouseError {
  return invalid(
    "INVALID_ARGUMENT",
    `the request is not the protobuf message that this method takes (${reason.slice(0, 120)}): ` +
      "make the client's code from the agent's own proto files",
  );
}

function callContext(context: GrpcCallContext): CallContext {
  return {
    signal: context.signal,
    traceparent: text(context.metadata, "traceparent"),
    tracestate: text(context.metadata, "tracestate"),
    credential: text(context.metadata, "authorization"),
  };
}

/** What a call shows of who makes it. */
export function shownCall(context: GrpcCallContext, method: string): ShownCall {
  const { traceparent, tracestate, credential } = callContext(context);
  return { credential, method, traceparent, tracestate };
}

function text(metadata: Metadata, key: string): string | undefined {
  const value = metadata.get(key);
  return typeof value === "string" ? value : undefined;
}

/** The error as nice-grpc wants it thrown, its details in the trailer. */
export function refuse(
  thrown: unknown,
  name: string,
  context: GrpcCallContext,
  logger: Logger,
): unknown {
  // The client is gone: nobody reads a status.
  if (thrown instanceof ServerError || isAbort(thrown)) return thrown;
  const error = asStreamHouseError(thrown, name);
  if (error.code === "INTERNAL") {
    logger.error("a call failed by a defect of the agent", {
      method: name,
      error: error.message,
      stack: thrown instanceof Error ? thrown.stack : undefined,
    });
  }
  const { code, message, details } = toWireStatus(error);
  context.trailer.set(STATUS_DETAILS_KEY, details);
  return new ServerError(code as ServerError["code"], message);
}

function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === "AbortError";
}

/** Fetches that wait for data end when the agent drains, so that their consumers look for another. */
class WaitingFetches {
  readonly #draining: AbortSignal;
  readonly #waiting = new Set<AbortController>();

  constructor(draining: AbortSignal) {
    this.#draining = draining;
    draining.addEventListener("abort", () => {
      for (const controller of this.#waiting) controller.abort();
    });
  }

  async run(call: CallContext, fetch: (call: CallContext) => Promise<unknown>): Promise<unknown> {
    if (this.#draining.aborted) throw agentDraining();
    const controller = new AbortController();
    const abort = () => controller.abort();
    call.signal?.addEventListener("abort", abort, { once: true });
    if (call.signal?.aborted) abort();
    this.#waiting.add(controller);
    try {
      return await fetch({ ...call, signal: controller.signal });
    } catch (error) {
      throw this.#draining.aborted ? agentDraining() : error;
    } finally {
      this.#waiting.delete(controller);
      call.signal?.removeEventListener("abort", abort);
    }
  }
}
