/**
 * The raw gRPC service: bytes one way, their count back. The message is the bytes themselves, no
 * protobuf.
 */
import type { MethodDefinition } from "@grpc/grpc-js";

// A type, not an interface: nice-grpc wants an index signature, which only types have by themselves.
export type RawService = {
  readonly push: MethodDefinition<Uint8Array, Uint8Array> & {
    readonly requestStream: true;
    readonly responseStream: false;
  };
};

const bytes = {
  serialize: (value: Uint8Array): Buffer =>
    Buffer.from(value.buffer, value.byteOffset, value.byteLength),
  deserialize: (value: Buffer): Uint8Array => value,
};

export const rawService: RawService = {
  push: {
    path: "/streamhouse.bench.Raw/Push",
    requestStream: true,
    responseStream: false,
    requestSerialize: bytes.serialize,
    requestDeserialize: bytes.deserialize,
    responseSerialize: bytes.serialize,
    responseDeserialize: bytes.deserialize,
  },
};
