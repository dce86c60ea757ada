/**
 * The raw gRPC service: bytes one way, their count back. The message is the bytes themselves, no
 * protobuf.
 */
import type { ServiceDefinition } from "@grpc/grpc-js";

const bytes = {
  serialize: (value: Uint8Array): Buffer =>
    Buffer.from(value.buffer, value.byteOffset, value.byteLength),
  deserialize: (value: Buffer): Uint8Array => value,
};

export const rawService = {
  push: {
    path: "/streamhouse.bench.Raw/Push",
    requestStream: true,
    responseStream: false,
    requestSerialize: bytes.serialize,
    requestDeserialize: bytes.deserialize,
    responseSerialize: bytes.serialize,
    responseDeserialize: bytes.deserialize,
  },
} as const satisfies ServiceDefinition;
