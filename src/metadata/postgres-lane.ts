/**
 * One connection to one PostgreSQL server, used by one caller at a time. It is never opened again by itself: a session has settings,
 * locks and an identity, and one that breaks takes them along. Knows no table. Made by `postgres-pool.ts` and
 * `postgres-listener.ts`.
 *
 * The client library is given a socket of ours, because only then can a connection whose other end says nothing be destroyed
 * (`postgres` 3.4.9 ends connections politely, or by a cancel request over another one). It never sends a cancel request: one that
 * meets a commit in its wait for the synchronous standby makes PostgreSQL answer success with a mere warning
 * (`SyncRepWaitForLSN` in https://doxygen.postgresql.org/syncrep_8c_source.html).
 */
import { Buffer } from "node:buffer";
import { Socket } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import postgres from "postgres";
import type { Clock } from "../core/clock.ts";
import type { PostgresHost, ResolvedPostgresOptions } from "./postgres-options.ts";
import type { SqlRow } from "./sql-rows.ts";

/** What a statement can be given. Arrays are literals: see `arrayOf`. */
export type SqlValue = null | boolean | number | string | Uint8Array;

/** Rows, and what PostgreSQL calls what it did: `SELECT`, `COMMIT`. */
export interface SqlResult {
  readonly rows: readonly SqlRow[];
  readonly command: string;
}

/** Which session of which server: process ids are used again, their start times are not. */
export interface BackendIdentity {
  readonly pid: number;
  /** As PostgreSQL writes it. */
  readonly startedAt: string;
}

export interface LaneComponents {
  readonly clock: Clock;
  readonly options: ResolvedPostgresOptions;
  readonly host: PostgresHost;
  /** Called once, when it can no longer be used. */
  readonly onEnd: () => void;
  readonly onNotify?: ((channel: string, payload: string) => void) | undefined;
}

/** The server's transaction may be applied here without being on the standby. */
export class NotReplicatedError extends Error {
  override readonly name = "NotReplicatedError";
}

/** The statement never left: the connection had ended before. */
export class NotSentError extends Error {
  override readonly name = "NotSentError";

  constructor() {
    super("the connection had ended before");
  }
}

/** The server was not there in time. */
export class ConnectTimeoutError extends Error {
  override readonly name = "ConnectTimeoutError";
}

/** Beyond the server's own time limit for a statement, for its answer to arrive. */
const ANSWER_MS = 2_000;
const KEEP_ALIVE_S = 30;

export class PostgresLane {
  readonly host: PostgresHost;
  readonly #clock: Clock;
  readonly #onEnd: () => void;
  #sql: postgres.Sql | undefined;
  #socket: Socket | undefined;
  #ended = false;
  #notReplicated = false;
  /** Set by whoever opened it. */
  identity: BackendIdentity | undefined;

  constructor(components: LaneComponents) {
    this.host = components.host;
    this.#clock = components.clock;
    this.#onEnd = components.onEnd;
  }

