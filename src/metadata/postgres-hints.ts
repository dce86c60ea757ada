/**
 * Hints between agents: what changed here is told to the others by NOTIFY, what changed there comes by LISTEN on a connection of its
 * own. Never part of another transaction, because NOTIFY takes a lock of the whole database until its commit
 * (`PreCommit_Notify` in https://doxygen.postgresql.org/async_8c_source.html). While nothing can be heard, whoever watches is woken
 * each second, to look by itself. Used by `createPostgresMetadata`.
 */
import type { Clock, Timer } from "../core/clock.ts";
import type { RandomBytes } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import { backoffMs } from "../core/retry.ts";
import type { MetadataHint } from "./metadata-store.ts";
import { arrayOf, type PostgresLane } from "./postgres-lane.ts";
import type { PostgresPool } from "./postgres-pool.ts";

/** Hints to others are this far apart at least; what is due meanwhile goes together. */
const TELL_MS = 50;
/** How often the connection is tried, so that one whose other end is gone does not seem quiet for ever. */
const PING_MS = 10_000;
const PING_WITHIN_MS = 3_000;
/** How often those who watch are woken while nothing can be heard. */
const DEAF_MS = 1_000;
const RETRY = { baseMs: 100, maxMs: 5_000 };

const hints: readonly MetadataHint[] = ["assignment", "log"];

export interface PostgresHintsComponents {
  readonly pool: PostgresPool;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  /** Tells this store's hints from others': a store does not hear itself. */
  readonly storeId: string;
  readonly wake: (hint: MetadataHint) => void;
}

export class PostgresHints {
  readonly #components: PostgresHintsComponents;
  readonly #channel: string;
  readonly #due = new Set<MetadataHint>();
  #toldAt = Number.NEGATIVE_INFINITY;
  #telling: Timer | undefined;
  #lane: PostgresLane | undefined;
  /** The next ping, attempt to listen, or waking of who watches. */
  #timers = new Set<Timer>();
  #listening = false;
  #closed = false;

  constructor(components: PostgresHintsComponents) {
    this.#components = components;
    // Channels are the database's, so that two schemas need two.
    this.#channel = `streamhouse_${components.pool.options.schema}`;
  }

  /** Whether changes by others are heard at this moment. For tests. */
  get hears(): boolean {
    return this.#lane?.usable === true;
  }

  /** To the others, soon. A hint that fails is lost: they look by themselves, too. */
  tell(hint: MetadataHint): void {
    if (this.#closed) return;
    this.#due.add(hint);
    if (this.#telling !== undefined) return;
    const { clock } = this.#components;
    const inMs = Math.max(0, this.#toldAt + TELL_MS - clock.monotonic());
    this.#telling = clock.schedule(inMs, () => void this.#tell(), { background: true });
  }

  /** From now on until `close`. Idempotent. */
  listen(): void {
    if (this.#listening || this.#closed) return;
    this.#listening = true;
    void this.#listen(1);
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#telling?.cancel();
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    await this.#lane?.close();
  }

  async #tell(): Promise<void> {
    const { clock, logger, pool, storeId } = this.#components;
    const payloads = [...this.#due].map((hint) => `${hint} ${storeId}`);
    this.#due.clear();
    this.#toldAt = clock.monotonic();
    try {
      // Nobody needs to wait for a disk or a standby: a hint may be lost.
      await pool.run(
        { doing: "telling others of a change", reads: true },
        "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, it) FROM unnest($2::text[]) it",
        this.#channel,
        arrayOf(payloads),
      );
    } catch (error) {
      logger.debug("other agents were not told of a change: they will look by themselves", {
        error,
      });
    } finally {
      this.#telling = undefined;
      const [next] = this.#due;
      if (next !== undefined) this.tell(next);
    }
  }

  async #listen(attempt: number): Promise<void> {
    const { logger, pool, random } = this.#components;
    try {
      const lane = await pool.servers.open({
        doing: "listening for changes",
        settled: true,
        onEnd: (ended) => this.#lost(ended),
        onNotify: (_, payload) => this.#heard(payload),
      });
      this.#lane = lane;
      await lane.query(`LISTEN "${this.#channel}"`, [], PING_WITHIN_MS);
      if (this.#closed) await lane.close();
      else this.#after(PING_MS, () => void this.#ping(lane));
      // What was told in between was not heard.
      this.#wakeAll();
    } catch (error) {
      const lane = this.#lane;
      this.#lane = undefined;
      lane?.destroy();
      if (this.#closed) return;
      logger.debug("changes by other agents are not heard: looking each second", { error });
      this.#wakeAll();
      const pauseMs = Math.min(backoffMs(RETRY, attempt, random), DEAF_MS);
      this.#after(pauseMs, () => void this.#listen(attempt + 1));
    }
  }

  #lost(ended: PostgresLane): void {
    if (this.#lane !== ended || this.#closed) return;
    this.#lane = undefined;
    void this.#listen(1);
  }

  async #ping(lane: PostgresLane): Promise<void> {
    try {
      await lane.query("SELECT 1", [], PING_WITHIN_MS);
      this.#after(PING_MS, () => void this.#ping(lane));
    } catch {
      lane.destroy();
    }
  }

  #heard(payload: string): void {
    const [hint, storeId] = payload.split(" ");
    if (storeId === this.#components.storeId) return;
    const known = hints.find((it) => it === hint);
    if (known !== undefined) this.#components.wake(known);
  }

  #wakeAll(): void {
    if (this.#closed) return;
    for (const hint of hints) this.#components.wake(hint);
  }

  #after(delayMs: number, work: () => void): void {
    if (this.#closed) return;
    const timer = this.#components.clock.schedule(
      delayMs,
      () => {
        this.#timers.delete(timer);
        work();
      },
      { background: true },
    );
    this.#timers.add(timer);
  }
}
