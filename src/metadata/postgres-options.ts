/**
 * Settings of the PostgreSQL metadata, and its URL. What a message shows of them never has the password. The client library
 * (`postgres` 3.4.9) would take the first host of several that answers: its `read-write` accepts a standby of PostgreSQL 14 and
 * later, which reports `default_transaction_read_only = off`, and with several hosts it tries for ever. So hosts are ours to choose
 * (`postgres-pool.ts`), and it is given one at a time.
 */
import { invalid, type StreamHouseError } from "../core/errors.ts";

/** Settings of the PostgreSQL metadata: a URL is enough. */
export interface PostgresOptions {
  /**
   * `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. Several hosts, `HOST1:PORT1,HOST2:PORT2`: the one that is the primary is used, also
   * after a fail-over. Parameters: `sslmode` (`disable`, the default; `require`: TLS with whoever answers; `verify-full`: TLS with the
   * server whose certificate holds the URL's host and comes from a trusted authority), and as below `schema`, `connections`,
   * `connect_timeout` (s), `statement_timeout` (ms). Where a URL is opened by `serve()`, `sslrootcert` names a file with `ca`.
   */
  readonly url: string;
  /** PEM text of the authorities to trust, with `sslmode=verify-full`. Default: those that the runtime brings. */
  readonly ca?: string | undefined;
  /** Instead of the URL's password, asked for each new connection: for those that change. */
  readonly password?: (() => string | Promise<string>) | undefined;
  /** Where the tables are. Default `streamhouse`. */
  readonly schema?: string | undefined;
  /** Connections at most, besides one that listens for hints. Default 5. */
  readonly connectionsMax?: number | undefined;
  /** Default 5,000 for each host. */
  readonly connectTimeoutMs?: number | undefined;
  /** After this the database gives a statement up. Default 10,000. */
  readonly statementTimeoutMs?: number | undefined;
}

export interface PostgresHost {
  readonly host: string;
  readonly port: number;
}

export interface ResolvedPostgresOptions {
  readonly hosts: readonly PostgresHost[];
  readonly user: string;
  readonly password: () => string | Promise<string>;
  readonly database: string;
  readonly ssl: false | "require" | "verify-full";
  readonly ca: string | undefined;
  readonly schema: string;
  readonly connectionsMax: number;
  readonly connectTimeoutMs: number;
  readonly statementTimeoutMs: number;
  /** For messages: hosts and database. */
  readonly name: string;
}

const DEFAULT_PORT = 5_432;
const FORM = "postgres://USER:PASSWORD@HOST:PORT/DATABASE (several hosts: HOST1:PORT1,HOST2:PORT2)";

/** Names of ours that need no quoting anywhere; PostgreSQL cuts longer ones off. */
const SCHEMA = /^[a-z_][a-z0-9_]{0,40}$/;

/** @throws StreamHouseError `INVALID_ARGUMENT`, which never repeats the URL */
export function resolvePostgresOptions(options: PostgresOptions): ResolvedPostgresOptions {
  const { url, hosts } = parse(options.url);
  const parameters = url.searchParams;
  const schema = options.schema ?? parameters.get("schema") ?? "streamhouse";
  if (!SCHEMA.test(schema)) {
    throw bad(
      `schema ${JSON.stringify(schema.slice(0, 60))} must be of a-z 0-9 _, at most 41 long`,
    );
  }
  const database = decodeURIComponent(url.pathname.slice(1));
  const password = decodeURIComponent(url.password);
  return Object.freeze({
    hosts,
    user: decodeURIComponent(url.username),
    password: options.password ?? (() => password),
    database,
    ssl: sslOf(parameters.get("sslmode"), options.ca),
    ca: options.ca,
    schema,
    connectionsMax: whole(
      "connections",
      options.connectionsMax ?? parameters.get("connections") ?? 5,
    ),
    connectTimeoutMs:
      options.connectTimeoutMs ??
      whole("connect_timeout", parameters.get("connect_timeout") ?? 5) * 1_000,
    statementTimeoutMs: whole(
      "statement_timeout",
      options.statementTimeoutMs ?? parameters.get("statement_timeout") ?? 10_000,
    ),
    name: `${hosts.map((it) => `${it.host}:${it.port}`).join(",")}/${database}`,
  });
}

/** A URL has one host; the others are taken out before it is parsed. */
function parse(text: string): { readonly url: URL; readonly hosts: readonly PostgresHost[] } {
  const parts = /^(postgres(?:ql)?:\/\/(?:[^/?#]*@)?)([^/?#@]+)(\/.*)$/.exec(text);
  const [, before, authority, rest] = parts ?? [];
  if (before === undefined || authority === undefined || rest === undefined) {
    throw bad(`the URL is broken: expected ${FORM}`);
  }
  let url: URL;
  try {
    url = new URL(`${before}host${rest}`);
    decodeURIComponent(url.username + url.password + url.pathname);
  } catch {
    throw bad(
      `the URL is broken: expected ${FORM}; special characters of a password are %-encoded`,
    );
  }
  if (url.username === "" || url.pathname.length < 2) {
    throw bad(`the URL names no user or no database: expected ${FORM}`);
  }
  return { url, hosts: authority.split(",").map(hostOf) };
}

function hostOf(text: string): PostgresHost {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const number = port === undefined ? DEFAULT_PORT : Number(port);
  if (host === undefined || number < 1 || number > 65_535) {
    throw bad(`${JSON.stringify(text.slice(0, 60))} is no host and port: expected ${FORM}`);
  }
  return { host, port: number };
}

function sslOf(mode: string | null, ca: string | undefined): false | "require" | "verify-full" {
  if (ca !== undefined && mode !== "verify-full") {
    throw bad("an authority to trust (sslrootcert, ca) needs sslmode=verify-full beside it");
  }
  if (mode === null || mode === "disable") return false;
  if (mode === "require" || mode === "verify-full") return mode;
  throw bad(`sslmode ${mode.slice(0, 20)} is not supported: use disable, require or verify-full`);
}

function whole(name: string, value: string | number): number {
  const number = Number(value);
  if (Number.isSafeInteger(number) && number >= 1) return number;
  throw bad(`${name} must be a whole number from 1 on`);
}

function bad(what: string): StreamHouseError {
  return invalid("INVALID_ARGUMENT", `PostgreSQL metadata: ${what}`, { field: "metadata" });
}
