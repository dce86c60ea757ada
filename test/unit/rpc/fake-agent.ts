/** An `AgentApi` of functions, and a real gRPC server on 127.0.0.1 in front of it. Shared by the tests of rpc and client. */
import { trace } from "@opentelemetry/api";
import {
  createGrpcServer,
  type GrpcServer,
  type GrpcServerOptions,
} from "../../../src/agent/server.ts";
import {
  createGrpcTransport,
  type GrpcTransportOptions,
} from "../../../src/client/grpc-transport.ts";
import type { AgentConnection, Transport } from "../../../src/client/transport.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { silentLogger } from "../../../src/core/logger.ts";
import type { AgentApi, CallContext } from "../../../src/rpc/agent-api.ts";
import type { Batch, ProduceRequest } from "../../../src/rpc/gen/streamhouse/v1/producer.ts";
import { type MessageType, services } from "../../../src/rpc/methods.ts";
import { createMetricRegistry } from "../../../src/telemetry/registry.ts";
import type { Telemetry } from "../../../src/telemetry/telemetry.ts";

export interface SeenCall {
  readonly name: keyof AgentApi;
  readonly request: unknown;
  readonly call: CallContext;
}

export interface FakeAgent {
  readonly api: AgentApi;
  readonly seen: SeenCall[];
}

type AnyMethod = (request: never, call: CallContext) => Promise<unknown>;

/** Methods that are not given answer with an empty message. */
export function fakeAgent(methods: Partial<AgentApi> = {}): FakeAgent {
  const seen: SeenCall[] = [];
  const api: Record<string, AnyMethod> = {};
  for (const service of services) {
    for (const [key, method] of Object.entries(service.methods)) {
      if (method.requestStream) continue;
      const name = key as keyof AgentApi;
      const answer = (methods[name] ??
        (async () => (method.responseType as MessageType<object>).fromPartial({}))) as AnyMethod;
      api[name] = (request, call) => {
        seen.push({ name, request, call });
        return answer(request, call);
      };
    }
  }
  return { api: api as unknown as AgentApi, seen };
}

export interface Rig extends FakeAgent {
  readonly server: GrpcServer;
  readonly address: string;
  readonly transport: Transport;
  readonly connection: AgentConnection;
  readonly telemetry: Telemetry;
  /** Value of `streamhouse.grpc.requests` by `method status`. */
  requests(): Record<string, number>;
  connections(): number;
  stop(): Promise<void>;
}

export interface RigOptions {
  readonly server?: Partial<GrpcServerOptions>;
  readonly transport?: Partial<GrpcTransportOptions>;
}

/** A server, a client and a connection between them. */
export async function rig(methods: Partial<AgentApi> = {}, options: RigOptions = {}): Promise<Rig> {
  const agent = fakeAgent(methods);
  const telemetry = countingTelemetry();
  const server = createGrpcServer(
    { api: agent.api, telemetry, logger: silentLogger, clock: systemClock },
    { address: "127.0.0.1:0", drainTimeoutMs: 2_000, ...options.server },
  );
  const address = await server.start();
  const transport = createGrpcTransport(
    { clock: systemClock },
    { addresses: [address], ...options.transport },
  );
  const connection = transport.connection(address);
  return {
    ...agent,
    ...{ server, address, transport, connection, telemetry },
    requests: () => read(telemetry, "streamhouse.grpc.requests"),
    connections: () => read(telemetry, "streamhouse.active.connections")[""] ?? 0,
    async stop() {
      await transport.close();
      await server.stop();
      telemetry.close();
    },
  };
}

/** Real cells, no SDK. */
export function countingTelemetry(): Telemetry {
  return {
    metrics: createMetricRegistry(),
    tracer: trace.getTracer("test"),
    ...{
      enabled: true,
      traces: true,
      component: "agent",
      partitionLabels: false,
      propagation: "always",
    },
    ...{ families: ["streamhouse", "semconv"], sendDuration: "per-send", recordSpans: true },
    close() {},
  };
}

function read(telemetry: Telemetry, name: string): Record<string, number> {
  const values: Record<string, number> = {};
  for (const { descriptor, series } of telemetry.metrics.collect()) {
    if (descriptor.name !== name) continue;
    for (const { attributes, cell } of series.values()) {
      const key = Object.values(attributes).join(" ");
      if ("value" in cell) values[key] = cell.value;
    }
  }
  return values;
}

/** Waits for a condition, looking at it between turns of the event loop. */
export async function until(
  what: string,
  condition: () => boolean,
  limitMs = 10_000,
): Promise<void> {
  const end = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not in ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** What a promise rejects with. */
export async function failureOf(promise: Promise<unknown>): Promise<StreamHouseError> {
  try {
    await promise;
  } catch (error) {
    if (StreamHouseError.is(error)) return error;
    throw error;
  }
  throw new Error("it did not reject");
}

export function batch(partition: number, bytes: number, topic = "t"): Batch {
  return { topic, topicId: "", partition, records: new Uint8Array(bytes).fill(partition & 0xff) };
}

export function produceRequest(...batches: Batch[]): ProduceRequest {
  return { acks: 1, batches, timeoutMs: 0 };
}