  /** Connects, and runs `setup`, which has no parameters. All of it takes `connectTimeoutMs` at most. */
  async open(components: LaneComponents, setup: string): Promise<readonly SqlResult[]> {
    const { options } = components;
    let late = false;
    const timer = this.#clock.schedule(options.connectTimeoutMs, () => {
      late = true;
      this.destroy();
    });
    try {
      // Asked here, not by the client, in which a password that fails to come would reject unseen.
      const password = await options.password();
      this.#sql = this.#client(components, password);
      const results: unknown = await this.#sql.unsafe(setup);
      return resultsOf(results);
    } catch (error) {
      this.destroy();
      if (!late) throw error;
      throw new ConnectTimeoutError(`it did not answer within ${options.connectTimeoutMs} ms`);
    } finally {
      timer.cancel();
    }
  }

  get usable(): boolean {
    return !this.#ended && this.#socket !== undefined && !this.#socket.destroyed;
  }

  /**
   * Runs a prepared statement. Rejects with the server's error, or with one that says that there was no answer within `withinMs` and
   * `ANSWER_MS`; then the lane has ended.
   */
  async query(text: string, values: readonly SqlValue[], withinMs: number): Promise<SqlResult> {
    const sql = this.#sql;
    if (sql === undefined || this.#ended) throw new NotSentError();
    const pending = sql.unsafe(text, [...values], { prepare: true });
    const result = await this.#answer(pending, withinMs + ANSWER_MS);
    if (this.#notReplicated) {
      this.#notReplicated = false;
      throw new NotReplicatedError("the wait for the synchronous standby was cancelled");
    }
    return { rows: result as unknown as readonly SqlRow[], command: result.command };
  }

  /** Runs several statements without parameters. */
  async script(text: string, withinMs: number): Promise<void> {
    if (this.#sql === undefined || this.#ended) throw new NotSentError();
    await this.#answer(this.#sql.unsafe(text), withinMs + ANSWER_MS);
  }

  /** Says good-bye to the server. */
  async close(): Promise<void> {
    const sql = this.#sql;
    const socket = this.#socket;
    this.#end();
    const timer = this.#clock.schedule(ANSWER_MS, () => socket?.destroy());
    await sql?.end({ timeout: ANSWER_MS / 1_000 }).catch(() => {});
    timer.cancel();
    socket?.destroy();
  }

  /** At once, whatever is under way. */
  destroy(): void {
    const sql = this.#sql;
    this.#end();
    this.#socket?.destroy();
    // Rejects what still waits, also where the socket's end came to nobody's ears.
    sql?.end({ timeout: 0 }).catch(() => {});
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
  }

  async #answer<T>(pending: PromiseLike<T>, withinMs: number): Promise<T> {
    const late = Promise.withResolvers<never>();
    const timer = this.#clock.schedule(withinMs, () => {
      late.reject(new Error(`no answer within ${Math.round(withinMs)} ms`));
      this.destroy();
    });
    try {
      return await Promise.race([pending, late.promise]);
    } finally {
      timer.cancel();
    }
  }

  #client(components: LaneComponents, password: string): postgres.Sql {
    const { options, host, onNotify } = components;
    const settings = {
      host: host.host,
      port: host.port,
      user: options.user,
      // A function, because an empty text would make the client look into the environment.
      password: () => password,
      database: options.database,
      ssl: tlsOf(options, host),
      max: 1,
      idle_timeout: 0,
      max_lifetime: null,
      connect_timeout: 0,
      keep_alive: KEEP_ALIVE_S,
      prepare: true,
      fetch_types: false,
      backoff: () => 0,
      target_session_attrs: undefined,
      connection: { application_name: "streamhouse" },
      types: columnTypes,
      onnotice: (notice: postgres.Notice) => this.#noticed(notice),
      onclose: () => this.#end(),
      socket: () => this.#connect(host),
      ...(onNotify === undefined ? {} : { onnotify: onNotify }),
    };
    return postgres(settings as unknown as postgres.Options<Record<string, postgres.PostgresType>>);
  }

  /** Only once: a second connection would have no session settings. */
  #connect(host: PostgresHost): Promise<Socket> {
    if (this.#socket !== undefined || this.#ended) throw new NotSentError();
    const socket = new Socket();
    this.#socket = socket;
    socket.setNoDelay(true);
    return new Promise((resolve, reject) => {
      const failed = (error: Error) => reject(error);
      const ended = () => reject(new Error("no connection within connect_timeout"));
      socket.once("error", failed);
      socket.once("close", ended);
      socket.connect(host.port, host.host, () => {
        socket.off("error", failed);
        socket.off("close", ended);
        // For the name in a TLS certificate: the client reads it there.
        resolve(Object.assign(socket, { host: host.host, port: host.port }));
      });
    });
  }

  #noticed(notice: postgres.Notice): void {
    // By the name of the server's own function, because messages are in its language.
    if (notice.routine === "SyncRepWaitForLSN") this.#notReplicated = true;
  }
}

/** `verify-full`: the client by itself would compare a certificate with `localhost` where the URL has an IP address. */
function tlsOf({ ssl, ca }: ResolvedPostgresOptions, { host }: PostgresHost) {
  if (ssl !== "verify-full") return ssl;
  return {
    rejectUnauthorized: true,
    ...(ca !== undefined && { ca }),
    checkServerIdentity: (_name: string, certificate: PeerCertificate) =>
      checkServerIdentity(host, certificate),
  };
}

const columnTypes = {
  int8: { to: 20, from: [20], serialize: String, parse: safeInteger },
  bytea: { to: 17, from: [17], serialize: toHex, parse: fromHex },
};

/** Offsets and times: every number that we store is safe; anything else is not ours. */
function safeInteger(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  throw new RangeError(`${text} is beyond JavaScript's safe integers`);
}

function toHex(bytes: Uint8Array): string {
  return `\\x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")}`;
}

/** Of its own memory: the client's buffers are larger, and used again. */
function fromHex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.slice(2), "hex"));
}

/**
 * An array literal (https://www.postgresql.org/docs/15/arrays.html#ARRAYS-IO). With its own array types the client would ask
 * each new connection for the server's list of types, and infer from the first element.
 */
export function arrayOf(values: readonly (number | string | Uint8Array)[]): string {
  return `{${values.map(elementOf).join(",")}}`;
}

function elementOf(value: number | string | Uint8Array): string {
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return `"${value.replace(/["\\]/g, "\\$&")}"`;
  return `"\\${toHex(value)}"`;
}

/** One statement without parameters answers its rows; several answer a list. */
function resultsOf(results: unknown): readonly SqlResult[] {
  const lists = results as (SqlRow[] & { command: string }) | (SqlRow[] & { command: string })[];
  const all = Array.isArray(lists[0]) ? (lists as (SqlRow[] & { command: string })[]) : [lists];
  return all.map((rows) => ({
    rows: rows as SqlRow[],
    command: (rows as { command: string }).command,
  }));
}
