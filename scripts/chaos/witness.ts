/**
 * The database's own account of a chaos run, written by triggers of ours in the same transactions: each flush that was committed, and
 * who held a partition's lease whenever its next offset moved. It trusts nothing that the product's code says of itself. Asked past the
 * proxies.
 */
import postgres from "postgres";
import { decodeIndex } from "../../src/format/chunk-index.ts";
import type { CommittedShare } from "./fence-check.ts";
import { until } from "./waiting.ts";

/** The agents' default schema. */
const schema = "streamhouse";

/** A run counts as expired only if it had been so for this long: the product looked at the clock a moment before the trigger does. */
const expiredSinceMs = 5_000;

const triggers = `
  CREATE SCHEMA chaos;
  CREATE TABLE chaos.flushes (flush_id int8, run_id text, entries bytea);
  CREATE TABLE chaos.moves (
    topic_id uuid, partition int4, from_offset int8, run_id text, epoch int8, expired boolean
  );
  CREATE TABLE chaos.upkeep (kind text);
  CREATE FUNCTION chaos.note_upkeep() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO chaos.upkeep VALUES (TG_ARGV[0]);
    RETURN NULL;
  END $$;
  CREATE TRIGGER chaos_merge AFTER INSERT ON ${schema}.merges
    FOR EACH ROW EXECUTE FUNCTION chaos.note_upkeep('merged');
  CREATE TRIGGER chaos_doom AFTER DELETE ON ${schema}.doomed
    FOR EACH ROW EXECUTE FUNCTION chaos.note_upkeep('deleted');
  CREATE TRIGGER chaos_sweep AFTER INSERT ON ${schema}.swept
    FOR EACH ROW EXECUTE FUNCTION chaos.note_upkeep('swept');
  CREATE FUNCTION chaos.note_flush() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO chaos.flushes VALUES (NEW.flush_id, NEW.run_id, NEW.entries);
    RETURN NULL;
  END $$;
  CREATE FUNCTION chaos.note_move() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO chaos.moves VALUES (
      NEW.topic_id, NEW.partition, OLD.next_offset, NEW.run_id, NEW.epoch,
      NOT EXISTS (
        SELECT FROM ${schema}.runs r WHERE r.run_id = NEW.run_id AND
        r.expires_at_ms > extract(epoch FROM clock_timestamp()) * 1000 - ${expiredSinceMs}
      )
    );
    RETURN NULL;
  END $$;
  CREATE TRIGGER chaos_flush AFTER INSERT ON ${schema}.flushes
    FOR EACH ROW EXECUTE FUNCTION chaos.note_flush();
  CREATE TRIGGER chaos_move AFTER UPDATE ON ${schema}.partitions
    FOR EACH ROW WHEN (OLD.next_offset <> NEW.next_offset) EXECUTE FUNCTION chaos.note_move();
`;

/** What the database says now. */
export interface Holdings {
  /** Holder and high watermark of each partition, in the partitions' order; no holder: empty. */
  readonly partitions: readonly {
    readonly topicId: string;
    readonly partition: number;
    readonly runId: string;
    readonly end: number;
  }[];
  readonly newestFlushId: number;
}

/** What became of what flushes wrote: segments merged, objects deleted that merges or retention left over, keys given up as orphans. */
export interface Upkeep {
  readonly merged: number;
  readonly deleted: number;
  readonly swept: number;
}

export class Witness {
  readonly #sql: postgres.Sql;

  constructor(url: string) {
    this.#sql = postgres(url, {
      connection: { search_path: schema },
      max: 2,
      onnotice: () => {},
      connect_timeout: 10,
    });
  }

  /** Once the tables are there. */
  async begin(): Promise<void> {
    await this.#sql.unsafe(triggers);
  }

  /** Waits for a database that is being started again. */
  async holdings(topic: string, signal?: AbortSignal): Promise<Holdings> {
    return this.#patiently("the database to tell who holds what", signal, async () => {
      const partitions = await this.#sql`
        SELECT topic_id, partition, coalesce(run_id, '') AS run_id, next_offset
        FROM partitions JOIN topics USING (topic_id) WHERE name = ${topic} ORDER BY partition`;
      const [newest] = await this.#sql`
        SELECT coalesce(max(flush_id), 0) AS flush_id FROM chaos.flushes`;
      return {
        newestFlushId: Number(newest?.flush_id),
        partitions: partitions.map((row) => ({
          topicId: String(row.topic_id),
          partition: Number(row.partition),
          runId: String(row.run_id),
          end: Number(row.next_offset),
        })),
      };
    });
  }

  /** The run that an agent's process has now; several after a twin's start, the newest last. */
  async runsOf(agentId: string, signal?: AbortSignal): Promise<readonly string[]> {
    return this.#patiently("the database to tell the runs", signal, async () => {
      const rows = await this.#sql`
        SELECT run_id FROM runs WHERE agent_id = ${agentId} ORDER BY started_at_ms`;
      return rows.map((row) => String(row.run_id));
    });
  }

  /** How many flushes these runs have committed. */
  async flushesOf(runs: readonly string[], signal?: AbortSignal): Promise<number> {
    return this.#patiently("the database to tell what was committed", signal, async () => {
      const [row] = await this.#sql`
        SELECT count(*) AS flushes FROM chaos.flushes WHERE run_id = ANY (${runs as string[]})`;
      return Number(row?.flushes);
    });
  }

  /** Everything that was committed to the topic, beside who held the lease. @throws Error if a flush moved no offset */
  async commits(topicId: string): Promise<readonly CommittedShare[]> {
    const moves = new Map<string, postgres.Row>();
    for (const row of await this.#sql`SELECT * FROM chaos.moves WHERE topic_id = ${topicId}`) {
      moves.set(`${row.partition}@${row.from_offset}`, row);
    }
    const flushes = await this.#sql`SELECT * FROM chaos.flushes ORDER BY flush_id`;
    return flushes.flatMap((flush) => {
      const entries = decodeIndex(flush.entries as Uint8Array);
      return entries
        .filter((it) => it.topicId === topicId)
        .map(({ baseOffset, epoch, partition }) => {
          const move = moves.get(`${partition}@${baseOffset}`);
          if (move === undefined) {
            throw new Error(`flush ${flush.flush_id} moved nothing at ${partition}@${baseOffset}`);
          }
          return {
            flushId: Number(flush.flush_id),
            runId: String(flush.run_id),
            partition,
            baseOffset,
            epoch,
            holder: { runId: String(move.run_id), epoch: Number(move.epoch) },
            expired: move.expired === true,
          };
        });
    });
  }

  async upkeep(): Promise<Upkeep> {
    const rows = await this.#sql`SELECT kind, count(*) AS times FROM chaos.upkeep GROUP BY kind`;
    const times = (kind: string) => Number(rows.find((row) => row.kind === kind)?.times ?? 0);
    return { merged: times("merged"), deleted: times("deleted"), swept: times("swept") };
  }

  async close(): Promise<void> {
    await this.#sql.end({ timeout: 2 });
  }

  #patiently<T>(what: string, signal: AbortSignal | undefined, ask: () => Promise<T>): Promise<T> {
    let last = "";
    return until(
      what,
      () =>
        ask().catch((error: unknown) => {
          const text = String(error);
          if (text !== last) console.error(`${what}: ${text}`);
          last = text;
          return undefined;
        }),
      { signal },
    );
  }
}
