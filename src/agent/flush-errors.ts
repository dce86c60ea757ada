/** What a batch is told when its flush did not come to its end. Called by the flusher. */
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import type { FlushState } from "./flush.ts";

/** The same error with the outcome that holds for the batches, which may differ from the failed call's own. */
export function withOutcome(
  error: StreamHouseError,
  outcome: "none" | "unknown",
): StreamHouseError {
  if (error.outcome === outcome) return error;
  const { code, kind, message, retriable, retryAfterMs } = error;
  return new StreamHouseError({
    code,
    kind,
    message,
    retriable,
    retryAfterMs,
    outcome,
    cause: error,
  });
}

/**
 * Why a flush could not be written. That its key is taken says nothing of the batches, although it cannot be put there: the chunk is
 * written again under another key. It happens when an attempt arrived whose answer was lost, and a sweeper with a clock far ahead
 * deleted its object before it could be looked at.
 */
export function writeError(thrown: unknown): StreamHouseError {
  const error = asStreamHouseError(thrown, "writing a flush");
  if (error.code !== "OBJECT_EXISTS") return error;
  return new StreamHouseError({
    code: "STORE_UNAVAILABLE",
    kind: "unavailable",
    outcome: "none",
    message: `a flush could not be written under its key, which is given up: ${error.message}`,
    cause: error,
  });
}

/** The sweeper gave the flush's object up before its commit came: the chunk is written again, under another key. */
export function objectSwept(key: string): StreamHouseError {
  return new StreamHouseError({
    code: "STORE_UNAVAILABLE",
    kind: "unavailable",
    message: `object ${key} was swept before its flush was committed: try again`,
  });
}

/** The time limit of a flush is over. While it is being committed the outcome is open; otherwise it is none. */
export function flushTooLate(state: FlushState, limitMs: number): StreamHouseError {
  if (state === "committing") {
    return new StreamHouseError({
      code: "METADATA_UNAVAILABLE",
      kind: "unavailable",
      outcome: "unknown",
      message:
        `metadata has not said within ${limitMs} ms whether the batch was committed: it may be; ` +
        "with a producer id it is safe to send it again",
    });
  }
  const written = state === "written";
  return new StreamHouseError({
    code: written ? "METADATA_UNAVAILABLE" : "STORE_UNAVAILABLE",
    kind: "unavailable",
    message: `${written ? "metadata" : "the object store"} did not take the batch within ${limitMs} ms: try again`,
  });
}
