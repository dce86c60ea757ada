/**
 * One SQLite connection: opening, migrating, prepared statements, transactions. Nothing here knows a table. Everything is
 * synchronous, so a transaction cannot be entered twice; what it costs is time on the event loop, so statements are prepared
 * once and transactions are short. Called by the rooms `sqlite-*.ts`.
 *
 * How the runtimes' `node:sqlite` differ, and what follows (tried on Node 22.15 to 24, Bun 1.4.5, Deno 2.9):
 * - numbers: a JavaScript number is bound as REAL when SQLite cannot see that an integer is wanted, so every table is STRICT and
 *   stores integers; reading one beyond 2^53 throws everywhere, and none can be stored by this program;
 * - blobs come back as `Uint8Array` of their own memory on all three; a view is bound as the view;
 * - `undefined` is refused as a parameter everywhere, booleans on Bun and Deno: neither is ever bound;
 * - numbered parameters (`?1`) cannot be bound by position in Node 22.15: only plain `?` is used;
 * - the constructor's `timeout`, `isTransaction` and `setReturnArrays` are missing in Node 22.15: not used;
 * - error codes: see `sqlite-errors.ts`.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { Clock } from "../core/clock.ts";
import { closed } from "../core/errors.ts";
import { type Migration, migrations, pendingMigrations } from "./schema.ts";
import type { SqlRow } from "./sql-rows.ts";
import { sqliteError } from "./sqlite-errors.ts";

/** What a column can hold or be given. */
export type SqlValue = null | number | string | Uint8Array;

export interface SqliteDatabaseOptions {
  readonly path: string;
  readonly clock: Clock;
  /** Default: the real ones. Tests bring their own. */
  readonly migrations?: readonly Migration[] | undefined;
}

/** The reading half of a connection. */
export type SqlReader = Pick<SqliteDatabase, "get" | "all">;

/** Nobody else should have the file open; a backup tool may for a moment. The wait blocks the event loop. */
const BUSY_TIMEOUT_MS = 100;

/** The wall clock was set if it moved by so much more, or less, than time did between two transactions. */
const JUMP_MS = 1_000;

interface ClockReading {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

export class SqliteDatabase {
  readonly path: string;
  readonly #clock: Clock;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  /** Whether readers of other connections are not in the way of writing: not in memory, nor where WAL is not to be had. */
  readonly isWal: boolean;
  #closed = false;
  /** Both clocks at the last transaction that was committed. */
  #seen: ClockReading | undefined;

  /** @throws StreamHouseError `METADATA_TOO_NEW`, `METADATA_UNAVAILABLE`, `DATA_FOLDER_UNUSABLE`, `STORE_FULL` */
  constructor(options: SqliteDatabaseOptions) {
    this.path = options.path;
    this.#clock = options.clock;
    let database: DatabaseSync | undefined;
    try {
      database = new DatabaseSync(options.path);
      this.#database = database;
      // FULL: every commit is synced. See docs/decisions/0001-sqlite-synchronous.md.
      database.exec(
        `PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;`,
      );
      this.#migrate(options.migrations ?? migrations);
      this.isWal = database.prepare("PRAGMA journal_mode").get()?.journal_mode === "wal";
    } catch (error) {
      database?.close();
      throw sqliteError(error, "opening the database", options.path);
    }
  }

  /**
   * Runs `work` in one writing transaction. The clock is read after the lock is held. What `work` throws rolls everything back.
   * @throws StreamHouseError as `sqliteError`, and what `work` throws
   */
  write<T>(doing: string, work: (nowMs: number) => T): T {
    return this.#transaction("BEGIN IMMEDIATE", doing, work);
  }

  /** One consistent snapshot. */
  read<T>(doing: string, work: (nowMs: number) => T): T {
    return this.#transaction("BEGIN", doing, work);
  }

  run(sql: string, ...values: SqlValue[]): { readonly changes: number; readonly rowId: number } {
    const { changes, lastInsertRowid } = this.#prepare(sql).run(...values);
    return { changes: Number(changes), rowId: Number(lastInsertRowid) };
  }

  get(sql: string, ...values: SqlValue[]): SqlRow | undefined {
    return this.#prepare(sql).get(...values);
  }

  all(sql: string, ...values: SqlValue[]): readonly SqlRow[] {
    return this.#prepare(sql).all(...values);
  }

  /** Before a read by another connection: if the clock was set, leases and sessions are moved with it now. */
  followClock(): void {
    const now = { wallMs: this.#clock.now(), monotonicMs: this.#clock.monotonic() };
    if (this.#jump(now) !== 0) this.write("following the clock", () => {});
  }

  /** How far the wall clock was set since the last transaction. */
  #jump(now: ClockReading): number {
    if (this.#seen === undefined) return 0;
    const passed = now.monotonicMs - this.#seen.monotonicMs;
    const jumped = Math.round(now.wallMs - this.#seen.wallMs - passed);
    return Math.abs(jumped) > JUMP_MS ? jumped : 0;
  }

  /**
   * Leases and sessions end by the wall clock, which is all that a later process could compare with. When that clock is set, they move
   * with it: nobody's time is over, or goes on for hours, because an operator corrected the date. Within a transaction.
   */
  #moveExpiries(byMs: number): void {
    this.run("UPDATE runs SET expires_at_ms = expires_at_ms + ?", byMs);
    this.run("UPDATE members SET expires_at_ms = expires_at_ms + ?", byMs);
    this.run("UPDATE assignments SET revoke_by_ms = revoke_by_ms + ? WHERE revoke_by_ms > 0", byMs);
    // The next heartbeat looks when the one after it has to.
    this.run("UPDATE consumer_groups SET check_at_ms = 0");
  }

  /** Idempotent. The last connection of a WAL database brings the log into the file as it closes. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#statements.clear();
    this.#database.close();
  }

  #transaction<T>(begin: string, doing: string, work: (nowMs: number) => T): T {
    if (this.#closed) throw closed(`metadata ${this.path}`);
    let committing = false;
    try {
      this.#prepare(begin).run();
      const now = { wallMs: this.#clock.now(), monotonicMs: this.#clock.monotonic() };
      const jumpedMs = this.#jump(now);
      if (jumpedMs !== 0) this.#moveExpiries(jumpedMs);
      const result = work(now.wallMs);
      committing = true;
      this.#prepare("COMMIT").run();
      this.#seen = now;
      return result;
    } catch (error) {
      this.#rollBack();
      throw sqliteError(error, doing, this.path, committing);
    }
  }

  #rollBack(): void {
    try {
      this.#prepare("ROLLBACK").run();
    } catch {
      // There is none: it never began, or SQLite has rolled it back itself (a full disk, a failed write).
    }
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** All in one transaction, so that a crash leaves the old version whole, and two starters do not meet half-way. */
  #migrate(known: readonly Migration[]): void {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      const current = Number(this.#database.prepare("PRAGMA user_version").get()?.user_version);
      for (const { version, sql } of pendingMigrations(current, this.path, known)) {
        this.#database.exec(sql);
        this.#database.exec(`PRAGMA user_version = ${version}`);
      }
      this.#database.exec("COMMIT");
    } catch (error) {
      this.#rollBack();
      throw error;
    }
  }
}
