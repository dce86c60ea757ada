/**
 * Measures and writes one record of a RecordBatch v2 (layout: `batch-decoder.ts`). Text goes
 * straight into the batch's buffer; nothing is allocated for it. Called by the batch builder alone,
 * which has made room.
 */
import { invalid, type StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { BytesLike, HeadersInput } from "../core/record.ts";
import { writeZigzag, zigzagSize } from "./varint.ts";

/** A record to encode. `timestamp` is ms since 1970, not negative. */
export interface BatchRecord {
  readonly key?: BytesLike | null | undefined;
  readonly value: BytesLike | null;
  readonly headers?: HeadersInput | undefined;
  readonly timestamp: number;
}

type Field = BytesLike | null | undefined;

/**
 * Length (4 bytes below 128 MiB), attributes, timestamp delta (8), offset delta (3), two lengths,
 * header count.
 */
const FRAMING_BOUND = 4 + 1 + 8 + 3 + 4 + 4 + 2;

/** Below this length a plain loop over ASCII beats the call into the runtime's encoder. */
const SHORT_TEXT = 24;

/**
 * A record may reach this far beyond its end while it is written: its length is guessed, then the
 * rest moves.
 */
export const RECORD_SLACK = 4;

const encoder = new TextEncoder();

/**
 * An upper bound of a record's encoded size that does not look into strings. Checks types and
 * header limits on the way.
 * @throws StreamHouseError `INVALID_ARGUMENT`
 */
export function recordBytesBound(record: BatchRecord): number {
  const { key, value, headers } = record;
  if (value === undefined) throw wrongType("value", value);
  const size = FRAMING_BOUND + fieldBound("key", key) + fieldBound("value", value);
  return headers === undefined ? size : size + headersBound(headers);
}

/** The exact encoded size, length prefix included. Looks into every string. */
export function recordBytesExact(
  record: BatchRecord,
  timestampDelta: number,
  offsetDelta: number,
): number {
  const body =
    1 +
    zigzagSize(timestampDelta) +
    zigzagSize(offsetDelta) +
    fieldExact(record.key) +
    fieldExact(record.value) +
    headersExact(record.headers);
  return zigzagSize(body) + body;
}

/**
 * Writes the record at `at` and answers the next position. The caller has made room and checked the
 * types.
 */
export function writeRecord(
  bytes: Uint8Array,
  at: number,
  record: BatchRecord,
  timestampDelta: number,
  offsetDelta: number,
): number {
  const { key, value, headers } = record;
  // The length comes first and is known last: its width is guessed, as if all text were ASCII.
  const guess = zigzagSize(fieldGuess(key) + fieldGuess(value) + (headers === undefined ? 8 : 128));
  const bodyAt = at + guess;
  bytes[bodyAt] = 0;
  let next = writeZigzag(bytes, bodyAt + 1, timestampDelta);
  next = writeZigzag(bytes, next, offsetDelta);
  next = writeField(bytes, next, key);
  next = writeField(bytes, next, value);
  next = headers === undefined ? writeZigzag(bytes, next, 0) : writeHeaders(bytes, next, headers);
  return writeLength(bytes, at, bodyAt, next);
}

/**
 * Writes the length of what stands from `contentAt` to `end` at `at`, moving the content where the
 * gap left for the length was a wrong guess. Answers the content's new end.
 */
function writeLength(bytes: Uint8Array, at: number, contentAt: number, end: number): number {
  const length = end - contentAt;
  const size = zigzagSize(length);
  if (at + size !== contentAt) bytes.copyWithin(at + size, contentAt, end);
  writeZigzag(bytes, at, length);
  return at + size + length;
}

function writeField(bytes: Uint8Array, at: number, field: Field): number {
  if (field === null || field === undefined) return writeZigzag(bytes, at, -1);
  if (typeof field === "string") {
    const textAt = at + zigzagSize(field.length);
    return writeLength(bytes, at, textAt, writeText(bytes, textAt, field));
  }
  const next = writeZigzag(bytes, at, field.length);
  bytes.set(field, next);
  return next + field.length;
}

function writeText(bytes: Uint8Array, at: number, text: string): number {
  const length = text.length;
  if (length > SHORT_TEXT) return at + encoder.encodeInto(text, bytes.subarray(at)).written;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return at + encoder.encodeInto(text, bytes.subarray(at)).written;
    bytes[at + i] = code;
  }
  return at + length;
}

