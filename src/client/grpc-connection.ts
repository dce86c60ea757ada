/**
 * The way to one agent over gRPC: every unary call with a deadline, and produce channels. It uses @grpc/grpc-js directly: nice-grpc's client
 * sends no deadline and drops the trailers that carry an error's details. Made by `grpc-transport.ts`.
 */
import type { Client, ClientUnaryCall, ServiceError } from "@grpc/grpc-js";
import type { Clock } from "../core/clock.ts";
import { closed, StreamHouseError } from "../core/errors.ts";
import type { AgentApi, CallContext } from "../rpc/agent-api.ts";
import { createChannelClient, type KeepaliveOptions } from "../rpc/channel.ts";
import type { FetchRequest } from "../rpc/gen/streamhouse/v1/consumer.ts";
import { type RpcMethod, unaryMethods } from "../rpc/methods.ts";
import { grpcStatus } from "../rpc/status.ts";
import type { ClientSecurity } from "../rpc/tls-gate.ts";
import type { MetricRegistry } from "../telemetry/cells.ts";
import { abortable } from "./abortable.ts";
import { agentMethods } from "./agent-methods.ts";
import type { Authorizer } from "./api-key.ts";
import { CallMeter } from "./call-meter.ts";
import { aborted, asBuffer, type CalledAgent, callMetadata, errorOfCall } from "./grpc-call.ts";
import { GrpcProduceChannel } from "./grpc-produce-channel.ts";
import type { AgentConnection, ProduceChannel } from "./transport.ts";

export interface GrpcConnectionOptions extends KeepaliveOptions {
  readonly defaultTimeoutMs?: number | undefined;
  /** Default: plain TCP. */
  readonly security?: ClientSecurity | undefined;
}

export interface GrpcConnectionComponents {
  readonly clock: Clock;
  /** Where calls are measured. */
  readonly metrics: MetricRegistry;
  readonly authorizer: Authorizer;
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
  readonly #authorizer: Authorizer;
  readonly #called: CalledAgent;
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
    this.#authorizer = components.authorizer;
    const { security } = options;
    const protection = security?.mutual ? "mutual-tls" : "tls";
    this.#called = { address, security: security === undefined ? "plain" : protection };
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
        authorizer: this.#authorizer,
        failed: (error) => this.#noteFailure(error),
        gone: () => this.#channels.delete(channel),
      },
      this.#called,
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

  /** A key that was refused is replaced once; nothing was applied with it. */
  async #call(
    method: RpcMethod<unknown, unknown>,
    request: unknown,
    call: CallContext,
    extraMs: number,
  ): Promise<unknown> {
    const fallbackMs = (this.#options.defaultTimeoutMs ?? DEFAULT_TIMEOUT_MS) + extraMs;
    const deadline = Date.now() + (call.timeoutMs ?? fallbackMs);
    for (let attempt = 1; ; attempt++) {
      let authorization = this.#authorizer.authorization();
      if (typeof authorization === "object") {
        authorization = await abortable(authorization, call.signal, method.name);
      }
      try {
        return await this.#send(method, request, call, deadline, authorization);
      } catch (thrown) {
        if (!StreamHouseError.is(thrown)) throw thrown;
        const error = this.#authorizer.judge(thrown, authorization);
        if (error === thrown || attempt > 1) throw error;
      }
    }
  }

  async #send(
    method: RpcMethod<unknown, unknown>,
    request: unknown,
    call: CallContext,
    deadline: number,
    authorization: string | undefined,
  ): Promise<unknown> {
    if (this.#closed) throw closed(`the connection to ${this.address}`);
    const { signal } = call;
    if (signal?.aborted) throw aborted(method.name, "none", signal.reason);
    return new Promise((resolve, reject) => {
      const measure = this.#meter.begin(method.path);
      const rpc = this.#connect().makeUnaryRequest(
        method.path,
        (message: unknown) => asBuffer(method.encodeRequest(message)),
        method.decodeResponse,
        request,
        callMetadata(call, authorization),
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
    const failure = errorOfCall(error, method, this.#called);
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

function closedMeanwhile(method: string, address: string): StreamHouseError {
  return new StreamHouseError({
    code: "CLOSED",
    kind: "closed",
    outcome: "unknown",
    message: `the connection to ${address} was closed before ${method} was answered`,
  });
}
