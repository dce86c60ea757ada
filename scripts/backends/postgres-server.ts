/**
 * One PostgreSQL server as a child process, over a folder that was made by `initdb` or `pg_basebackup`: start, stop, crash, promote.
 * It ends when the process that started it dies, in whatever way. Made by `postgres.ts`.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";

export const POSTGRES_USER = "streamhouse";
export const POSTGRES_PASSWORD = "only-for-tests";

/** Lines of postgresql.conf, beyond or instead of those below. */
export type PostgresSettings = Readonly<Record<string, string>>;

/**
 * A crash of the server's processes loses nothing without `fsync`, because the operating system lives on: tests are faster without.
 * Whoever measures turns it on.
 */
const settings: PostgresSettings = {
  fsync: "off",
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  shared_buffers: "32MB",
  max_connections: "100",
  max_wal_senders: "5",
  wal_level: "replica",
  log_min_messages: "warning",
};

export const READY_WITHIN_MS = 60_000;

/** `fast` ends sessions and writes everything down; `immediate` is a crash that recovers at the next start. */
export type StopMode = "fast" | "immediate";

const stopSignals: Readonly<Record<StopMode, string>> = { fast: "INT", immediate: "QUIT" };

export class PostgresServer {
  readonly port: number;
  readonly folder: string;
  readonly #bin: string;
  readonly #settings: PostgresSettings;
  #supervisor: ChildProcess | undefined;
  #output = "";
  #databases = 0;

  constructor(bin: string, folder: string, port: number, more: PostgresSettings) {
    this.#bin = bin;
    this.folder = folder;
    this.port = port;
    this.#settings = { ...settings, ...more };
  }

  /** Of a database that every server has. */
  get url(): string {
    return this.urlOf("postgres");
  }

  urlOf(database: string): string {
    return `postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@127.0.0.1:${this.port}/${database}`;
  }

  /** Makes an empty database of its own for a test, and answers its URL. */
  async createDatabase(name: string = `test_${++this.#databases}`): Promise<string> {
    await this.query(`CREATE DATABASE "${name}"`);
    return this.urlOf(name);
  }

  /** Runs statements as the superuser, each in its own transaction; answers the last one's rows. */
  async query(
    statement: string,
    database = "postgres",
  ): Promise<readonly Record<string, unknown>[]> {
    const sql = postgres(this.urlOf(database), { max: 1, onnotice: () => {}, connect_timeout: 10 });
    try {
      return [...(await sql.unsafe(statement))];
    } finally {
      await sql.end({ timeout: 1 });
    }
  }

  /** Starts it, or starts it again on the same port. Resolves when it answers. @throws Error with its log */
  async start(): Promise<void> {
    if (this.#supervisor !== undefined) throw new Error(`port ${this.port}: it runs already`);
    const options = Object.entries({ ...this.#settings, port: String(this.port) });
    const args = options.flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    this.#output = "";
    const supervisor = spawn(
      "/bin/sh",
      [
        "-c",
        SUPERVISE,
        this.folder,
        join(this.#bin, "postgres"),
        "-D",
        dataOf(this.folder),
        ...args,
      ],
      { stdio: ["pipe", "pipe", "pipe"], ...unprivileged() },
    );
    this.#supervisor = supervisor;
    const read = (bytes: Uint8Array): void => {
      this.#output = (this.#output + new TextDecoder().decode(bytes)).slice(-100_000);
    };
    supervisor.stdout.on("data", read);
    supervisor.stderr.on("data", read);
    supervisor.stdin.on("error", () => {});
    try {
      await this.#ready();
    } catch (error) {
      await this.stop("immediate");
      throw error;
    }
  }

  /** Idempotent. Resolves when all its processes that matter have ended; the data stays. */
  async stop(mode: StopMode = "fast"): Promise<void> {
    const supervisor = this.#supervisor;
    if (supervisor === undefined) return;
    this.#supervisor = undefined;
    if (supervisor.exitCode !== null || supervisor.signalCode !== null) return;
    const ended = once(supervisor, "close");
    supervisor.stdin?.end(`${stopSignals[mode]}\n`);
    await ended;
  }

  /** Ends it like a crash if it runs, and deletes its data. */
  async remove(): Promise<void> {
    await this.stop("immediate");
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** A standby becomes a primary. Resolves when it takes writes. */
  async promote(): Promise<void> {
    await this.query("SELECT pg_promote(true, 60)");
  }

  /** Process id of the server's first process, while there is one. */
  get pid(): number | undefined {
    try {
      return Number(
        readFileSync(join(dataOf(this.folder), "postmaster.pid"), "utf8").split("\n")[0],
      );
    } catch {
      return undefined;
    }
  }

  /** The end of its log. */
  get log(): string {
    return this.#output;
  }

  async #ready(): Promise<void> {
    const answered = await until(async () => {
      if (this.#supervisor?.exitCode !== null) return true;
      if (/FATAL/.test(this.#output) && this.pid === undefined) return true;
      return this.query("SELECT 1").then(
        () => true,
        () => false,
      );
    }, READY_WITHIN_MS);
    const pid = this.pid;
    if (answered && pid !== undefined && isAlive(pid)) return;
    throw new Error(`PostgreSQL on port ${this.port} does not answer: ${this.#output}`);
  }
}

/**
 * Sends the server the signal that it reads, and then its data is kept. When its input ends without a word, we have died: then the
 * server is ended, and its data deleted.
 */
const SUPERVISE = `
"$@" </dev/null & server=$!
read signal
kill "-\${signal:-QUIT}" $server 2>/dev/null
wait $server
[ -n "$signal" ] || rm -rf "$0"
`;

export function dataOf(folder: string): string {
  return join(folder, "data");
}

/** PostgreSQL refuses to run as root: the account to run its programs as. Nothing, unless we are root. */
export function unprivileged(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  for (const account of ["postgres", "nobody"]) {
    const [uid, gid] = ["-u", "-g"].map((of) =>
      Number(spawnSync("id", [of, account], { encoding: "utf8" }).stdout.trim() || Number.NaN),
    );
    if (Number.isInteger(uid) && Number.isInteger(gid)) {
      return { uid: uid as number, gid: gid as number };
    }
  }
  throw new Error("PostgreSQL does not run as root, and there is no account postgres or nobody");
}

export async function until(
  done: () => boolean | Promise<boolean>,
  withinMs: number,
): Promise<boolean> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    if (await done()) return true;
    if (performance.now() > deadline) return false;
    await wait(50);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