function writeHeaders(bytes: Uint8Array, at: number, headers: HeadersInput): number {
  const pairs = headerPairs(headers);
  let next = writeZigzag(bytes, at, pairs.length);
  for (const [name, value] of pairs) {
    next = writeField(bytes, next, name);
    next = writeField(bytes, next, value);
  }
  return next;
}

function headerPairs(
  headers: HeadersInput,
): readonly (readonly [name: string, value: BytesLike | null])[] {
  return Array.isArray(headers) ? headers : Object.entries(headers);
}

function headersBound(headers: HeadersInput): number {
  const pairs = headerPairs(headers);
  if (pairs.length > limits.headersPerRecordMax) {
    throw invalid(
      "INVALID_ARGUMENT",
      `record with ${pairs.length} headers: at most ${limits.headersPerRecordMax} are allowed`,
      { field: "headers" },
    );
  }
  let size = 0;
  for (const [name, value] of pairs) {
    if (typeof name !== "string") throw wrongType("headers: a name", name);
    if (value === undefined) throw wrongType(`headers.${name}`, value);
    // Bytes of a name are counted only where its characters do not settle it.
    if (name.length * 3 > limits.headerKeyBytesMax) checkHeaderName(name);
    size += 8 + fieldBound("headers: a name", name) + fieldBound(`headers.${name}`, value);
  }
  return size;
}

function checkHeaderName(name: string): void {
  const size = textSize(name);
  if (size <= limits.headerKeyBytesMax) return;
  throw invalid(
    "INVALID_ARGUMENT",
    `header name ${JSON.stringify(name.slice(0, 40))}… of ${size} bytes is over the limit of ` +
      `${limits.headerKeyBytesMax} bytes`,
    { field: "headers" },
  );
}

function headersExact(headers: HeadersInput | undefined): number {
  if (headers === undefined) return 1;
  const pairs = headerPairs(headers);
  let size = zigzagSize(pairs.length);
  for (const [name, value] of pairs) size += fieldExact(name) + fieldExact(value);
  return size;
}

function fieldBound(what: string, field: Field): number {
  if (typeof field === "string") return field.length * 3;
  if (field === null || field === undefined) return 0;
  if (field instanceof Uint8Array) return field.length;
  throw wrongType(what, field);
}

function fieldGuess(field: Field): number {
  return field === null || field === undefined ? 0 : field.length;
}

function fieldExact(field: Field): number {
  if (field === null || field === undefined) return 1;
  const length = typeof field === "string" ? textSize(field) : field.length;
  return zigzagSize(length) + length;
}

/**
 * Bytes of a string as UTF-8; a lone surrogate becomes U+FFFD, three bytes, as the runtime's
 * encoder has it.
 */
function textSize(text: string): number {
  let size = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) continue;
    size += code < 0x800 ? 1 : 2;
    if (code < 0xd800 || code > 0xdbff) continue;
    const low = text.charCodeAt(i + 1);
    // A pair is two units and four bytes: one more for each than a unit's own.
    if (low >= 0xdc00 && low <= 0xdfff) i++;
  }
  return size;
}

function wrongType(what: string, value: unknown): StreamHouseError {
  const got = value === null ? "null" : typeof value;
  return invalid(
    "INVALID_ARGUMENT",
    `record ${what} is of type ${got}: expected a string, a Uint8Array or null ` +
      "(objects: use JSON.stringify, or a topic with a schema)",
    { field: what },
  );
}
