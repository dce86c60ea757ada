/**
 * The way to one agent over gRPC: every unary call with a deadline, and produce channels. It uses @grpc/grpc-js directly: nice-grpc's client
 * sends no deadline and drops the trailers that carry an error's details. Made by `grpc-transport.ts`.
 */
import { type Client, type ClientUnaryCall, Metadata, type ServiceError } from "@grpc/grpc-js";
import type { Clock } from "../core/clock.ts";
import { closed, StreamHouseError } from "../core/errors.ts";
import type { AgentApi, CallContext } from "../rpc/agent-api.ts";
import {
  type ChannelSecurity,
  createChannelClient,
  type KeepaliveOptions,
} from "../rpc/channel.ts";
import type { FetchRequest } from "../rpc/gen/streamhouse/v1/consumer.ts";
import { type RpcMethod, unaryMethods } from "../rpc/methods.ts";
import { grpcStatus } from "../rpc/status.ts";
import type { MetricRegistry } from "../telemetry/cells.ts";
import { agentMethods } from "./agent-methods.ts";
import { CallMeter } from "./call-meter.ts";
import { aborted, asBuffer, errorOfCall } from "./grpc-call.ts";
import { GrpcProduceChannel } from "./grpc-produce-channel.ts";
import type { AgentConnection, ProduceChannel } from "./transport.ts";

export interface GrpcConnectionOptions extends KeepaliveOptions {
  readonly defaultTimeoutMs?: number | undefined;
  readonly security?: ChannelSecurity | undefined;
}

export interface GrpcConnectionComponents {
  readonly clock: Clock;
  /** Where calls are measured. */
  readonly metrics: MetricRegistry;
}

/** Told when the connection takes up a socket, and when it needs none any more. */
export interface ConnectionLife {
  /** @throws StreamHouseError `CLOSED` if nothing may be opened any more */
  opened(connection: GrpcConnection): void;
  ended(connection: GrpcConnection): void;
}

const DEFAULT_TIMEOUT_MS = 30_000;

/**
 * grpc-js waits for ever for a peer that accepts the connection and says nothing (grpc/grpc-node#2785): after so long without a
 * connection the client is made anew.
 */
const CONNECT_TIMEOUT_MS = 10_000;

export class GrpcConnection implements AgentConnection {
  readonly address: string;
  readonly api: AgentApi;
  readonly #clock: Clock;
  readonly #meter: CallMeter;
  readonly #options: GrpcConnectionOptions;
  readonly #life: ConnectionLife;
  readonly #channels = new Set<GrpcProduceChannel>();
  readonly #calls = new Set<ClientUnaryCall>();
  #client: Client | undefined;
  /** Since when no call found a connection. */
  #withoutConnectionSince: number | undefined;
  #closed = false;

  constructor(
    address: string,
    components: GrpcConnectionComponents,
    options: GrpcConnectionOptions,
    life: ConnectionLife = { opened: () => {}, ended: () => {} },
  ) {
    this.address = address;
    this.#clock = components.clock;
    this.#meter = new CallMeter(components.metrics, components.clock, address);
    this.#options = options;
    this.#life = life;
    this.api = this.#makeApi();
  }

