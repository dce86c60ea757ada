/**
 * A few connections to the server that is the primary, and how statements and transactions are run on them: retries of what was
 * certainly not applied, time limits, errors. Knows no table but the counter that each new connection writes. Called by the rooms
 * `postgres-*.ts`.
 */
import { type Clock, sleep, type Timer } from "../core/clock.ts";
import { closed, type ErrorOutcome, StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import { backoffMs } from "../core/retry.ts";
import { isPassing, postgresError, sqlState } from "./postgres-errors.ts";
import {
  type BackendIdentity,
  NotSentError,
  type PostgresLane,
  type SqlValue,
} from "./postgres-lane.ts";
import type { ResolvedPostgresOptions } from "./postgres-options.ts";
import { PostgresServers } from "./postgres-servers.ts";
import type { SqlRow } from "./sql-rows.ts";

export interface PostgresPoolComponents {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: RandomBytes;
}

/** One transaction of several statements. */
export interface PostgresTransaction {
  all(sql: string, ...values: SqlValue[]): Promise<readonly SqlRow[]>;
  get(sql: string, ...values: SqlValue[]): Promise<SqlRow | undefined>;
}

export interface StatementOptions {
  /** In words, for messages. */
  readonly doing: string;
  /** Nothing is changed: what had no answer is asked again. Default false. */
  readonly reads?: boolean;
  /** Goes before what waits for a connection: what keeps leases, and what acknowledges records. Default false. */
  readonly urgent?: boolean;
}

interface Waiter {
  readonly resolve: (lane: PostgresLane) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: Timer;
}

/** Calls that wait for a connection; more are refused. */
const WAITING_MAX = 1_000;
/** For what the database gave up because of somebody else's transaction. */
const ATTEMPTS_MAX = 6;
const RETRY = { baseMs: 5, maxMs: 200 };
/** Sessions that may still be committing; the oldest are forgotten. */
const UNCLEAR_MAX = 100;

export class PostgresPool {
  readonly options: ResolvedPostgresOptions;
  readonly #components: PostgresPoolComponents;
  readonly #servers: PostgresServers;
  readonly #lanes = new Set<PostgresLane>();
  readonly #idle: PostgresLane[] = [];
  #waiting: Waiter[] = [];
  #opening = 0;
  #unclear: BackendIdentity[] = [];
  #closed = false;

  constructor(options: ResolvedPostgresOptions, components: PostgresPoolComponents) {
    this.options = options;
    this.#components = components;
    this.#servers = new PostgresServers(options, components);
  }

  get servers(): PostgresServers {
    return this.#servers;
  }

  /**
   * Runs one statement, which is its own transaction.
   * @throws StreamHouseError as `postgresError`; `CLOSED`
   */
  run(options: StatementOptions, sql: string, ...values: SqlValue[]): Promise<readonly SqlRow[]> {
    return this.#retried(options, async (lane) => {
      const unanswered = options.reads === true ? "none" : "unknown";
      const { rows } = await this.#ask(lane, sql, values, options.doing, unanswered);
      return rows;
    });
  }

  /** Runs `work` between BEGIN and COMMIT; anew from its beginning if the database gave it up. What it throws rolls back. */
  transaction<T>(
    options: StatementOptions & { readonly begin?: string },
    work: (tx: PostgresTransaction) => Promise<T>,
  ): Promise<T> {
    return this.#retried(options, async (lane) => {
      const ask = (sql: string, values: readonly SqlValue[], unanswered: ErrorOutcome = "none") =>
        this.#ask(lane, sql, values, options.doing, unanswered);
      const all = async (sql: string, ...values: SqlValue[]) => (await ask(sql, values)).rows;
      const get = async (sql: string, ...values: SqlValue[]) => (await all(sql, ...values))[0];
      await ask(options.begin ?? "BEGIN", []);
      let result: T;
      try {
        result = await work({ all, get });
      } catch (error) {
        await ask("ROLLBACK", []).catch(() => lane.destroy());
        throw error;
      }
      const { command } = await ask("COMMIT", [], options.reads === true ? "none" : "unknown");
      // What was given up answers ROLLBACK to COMMIT, and no error.
      if (command === "COMMIT") return result;
      throw new Error(`${options.doing}: the transaction ended with ${command}`);
    });
  }

  /** Sessions whose last write had no answer, once: whoever resolves outcomes ends them first. */
  takeUnclear(): readonly BackendIdentity[] {
    const unclear = this.#unclear;
    this.#unclear = [];
    return unclear;
  }

  /** For when they could not be ended. */
  keepUnclear(sessions: readonly BackendIdentity[]): void {
    this.#unclear = [...sessions, ...this.#unclear].slice(-UNCLEAR_MAX);
  }

  /** Idempotent. Calls that wait are refused; calls that run have a moment to end. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const waiter of waiting) {
      waiter.timer.cancel();
      waiter.reject(this.#closedError());
    }
    await Promise.all([...this.#lanes].map((lane) => lane.close()));
  }

  async #retried<T>(
    options: StatementOptions,
    work: (lane: PostgresLane) => Promise<T>,
  ): Promise<T> {
    const { clock, random } = this.#components;
    for (let attempt = 1; ; attempt++) {
      let lane: PostgresLane | undefined;
      try {
        lane = await this.#acquire(options);
        return await work(lane);
      } catch (error) {
        if (this.#closed) throw this.#closedError();
        const cause = StreamHouseError.is(error) ? error.cause : error;
        const lost = options.reads === true && lane?.usable === false && attempt === 1;
        // Also where the connection broke while it was made.
        const again = lost || cause instanceof NotSentError || isPassing(cause);
        if (attempt === ATTEMPTS_MAX || !again) throw error;
      } finally {
        if (lane !== undefined) this.#release(lane);
      }
      await sleep(clock, backoffMs(RETRY, attempt, random));
    }
  }

  async #ask(
    lane: PostgresLane,
    sql: string,
    values: readonly SqlValue[],
    doing: string,
    unanswered: ErrorOutcome,
  ): Promise<{ readonly rows: readonly SqlRow[]; readonly command: string }> {
    try {
      return await lane.query(sql, values, this.options.statementTimeoutMs);
    } catch (error) {
      // A standby now, or told to take no writes: another server, or later.
      if (sqlState(error) === "25006") lane.destroy();
      const sent = sqlState(error) === undefined && !(error instanceof NotSentError);
      const outcome = sent ? unanswered : "none";
      if (outcome === "unknown" && lane.identity !== undefined) this.keepUnclear([lane.identity]);
      throw postgresError(error, { doing, name: this.options.name, unanswered: outcome });
    }
  }

  async #acquire({ doing, urgent = false }: StatementOptions): Promise<PostgresLane> {
    if (this.#closed) throw this.#closedError();
    if (this.#waiting.length >= WAITING_MAX) {
      throw this.#exhausted(doing, `${WAITING_MAX} calls wait for one already`);
    }
    const { promise, resolve, reject } = Promise.withResolvers<PostgresLane>();
    const withinMs = this.options.statementTimeoutMs;
    const waiter: Waiter = {
      resolve,
      reject,
      timer: this.#components.clock.schedule(withinMs, () => {
        this.#waiting = this.#waiting.filter((it) => it !== waiter);
        reject(this.#exhausted(doing, `none was free within ${withinMs} ms`));
      }),
    };
    if (urgent) this.#waiting.unshift(waiter);
    else this.#waiting.push(waiter);
    this.#serve();
    return promise;
  }

  #release(lane: PostgresLane): void {
    if (lane.usable && !this.#closed) this.#idle.push(lane);
    this.#serve();
  }

  /** Gives out what is free, and opens what is missing. */
  #serve(): void {
    while (this.#waiting.length > 0) {
      const lane = this.#idle.pop();
      if (lane === undefined) break;
      if (lane.usable) this.#next()?.resolve(lane);
    }
    const room = this.options.connectionsMax - this.#lanes.size - this.#opening;
    const wanted = Math.min(room, this.#waiting.length - this.#opening);
    for (let i = 0; i < wanted; i++) void this.#open();
  }

  #next(): Waiter | undefined {
    const waiter = this.#waiting.shift();
    waiter?.timer.cancel();
    return waiter;
  }

  /** For whoever waits longest when it is there. If it fails, that one is told. */
  async #open(): Promise<void> {
    this.#opening++;
    try {
      const lane = await this.#servers.open({
        doing: "connecting",
        settled: true,
        onEnd: (ended) => {
          this.#lanes.delete(ended);
          const at = this.#idle.indexOf(ended);
          if (at >= 0) this.#idle.splice(at, 1);
        },
      });
      this.#opening--;
      if (this.#closed || !lane.usable) {
        lane.destroy();
        this.#serve();
        return;
      }
      this.#lanes.add(lane);
      this.#release(lane);
    } catch (error) {
      this.#opening--;
      this.#next()?.reject(error);
      this.#serve();
    }
  }

  #exhausted(doing: string, why: string): StreamHouseError {
    return new StreamHouseError({
      code: "METADATA_UNAVAILABLE",
      kind: "unavailable",
      message:
        `${doing} in metadata ${this.options.name} failed: all ${this.options.connectionsMax} connections ` +
        `are in use and ${why}: allow more connections, or look at what is slow in the database`,
    });
  }

  #closedError(): StreamHouseError {
    return closed(`metadata ${this.options.name}`);
  }
}
