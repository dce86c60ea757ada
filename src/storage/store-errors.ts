/** The errors that all object stores share, worded once. */
import { invalid, StreamHouseError } from "../core/errors.ts";
import type { ByteRange } from "./object-store.ts";

export function objectExists(key: string): StreamHouseError {
  return new StreamHouseError({
    code: "OBJECT_EXISTS",
    kind: "conflict",
    message: `object ${key} exists already, and objects are never overwritten: use a new key`,
  });
}

export function objectNotFound(key: string, cause?: unknown): StreamHouseError {
  return new StreamHouseError({
    code: "OBJECT_NOT_FOUND",
    kind: "conflict",
    message: `object ${key} does not exist: it was deleted by retention, or the store is another one`,
    cause,
  });
}

/** @throws StreamHouseError `INVALID_ARGUMENT`, `CORRUPT_SEGMENT` if the object is shorter than the range */
export function checkRange(key: string, size: number, range: ByteRange): void {
  const { start, length } = range;
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(length) || start < 0 || length < 0) {
    throw invalid("INVALID_ARGUMENT", `range ${start}+${length} of object ${key} is not a range`, {
      field: "range",
    });
  }
  if (start + length <= size) return;
  throw new StreamHouseError({
    code: "CORRUPT_SEGMENT",
    kind: "corrupt",
    message:
      `object ${key} has ${size} bytes, bytes ${start} to ${start + length} were asked for: it was cut short, ` +
      "or the index belongs to another object",
  });
}

/** The caller's signal ended what had begun; the signal's own reason where that is an error of this package. */
export function abortedError(
  signal: AbortSignal | undefined,
  operation: { readonly doing: string; readonly writes: boolean },
): StreamHouseError {
  if (StreamHouseError.is(signal?.reason)) return signal.reason;
  return new StreamHouseError({
    code: "ABORTED",
    kind: "closed",
    message: `${operation.doing} was aborted`,
    outcome: operation.writes ? "unknown" : "none",
    cause: signal?.reason,
  });
}

/** @throws StreamHouseError `ABORTED` (or the signal's own), before anything was done */
export function checkSignal(signal: AbortSignal | undefined, doing: string): void {
  if (!signal?.aborted) return;
  if (StreamHouseError.is(signal.reason)) throw signal.reason;
  throw new StreamHouseError({
    code: "ABORTED",
    kind: "closed",
    message: `${doing} was aborted before it began`,
    cause: signal.reason,
  });
}
