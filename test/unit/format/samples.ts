/**
 * What the format's tests share: batches made from records, generators of records, and bytes
 * written as hex.
 */
import fc from "fast-check";
import {
  type BatchRecord,
  NO_PRODUCER,
  type ProducerStamp,
  RecordBatchBuilder,
} from "../../../src/format/batch-builder.ts";
import { type DecodedRecord, decodeBatch, plainRecord } from "../../../src/format/batch-decoder.ts";
import type { Compression } from "../../../src/format/compression.ts";

export const NOW = 1_750_000_000_000;
export const TOPIC_A = "0194f3a0-0000-7000-8000-000000000001";
export const TOPIC_B = "0194f3a0-0000-7000-8000-000000000002";

export async function batchOf(
  records: readonly BatchRecord[],
  compression: Compression = "none",
  stamp: ProducerStamp = NO_PRODUCER,
): Promise<Uint8Array> {
  const builder = new RecordBatchBuilder({ compression, bytesMax: 1_048_576 });
  for (const record of records) {
    if (builder.append(record) === undefined) throw new Error("the sample is larger than a batch");
  }
  return await builder.seal(stamp);
}

/** `count` records with values like "value-7", a millisecond apart. */
export function numbered(count: number): BatchRecord[] {
  return Array.from({ length: count }, (_, i) => ({
    key: `key-${i}`,
    value: `value-${i}`,
    timestamp: NOW + i,
  }));
}

export async function decoded(bytes: Uint8Array): Promise<DecodedRecord[]> {
  return await decodeBatch(bytes, plainRecord);
}

export function bytesOf(value: Uint8Array | string | null | undefined): Uint8Array | null {
  if (value === null || value === undefined) return null;
  return typeof value === "string" ? new TextEncoder().encode(value) : value;
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function fromHex(text: string): Uint8Array {
  const digits = text.replaceAll(/\s/g, "");
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) =>
    Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

/**
 * Bytes or text with everything in it: ASCII, all planes, lone surrogates, empty, and around each
 * width of a length.
 */
const field: fc.Arbitrary<Uint8Array | string> = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.string({ maxLength: 200 }),
  fc.string({ unit: "binary", maxLength: 100 }),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 40 })
    .map((units) => String.fromCharCode(...units)),
  fc.integer({ min: 55, max: 70 }).map((length) => "a".repeat(length)),
  fc.integer({ min: 18, max: 26 }).map((length) => "é".repeat(length)),
  fc.integer({ min: 8_180, max: 8_200 }).map((length) => "b".repeat(length)),
);

const nullable = fc.option(field, { nil: null, freq: 4 });

export const anyRecord: fc.Arbitrary<BatchRecord> = fc.record(
  {
    key: fc.option(nullable, { nil: undefined }),
    value: nullable,
    headers: fc.array(fc.tuple(fc.string({ unit: "binary", maxLength: 60 }), nullable), {
      maxLength: 4,
    }),
    timestamp: fc.oneof(
      fc.integer({ min: 0, max: 10_000 }).map((ago) => NOW - ago),
      fc.integer({ min: 0, max: 2 ** 52 - 1 }),
    ),
  },
  { requiredKeys: ["value", "timestamp"] },
);
