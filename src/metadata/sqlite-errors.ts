/** What SQLite's errors mean to the callers of the metadata store. The three runtimes differ a little; that ends here. */
import { type ErrorOutcome, StreamHouseError } from "../core/errors.ts";

/** Primary result codes, https://www.sqlite.org/rescode.html */
const BUSY = 5;
const LOCKED = 6;
const READONLY = 8;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const NOTADB = 26;

/**
 * `duringCommit`: the statement was the COMMIT itself, so it may have been applied unless the code says otherwise. Keeps a
 * `StreamHouseError` as it is.
 */
export function sqliteError(
  error: unknown,
  doing: string,
  path: string,
  duringCommit = false,
): StreamHouseError {
  if (StreamHouseError.is(error)) return error;
  const text = error instanceof Error ? error.message : String(error);
  const what = `${doing} in metadata ${path} failed (${text})`;
  const unclear: ErrorOutcome = duringCommit ? "unknown" : "none";
  const unavailable = (cure: string, outcome: ErrorOutcome): StreamHouseError =>
    new StreamHouseError({
      code: "METADATA_UNAVAILABLE",
      kind: "unavailable",
      message: `${what}: ${cure}`,
      outcome,
      cause: error,
    });
  switch (primaryCode(error, text)) {
    case BUSY:
    case LOCKED:
      return unavailable(
        "another process has the database locked: it must not be open elsewhere",
        "none",
      );
    case FULL:
      // The record that would complete the transaction was not written.
      return new StreamHouseError({
        code: "STORE_FULL",
        kind: "unavailable",
        message: `${what}: no space is left: free some, or shorten the topics' retention`,
        cause: error,
      });
    case IOERR:
      return unavailable("look at the disk and its mount", unclear);
    case READONLY:
    case CANTOPEN:
      return new StreamHouseError({
        code: "DATA_FOLDER_UNUSABLE",
        kind: "invalid",
        message: `${what}: make the file and its folder writable for this user, or choose another folder`,
        outcome: unclear,
        cause: error,
      });
    case CORRUPT:
    case NOTADB:
      return new StreamHouseError({
        code: "INTERNAL",
        kind: "corrupt",
        message: `${what}: the database is damaged: restore it from a backup`,
        outcome: unclear,
        cause: error,
      });
    default:
      return new StreamHouseError({
        code: "INTERNAL",
        kind: "internal",
        message: what,
        outcome: unclear,
        cause: error,
      });
  }
}

/** `sqlite3_errstr` of the codes above: part of SQLite's interface for twenty years. */
const TEXTS: readonly (readonly [text: string, code: number])[] = [
  ["database is locked", BUSY],
  ["database table is locked", LOCKED],
  ["attempt to write a readonly database", READONLY],
  ["disk I/O error", IOERR],
  ["database disk image is malformed", CORRUPT],
  ["database or disk is full", FULL],
  ["unable to open database file", CANTOPEN],
  ["file is not a database", NOTADB],
];

/**
 * Node, Bun and Deno give the extended code as `errcode`. Deno leaves it out where `exec()` or opening failed, and
 * only the text is there to go by.
 */
function primaryCode(error: unknown, text: string): number | undefined {
  if (typeof error === "object" && error !== null && "errcode" in error) {
    if (typeof error.errcode === "number") return error.errcode & 0xff;
  }
  return TEXTS.find(([known]) => text.includes(known))?.[1];
}
