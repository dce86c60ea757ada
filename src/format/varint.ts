/**
 * Zigzag varints and varlongs as in Kafka's records, and plain varints for the chunk's index, for
 * whole numbers up to 2^53. Never allocates, never uses BigInt. Used by the record-batch rooms and
 * by the chunk rooms.
 * https://kafka.apache.org/documentation/#messageformat
 * https://protobuf.dev/programming-guides/encoding/#signed-ints
 */
import { StreamHouseError } from "../core/errors.ts";

const TWO_31 = 0x8000_0000;
const TWO_28 = 0x1000_0000;

/** Bytes that `writeVarint` uses for this value (a whole number from 0 to 2^53). */
export function varintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  if (value < TWO_28) return 4;
  let size = 4;
  for (let rest = Math.floor(value / TWO_28); rest > 0; rest = Math.floor(rest / 128)) size++;
  return size;
}

/**
 * Writes a plain (unsigned) varint at `at` and answers the next position. The caller has made room.
 */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let rest = value;
  let next = at;
  while (rest >= TWO_31) {
    bytes[next++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  while (rest >= 0x80) {
    bytes[next++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[next++] = rest;
  return next;
}

/** Bytes that `writeZigzag` uses for this value. */
export function zigzagSize(value: number): number {
  return varintSize(zigzag(value));
}

/**
 * Writes a whole number as Kafka's varint or varlong (they differ only in range) at `at` and
 * answers the next position. Exact from -2^52 to 2^52 - 1, which holds every timestamp, delta and
 * length.
 */
export function writeZigzag(bytes: Uint8Array, at: number, value: number): number {
  return writeVarint(bytes, at, zigzag(value));
}

function zigzag(value: number): number {
  return value >= 0 ? value * 2 : -value * 2 - 1;
}

/** Reads varints one behind the other; a limit of its own keeps it within one record or index. */
export class VarintReader {
  readonly bytes: Uint8Array;
  /** Next byte to be read. */
  position: number;
  /** First byte that is not to be read. */
  end: number;

  constructor(bytes: Uint8Array, position = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.position = position;
    this.end = end;
  }

  /** @throws StreamHouseError `CORRUPT_BATCH` past the end or beyond 2^53 */
  varint(): number {
    const bytes = this.bytes;
    let at = this.position;
    let shift = 1;
    let value = 0;
    for (;;) {
      if (at >= this.end) throw ranOver(this.position, this.end);
      const byte = bytes[at++] as number;
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) break;
      shift *= 128;
      if (shift > 2 ** 49) throw tooLarge(this.position);
    }
    if (value > Number.MAX_SAFE_INTEGER) throw tooLarge(this.position);
    this.position = at;
    return value;
  }

  /** The inverse of `writeZigzag`. @throws StreamHouseError `CORRUPT_BATCH` */
  zigzag(): number {
    const first = this.bytes[this.position] as number;
    // Nearly all varints of a record are one byte long.
    if (first < 0x80 && this.position < this.end) {
      this.position++;
      return (first >>> 1) ^ -(first & 1);
    }
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}

function ranOver(position: number, end: number): StreamHouseError {
  return new StreamHouseError({
    code: "CORRUPT_BATCH",
    kind: "corrupt",
    message: `varint at byte ${position} runs over the end at byte ${end}`,
  });
}

function tooLarge(position: number): StreamHouseError {
  return new StreamHouseError({
    code: "CORRUPT_BATCH",
    kind: "corrupt",
    message: `varint at byte ${position} is above 2^53`,
  });
}
