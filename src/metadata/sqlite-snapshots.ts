/**
 * Long reads of one consistent state that hold nobody up: on a read-only connection of their own, whose transaction sees the
 * database as it was when it began (https://www.sqlite.org/isolation.html, WAL mode) while the other connection goes on
 * writing. They are read in steps, and the event loop has its turn between them. A database in memory has one connection
 * only: there a read is one step. Called by `sqlite-lag.ts`.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { type Clock, sleep } from "../core/clock.ts";
import { closed } from "../core/errors.ts";
import { TimeSlice } from "../core/time-slice.ts";
import type { SqlRow } from "./sql-rows.ts";
import type { SqliteDatabase, SqlReader, SqlValue } from "./sqlite-database.ts";
import { sqliteError } from "./sqlite-errors.ts";

/** Reads; each `yield` is a moment at which others may have their turn. */
export type ReadingSteps<T> = (reader: SqlReader, nowMs: number) => Generator<void, T, void>;

export class SqliteSnapshots {
  readonly #db: SqliteDatabase;
  readonly #clock: Clock;
  #reader: Reader | undefined;
  /** One at a time: a connection has one transaction. */
  #last: Promise<unknown> = Promise.resolve();
  /** The last one took more than one turn of the event loop. */
  #rested = false;
  #closed = false;

  constructor(db: SqliteDatabase, clock: Clock) {
    this.#db = db;
    this.#clock = clock;
  }

  /** @throws StreamHouseError as `sqliteError`, `CLOSED` if the store is closed meanwhile */
  take<T>(doing: string, steps: ReadingSteps<T>): Promise<T> {
    const taken = this.#last.then(() => this.#take(doing, steps));
    const giveWay = () => this.#giveWay();
    this.#last = taken.then(giveWay, giveWay);
    return taken;
  }

  /**
   * SQLite begins its log anew when a write finds no reader in it (https://www.sqlite.org/wal.html, "Avoiding Excessively Large WAL
   * Files"): between two long snapshots there is a turn for one.
   */
  async #giveWay(): Promise<void> {
    if (!this.#rested) return;
    this.#rested = false;
    if (!this.#closed) await sleep(this.#clock, 0);
  }

  /** Before the writing connection, so that its close is the last one. */
  close(): void {
    this.#closed = true;
    this.#reader?.close();
    this.#reader = undefined;
  }

  async #take<T>(doing: string, steps: ReadingSteps<T>): Promise<T> {
    if (!this.#db.isWal) return this.#db.read(doing, (nowMs) => toTheEnd(steps(this.#db, nowMs)));
    this.#checkOpen();
    let reader: Reader | undefined;
    try {
      this.#db.followClock();
      this.#reader ??= new Reader(this.#db.path);
      reader = this.#reader;
      reader.run("BEGIN");
      const result = await this.#inSlices(steps(reader, this.#clock.now()));
      reader.run("COMMIT");
      return result;
    } catch (error) {
      // Whatever state it is in, the next read begins with a new one.
      reader?.close();
      if (this.#reader === reader) this.#reader = undefined;
      throw sqliteError(error, doing, this.#db.path);
    }
  }

  async #inSlices<T>(steps: Generator<void, T, void>): Promise<T> {
    const slice = new TimeSlice(this.#clock);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      if (!slice.over) continue;
      this.#rested = true;
      await slice.rest();
      this.#checkOpen();
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw closed(`metadata ${this.#db.path}`);
  }
}

function toTheEnd<T>(steps: Generator<void, T, void>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** The second connection. */
class Reader implements SqlReader {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #open = true;

  constructor(path: string) {
    this.#database = new DatabaseSync(path, { readOnly: true });
  }

  run(sql: string): void {
    this.#prepare(sql).run();
  }

  get(sql: string, ...values: SqlValue[]): SqlRow | undefined {
    return this.#prepare(sql).get(...values);
  }

  all(sql: string, ...values: SqlValue[]): readonly SqlRow[] {
    return this.#prepare(sql).all(...values);
  }

  /** Idempotent. An open transaction ends with it. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#statements.clear();
    this.#database.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}
