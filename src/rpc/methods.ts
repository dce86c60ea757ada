/**
 * Every method of the agent: its path and its bytes. One table for both ends, checked by the compiler against `AgentApi`, made from the
 * generated service definitions. Messages that carry batches are encoded with one copy.
 */
import type { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import type { AgentApi } from "./agent-api.ts";
import { GatherWriter } from "./gather-writer.ts";
import { AdminServiceDefinition } from "./gen/streamhouse/v1/admin.ts";
import { ConsumerServiceDefinition } from "./gen/streamhouse/v1/consumer.ts";
import { GroupServiceDefinition } from "./gen/streamhouse/v1/group.ts";
import {
  ProducerServiceDefinition,
  ProduceStreamRequest,
  ProduceStreamResponse,
} from "./gen/streamhouse/v1/producer.ts";

/** A service as the generated code describes it. */
export interface ServiceDefinition {
  readonly name: string;
  readonly fullName: string;
  readonly methods: Readonly<Record<string, MethodDefinition>>;
}

/** Its message types are `MessageType`s, each of its own message. */
export interface MethodDefinition {
  readonly name: string;
  readonly requestType: unknown;
  readonly requestStream: boolean;
  readonly responseType: unknown;
  readonly responseStream: boolean;
}

/** The agent's services. Their methods are named as in `AgentApi`. */
export const services: readonly ServiceDefinition[] = [
  ProducerServiceDefinition,
  ConsumerServiceDefinition,
  GroupServiceDefinition,
  AdminServiceDefinition,
];

/** How a message type is written and read. The part of the generated code that is used. */
export interface MessageType<T> {
  encode(message: T, writer?: BinaryWriter): BinaryWriter;
  decode(input: BinaryReader | Uint8Array, length?: number): T;
  /** The message with what is given, the rest at its defaults. */
  fromPartial(some: object): T;
}

/** One unary method. */
export interface RpcMethod<Request, Response> {
  /** `/package.Service/Method`. */
  readonly path: string;
  /** `Service/Method`, for messages. */
  readonly name: string;
  encodeRequest(request: Request): Uint8Array;
  decodeResponse(bytes: Uint8Array): Response;
}

export type RpcMethods = {
  readonly [K in keyof AgentApi]: RpcMethod<
    Parameters<AgentApi[K]>[0],
    Awaited<ReturnType<AgentApi[K]>>
  >;
};

/** Methods whose messages carry batches. */
const heavy: ReadonlySet<string> = new Set(["produce", "produceStream", "fetch"]);

/** The bytes of a message, in memory of its own, exactly as large. */
export function encodeMessage<T>(
  type: MessageType<T>,
  message: T,
  carriesBatches: boolean,
): Uint8Array {
  const writer = carriesBatches ? new GatherWriter() : undefined;
  return type.encode(message, writer).finish();
}

/**
 * Reads a message. Its byte fields are views of `bytes`, as plain arrays whatever they came in: a Buffer's `slice()` would not
 * copy, and applications rely on it.
 */
export function decodeMessage<T>(type: MessageType<T>, bytes: Uint8Array): T {
  return type.decode(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

/** Whether a method's messages carry batches. */
export function carriesBatches(method: string): boolean {
  return heavy.has(method);
}

type AnyMethod = RpcMethod<unknown, unknown>;

function tableOfUnaryMethods(): RpcMethods {
  const table: Record<string, AnyMethod> = {};
  for (const service of services) {
    for (const [key, method] of Object.entries(service.methods)) {
      if (method.requestStream) continue;
      const request = method.requestType as MessageType<unknown>;
      const response = method.responseType as MessageType<unknown>;
      table[key] = {
        path: `/${service.fullName}/${method.name}`,
        name: `${service.name}/${method.name}`,
        encodeRequest: (message) => encodeMessage(request, message, carriesBatches(key)),
        decodeResponse: (bytes) => decodeMessage(response, bytes),
      };
    }
  }
  return table as unknown as RpcMethods;
}

/** Every unary method, by its name in `AgentApi`. */
export const unaryMethods: RpcMethods = tableOfUnaryMethods();

export interface ProduceStreamMethod {
  readonly path: string;
  readonly name: string;
  /** Writes a frame without copying its batches: ask for its size, then let it copy itself. */
  writeRequest(frame: ProduceStreamRequest): GatherWriter;
  decodeResponse(bytes: Uint8Array): ProduceStreamResponse;
}

/** The one streaming method. */
export const produceStreamMethod: ProduceStreamMethod = {
  path: `/${ProducerServiceDefinition.fullName}/${ProducerServiceDefinition.methods.produceStream.name}`,
  name: "ProducerService/ProduceStream",
  writeRequest(frame) {
    const writer = new GatherWriter();
    ProduceStreamRequest.encode(frame, writer);
    return writer;
  },
  decodeResponse: (bytes) => decodeMessage(ProduceStreamResponse, bytes),
};
