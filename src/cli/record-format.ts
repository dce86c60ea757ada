/** How `consume` writes a record on one line. Pure. The JSON shape is documented in docs/cli.md; scripts rely on it. */
import type { ConsumerRecord } from "../core/record.ts";

export type RecordFormat = "value" | "json";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The line of a record, without its newline. `value`: the bytes as they are; a tombstone is an empty line. */
export function formatRecord(record: ConsumerRecord, format: RecordFormat): string | Uint8Array {
  return format === "json" ? jsonLine(record) : record.bytes();
}

/**
 * Text where the bytes are UTF-8. Bytes that are not are written in base64 and named in `base64`, so that no record is changed or
 * refused by being shown. A header name that repeats has all its values in an array.
 */
function jsonLine(record: ConsumerRecord): string {
  const base64: string[] = [];
  const text = (field: string, bytes: Uint8Array | null): string | null => {
    if (bytes === null) return null;
    try {
      return decoder.decode(bytes);
    } catch {
      base64.push(field);
      return toBase64(bytes);
    }
  };
  const headers: Record<string, string | null | (string | null)[]> = Object.create(null);
  for (const [name, bytes] of record.headers) {
    const value = text(`headers.${name}`, bytes);
    const before = headers[name];
    if (before === undefined) headers[name] = value;
    else headers[name] = Array.isArray(before) ? [...before, value] : [before, value];
  }
  const { topic, partition, offset, timestamp } = record;
  const key = text("key", record.key);
  const value = text("value", record.value);
  const line = { topic, partition, offset, timestamp, key, value, headers };
  return JSON.stringify(base64.length === 0 ? line : { ...line, base64 });
}

function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}
