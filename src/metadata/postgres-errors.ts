/**
 * What PostgreSQL's and its client's errors mean to the callers of the metadata store, and whether what was asked for may have been
 * applied. An error that the server answered is one whose transaction it rolled back: the client tells an answer only once the
 * server is ready for the next. Without an answer, whatever writes is `unknown`.
 * Codes: https://www.postgresql.org/docs/15/errcodes-appendix.html
 */
import { type ErrorOutcome, StreamHouseError } from "../core/errors.ts";

/** Our functions raise these; a code of a class that the standard leaves free. */
export const SWEPT = "SH001";
export const LEASE_LOST = "SH002";
export const DEFECT = "SH003";

/** Certainly not applied, and likely to pass the next time. */
const PASSING: ReadonlySet<string> = new Set(["40001", "40P01"]);

/** By SQLSTATE, the longest that fits: what to do. */
const cures: Readonly<Record<string, string>> = {
  "25006": "the server is read-only: it is a standby, or its administrator said so",
  "28": "look at user and password, and at the server's pg_hba.conf",
  "3D000": "the database does not exist: create it (CREATE DATABASE), or mend the name in the URL",
  "40": "transactions were in each other's way: it is tried again",
  "42501": "the user lacks a right: grant it CREATE on the database, or make the schema its own",
  "53300": "the server has no connection left: raise max_connections, or lower `connections`",
  "53": "the server lacks memory or another resource",
  "55P03": "a lock was not to be had in time",
  "57014": "it took longer than statement_timeout, most often because it waited for a lock",
  "57": "the server is starting, stopping or being administered",
  "58": "look at the server's disk and its log",
  "08": "the connection failed",
};

/** Where it happened: while connecting nothing can have been applied. */
export interface PostgresErrorContext {
  /** In words, for the message: `committing a flush`. */
  readonly doing: string;
  /** Hosts and database, without user and password. */
  readonly name: string;
  /** What it means that there was no answer. */
  readonly unanswered: ErrorOutcome;
}

/** What to do where the server did not answer; texts of TLS are those of Node, Bun and Deno. */
function cureWithoutAnswer(text: string): string {
  if (/certificate|altname|self.?signed|issuer/i.test(text)) {
    return "its certificate is not accepted: name its authority's file as sslrootcert=, and the server by a name that the certificate holds";
  }
  if (/wrong.version.number|InvalidContentType|corrupt message|EPROTO/i.test(text)) {
    return "the server offers no TLS: turn it on there (ssl = on), or leave sslmode out";
  }
  return "look whether the server runs and can be reached";
}

/** Keeps a `StreamHouseError` as it is. */
export function postgresError(error: unknown, context: PostgresErrorContext): StreamHouseError {
  if (StreamHouseError.is(error)) return error;
  const text = error instanceof Error && error.message !== "" ? error.message : codeOf(error);
  const what = `${context.doing} in metadata ${context.name} failed (${text})`;
  const state = sqlState(error);
  if (state === undefined) {
    return new StreamHouseError({
      code: "METADATA_UNAVAILABLE",
      kind: "unavailable",
      message: `${what}: ${cureWithoutAnswer(text)}`,
      outcome: context.unanswered,
      cause: error,
    });
  }
  return answered(state, what, error);
}

function answered(state: string, what: string, cause: unknown): StreamHouseError {
  if (state === "53100") {
    return new StreamHouseError({
      code: "STORE_FULL",
      kind: "unavailable",
      message: `${what}: no space is left on the server: free some, or shorten the topics' retention`,
      cause,
    });
  }
  if (state === "22021") {
    return new StreamHouseError({
      code: "INVALID_ARGUMENT",
      kind: "invalid",
      message: `${what}: a name has a character that cannot be stored`,
      cause,
    });
  }
  const cure = cures[state] ?? cures[state.slice(0, 2)];
  if (cure === undefined) {
    return new StreamHouseError({
      code: "INTERNAL",
      kind: state.startsWith("XX") ? "corrupt" : "internal",
      message: state === "42P01" || state === "3F000" ? `${what}: were our tables dropped?` : what,
      cause,
    });
  }
  return new StreamHouseError({
    code: "METADATA_UNAVAILABLE",
    kind: "unavailable",
    message: `${what}: ${cure}`,
    // The server lost the connection to what it asked (a pooler, a foreign server): it says so itself.
    outcome: state === "40003" || state === "08007" ? "unknown" : "none",
    cause,
  });
}

/** To be tried again by the store itself. */
export function isPassing(error: unknown): boolean {
  return PASSING.has(sqlState(error) ?? "");
}

/** The server answered with this SQLSTATE; undefined: there was no answer. */
export function sqlState(error: unknown): string | undefined {
  // The client's own errors have codes, too (CONNECTION_CLOSED, ECONNREFUSED); only the server's come with a severity.
  if (typeof error !== "object" || error === null || !("severity" in error)) return undefined;
  const code = codeOf(error);
  return /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

function codeOf(error: unknown): string {
  if (typeof error === "object" && error !== null && "code" in error) return String(error.code);
  return String(error);
}
