/**
 * Kafka's zigzag varints and varlongs, for whole numbers up to 2^53 either side of zero. Never allocates. Used by
 * the record-batch encoder and decoder and by the chunk's index.
 * https://kafka.apache.org/documentation/#messageformat, https://protobuf.dev/programming-guides/encoding/#signed-ints
 */

/** Bytes that `writeVarlong` uses for this value (1 to 8 for safe integers). */
export function varlongSize(value: number): number {
  throw new Error(`not yet: ${value}`);
}

/** Writes a zigzag varint at `at` and answers the next position. The caller has made room. */
export function writeVarlong(bytes: Uint8Array, at: number, value: number): number {
  throw new Error(`not yet: ${bytes.length} ${at} ${value}`);
}