  openProducer(): ProduceChannel {
    if (this.#closed) throw closed(`the connection to ${this.address}`);
    const channel = new GrpcProduceChannel(
      {
        client: () => this.#connect(),
        clock: this.#clock,
        meter: this.#meter,
        failed: (error) => this.#noteFailure(error),
        gone: () => this.#channels.delete(channel),
      },
      this.address,
    );
    this.#channels.add(channel);
    return channel;
  }

  /** Lets go of the socket if nothing is under way; the next call connects again. Answers whether it has none now. */
  rest(): boolean {
    if (this.#calls.size > 0 || this.#channels.size > 0) return false;
    this.#client?.close();
    this.#client = undefined;
    this.#life.ended(this);
    return true;
  }

  /** Cancels calls; ends the produce channels (answers that are out still come, within their time limits); then the connection. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#life.ended(this);
    for (const rpc of this.#calls) rpc.cancel();
    await Promise.all([...this.#channels].map((channel) => channel.close()));
    this.#client?.close();
    this.#client = undefined;
  }

  #connect(): Client {
    if (this.#closed && this.#client === undefined) {
      throw closed(`the connection to ${this.address}`);
    }
    if (this.#client === undefined) {
      this.#life.opened(this);
      this.#client = createChannelClient(this.address, this.#options, this.#options.security);
    }
    return this.#client;
  }

  #makeApi(): AgentApi {
    type Method = (request: unknown, call: CallContext) => Promise<unknown>;
    const api: Record<string, Method> = {};
    for (const name of agentMethods) {
      const method = unaryMethods[name] as RpcMethod<unknown, unknown>;
      const extraMs: (request: unknown) => number =
        name === "fetch" ? (request) => (request as FetchRequest).maxWaitMs : () => 0;
      api[name] = (request, call) => this.#call(method, request, call, extraMs(request));
    }
    return api as unknown as AgentApi;
  }

  #call(
    method: RpcMethod<unknown, unknown>,
    request: unknown,
    call: CallContext,
    extraMs: number,
  ): Promise<unknown> {
    if (this.#closed) return Promise.reject(closed(`the connection to ${this.address}`));
    const { signal } = call;
    if (signal?.aborted) return Promise.reject(aborted(method.name, "none", signal.reason));
    const fallbackMs = (this.#options.defaultTimeoutMs ?? DEFAULT_TIMEOUT_MS) + extraMs;
    const deadline = Date.now() + (call.timeoutMs ?? fallbackMs);
    return new Promise((resolve, reject) => {
      const measure = this.#meter.begin(method.path);
      const rpc = this.#connect().makeUnaryRequest(
        method.path,
        (message: unknown) => asBuffer(method.encodeRequest(message)),
        method.decodeResponse,
        request,
        traceMetadata(call),
        { deadline },
        (error, value) => {
          measure(error?.code ?? grpcStatus.OK);
          this.#calls.delete(rpc);
          signal?.removeEventListener("abort", onAbort);
          if (error === null) {
            this.#withoutConnectionSince = undefined;
            resolve(value);
          } else reject(this.#failure(method.name, error, signal));
        },
      );
      this.#calls.add(rpc);
      const onAbort = () => rpc.cancel();
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  #failure(method: string, error: ServiceError, signal: AbortSignal | undefined): StreamHouseError {
    if (error.code === grpcStatus.CANCELLED) {
      if (signal?.aborted) return aborted(method, "unknown", signal.reason);
      if (this.#closed) return closedMeanwhile(method, this.address);
    }
    const failure = errorOfCall(error, method, this.address);
    this.#noteFailure(failure);
    return failure;
  }

  #noteFailure(error: StreamHouseError): void {
    if (error.code !== "AGENT_UNREACHABLE" || error.outcome !== "none") {
      this.#withoutConnectionSince = undefined;
      return;
    }
    const now = this.#clock.monotonic();
    this.#withoutConnectionSince ??= now;
    if (now - this.#withoutConnectionSince < CONNECT_TIMEOUT_MS) return;
    this.#withoutConnectionSince = undefined;
    this.#client?.close();
    this.#client = undefined;
  }
}

function traceMetadata(call: CallContext): Metadata {
  const metadata = new Metadata();
  if (call.traceparent !== undefined) {
    metadata.set("traceparent", call.traceparent);
    if (call.tracestate) metadata.set("tracestate", call.tracestate);
  }
  return metadata;
}

function closedMeanwhile(method: string, address: string): StreamHouseError {
  return new StreamHouseError({
    code: "CLOSED",
    kind: "closed",
    outcome: "unknown",
    message: `the connection to ${address} was closed before ${method} was answered`,
  });
}
