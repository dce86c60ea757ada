/**
 * Which of the servers is the primary, and connections to it that are ready for use. A server in recovery, read-only, or of a past
 * that a fail-over left behind is a server that is not there. Called by `postgres-pool.ts`, `postgres-listener.ts` and the migrations.
 */
import type { Clock } from "../core/clock.ts";
import { StreamHouseError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { postgresError, sqlState } from "./postgres-errors.ts";
import { ConnectTimeoutError, PostgresLane } from "./postgres-lane.ts";
import type { PostgresHost, ResolvedPostgresOptions } from "./postgres-options.ts";
import { booleanOf, numberOf, type SqlRow, textOf } from "./sql-rows.ts";

export interface OpenOptions {
  /** In words, for messages. */
  readonly doing: string;
  /** Our tables are there. */
  readonly settled: boolean;
  readonly onEnd: (lane: PostgresLane) => void;
  readonly onNotify?: ((channel: string, payload: string) => void) | undefined;
}

/** PL/pgSQL with what our functions use; older ones are past their end of life. */
const VERSION_MIN = 140_000;

export class PostgresServers {
  readonly #options: ResolvedPostgresOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #preferred = 0;
  /** The newest timeline seen: a fail-over begins a new one. */
  #timeline = 0;
  #warned = "";

  constructor(
    options: ResolvedPostgresOptions,
    components: { readonly clock: Clock; readonly logger: Logger },
  ) {
    this.#options = options;
    this.#clock = components.clock;
    this.#logger = components.logger;
  }

  /** The last one that was the primary is asked first. @throws StreamHouseError `METADATA_UNAVAILABLE`, outcome `none` */
  async open(open: OpenOptions): Promise<PostgresLane> {
    const { hosts } = this.#options;
    const failures: StreamHouseError[] = [];
    for (let i = 0; i < hosts.length; i++) {
      const at = (this.#preferred + i) % hosts.length;
      const host = hosts[at];
      if (host === undefined) continue;
      try {
        const lane = await this.#openAt(host, open).catch((error) => {
          // Broken off half-way, as by a network that had a moment: it is asked once more.
          if (error instanceof ConnectTimeoutError || StreamHouseError.is(error)) throw error;
          if (sqlState(error) !== undefined) throw error;
          return this.#openAt(host, open);
        });
        this.#preferred = at;
        return lane;
      } catch (error) {
        const name = `${host.host}:${host.port}/${this.#options.database}`;
        failures.push(postgresError(error, { doing: open.doing, name, unanswered: "none" }));
      }
    }
    const [first, ...others] = failures;
    if (first !== undefined && others.length === 0) throw first;
    throw new StreamHouseError({
      code: "METADATA_UNAVAILABLE",
      kind: "unavailable",
      message: `none of the servers can be used: ${failures.map((it) => it.message).join("; ")}`,
      cause: first,
    });
  }

  async #openAt(host: PostgresHost, open: OpenOptions): Promise<PostgresLane> {
    const options = this.#options;
    const components = {
      clock: this.#clock,
      options,
      host,
      onEnd: () => open.onEnd(lane),
      onNotify: open.onNotify,
    };
    const lane: PostgresLane = new PostgresLane(components);
    const results = await lane.open(components, setupOf(options, open.settled));
    const state = results[0]?.rows[0];
    try {
      if (state === undefined) throw new Error("it does not tell its state");
      this.#check(state);
    } catch (error) {
      lane.destroy();
      throw error;
    }
    lane.identity = { pid: numberOf(state, "pid"), startedAt: textOf(state, "started_at") };
    this.#warn(state);
    return lane;
  }

  #check(state: SqlRow): void {
    const version = numberOf(state, "version");
    if (version < VERSION_MIN) {
      throw unusable(
        `it has PostgreSQL ${Math.floor(version / 10_000)}: 14 is the oldest that works`,
      );
    }
    if (booleanOf(state, "recovering")) throw unusable("it is a standby");
    if (booleanOf(state, "read_only")) throw unusable("it is read-only");
    const timeline = numberOf(state, "timeline");
    if (timeline < this.#timeline) {
      throw unusable(
        `its timeline ${timeline} was left by a fail-over to ${this.#timeline}: it must follow the new ` +
          "primary (if that is meant, start the agents anew)",
      );
    }
    this.#timeline = timeline;
  }

  /** Once for each thing that is not as it should be. */
  #warn(state: SqlRow): void {
    const dangers = [
      textOf(state, "standbys") === ""
        ? "synchronous_standby_names is empty: a fail-over to a standby can lose what was acknowledged"
        : "",
      booleanOf(state, "synced") ? "" : "fsync is off: a power cut can lose what was acknowledged",
    ].filter((it) => it !== "");
    const warned = dangers.join();
    if (warned === this.#warned) return;
    this.#warned = warned;
    for (const danger of dangers) this.#logger.warn(danger, { metadata: this.#options.name });
  }
}

/**
 * What each session begins with. `remote_apply` is more than `on` and is left. With our tables there, it then writes: the answer
 * comes when the standby has what this server showed until now. So nothing is ever read that a fail-over takes back, as it could
 * after a crash: recovery makes transactions visible for whose standby nobody waited any more.
 */
function setupOf(options: ResolvedPostgresOptions, settled: boolean): string {
  const { statementTimeoutMs, schema } = options;
  const settings: readonly (readonly [string, string])[] = [
    ["statement_timeout", `'${statementTimeoutMs}'`],
    // An agent that stalls in the middle of a transaction must not hold its locks.
    ["idle_in_transaction_session_timeout", `'${Math.min(statementTimeoutMs, 5_000)}'`],
    ["search_path", `'${schema}'`],
    ["default_transaction_isolation", "'read committed'"],
    ["client_min_messages", "'warning'"],
    ["bytea_output", "'hex'"],
    // Compiling a plan takes longer than any of our statements.
    ["jit", "'off'"],
  ];
  const select =
    "SELECT pg_is_in_recovery() AS recovering, pg_backend_pid() AS pid, " +
    "current_setting('transaction_read_only') = 'on' AS read_only, " +
    "current_setting('server_version_num')::int4 AS version, " +
    "current_setting('synchronous_standby_names') AS standbys, " +
    "current_setting('fsync') = 'on' AS synced, " +
    "CASE WHEN pg_is_in_recovery() THEN 0 ELSE " +
    "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4 END AS timeline, " +
    "(SELECT backend_start::text FROM pg_stat_get_activity(pg_backend_pid())) AS started_at, " +
    "set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') = 'remote_apply' " +
    "THEN 'remote_apply' ELSE 'on' END, false), " +
    settings.map(([name, value]) => `set_config('${name}', ${value}, false)`).join(", ");
  if (!settled) return select;
  return `${select}; UPDATE "${schema}".counters SET value = value + 1 WHERE name = 'connections'`;
}

function unusable(why: string): StreamHouseError {
  return new StreamHouseError({
    code: "METADATA_UNAVAILABLE",
    kind: "unavailable",
    message: `the server cannot be used: ${why}`,
  });
}
