/** What a file system's error means to the callers of folder store, sink and lock. */
import { type ErrorOutcome, StreamHouseError } from "../core/errors.ts";
import { objectNotFound } from "./store-errors.ts";

const FULL = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);
const REFUSED = new Set(["EACCES", "EPERM", "EROFS"]);
const MISSHAPEN = new Set(["ENOTDIR", "EISDIR", "ELOOP", "ENAMETOOLONG"]);

/** `ENOENT` and the like; undefined if the thing thrown carries none. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** What was being done: `doing` for the message, `key` of the object that was to be read. */
export interface FolderOperation {
  readonly doing: string;
  readonly path: string;
  readonly key?: string | undefined;
  /** What is known of a write that failed here. Default `none`. */
  readonly outcome?: ErrorOutcome | undefined;
}

/** Keeps a `StreamHouseError` as it is. */
export function folderError(error: unknown, operation: FolderOperation): StreamHouseError {
  if (StreamHouseError.is(error)) return error;
  const code = systemCode(error);
  const { doing, path, key, outcome } = operation;
  if (key !== undefined && code === "ENOENT") return objectNotFound(key, error);
  const what = `${doing} ${path} failed (${code ?? String(error)})`;
  if (code !== undefined && FULL.has(code)) {
    return new StreamHouseError({
      code: "STORE_FULL",
      kind: "unavailable",
      message: `${what}: no space is left: free some, raise the quota, or shorten the topics' retention`,
      outcome,
      cause: error,
    });
  }
  if (code !== undefined && (REFUSED.has(code) || MISSHAPEN.has(code))) {
    const cure = REFUSED.has(code)
      ? "make the folder writable for this user, or choose another one"
      : "a part of the path is not a folder: choose another one";
    return new StreamHouseError({
      code: "DATA_FOLDER_UNUSABLE",
      kind: "invalid",
      message: `${what}: ${cure}`,
      outcome,
      cause: error,
    });
  }
  return new StreamHouseError({
    code: "STORE_UNAVAILABLE",
    kind: "unavailable",
    message: `${what}: look at the disk and its mount`,
    outcome,
    cause: error,
  });
}
