/**
 * The database's own account of a chaos run, written by triggers of ours in the same transactions: each flush that was committed, and
 * who held a partition's lease whenever its next offset moved. It trusts nothing that the product's code says of itself. Asked past the
 * proxies.
 */
import postgres from "postgres";
import { decodeIndex } from "../../src/format/chunk-index.ts";
import type { CommittedShare } from "./fence-check.ts";
import type { Hold } from "./group-check.ts";
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
  CREATE TABLE chaos.holds (
    seq bigserial, at_ms float8, group_name text, topic_id uuid, partition int4, member_id text,
    before_id text, before_lives boolean
  );
  CREATE FUNCTION chaos.note_hold() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE
    v_before text := CASE WHEN TG_OP = 'INSERT' THEN '' ELSE OLD.member_id END;
    v_row record;
  BEGIN
    IF TG_OP = 'DELETE' THEN v_row := OLD; ELSE v_row := NEW; END IF;
    INSERT INTO chaos.holds
      (at_ms, group_name, topic_id, partition, member_id, before_id, before_lives)
    VALUES (
      extract(epoch FROM clock_timestamp()) * 1000, v_row.group_name, v_row.topic_id, v_row.partition,
      CASE WHEN TG_OP = 'DELETE' THEN '' ELSE NEW.member_id END, v_before,
      EXISTS (
        SELECT FROM ${schema}.members m
        WHERE m.group_name = v_row.group_name AND m.member_id = v_before AND NOT m.is_away
        AND m.expires_at_ms > extract(epoch FROM clock_timestamp()) * 1000
      ) AND NOT (
        TG_OP = 'UPDATE' AND OLD.revoke_by_ms > 1
        AND OLD.revoke_by_ms <= extract(epoch FROM clock_timestamp()) * 1000
      )
    );
    RETURN NULL;
  END $$;
  CREATE TRIGGER chaos_hold AFTER INSERT OR UPDATE OR DELETE ON ${schema}.assignments
    FOR EACH ROW EXECUTE FUNCTION chaos.note_hold();
  CREATE TABLE chaos.backwards (group_name text, partition int4, was int8, became int8);
  CREATE FUNCTION chaos.note_backwards() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO chaos.backwards
      VALUES (NEW.group_name, NEW.partition, OLD.committed_offset, NEW.committed_offset);
    RETURN NULL;
  END $$;
  CREATE TRIGGER chaos_backwards AFTER UPDATE ON ${schema}.offsets
    FOR EACH ROW WHEN (NEW.committed_offset < OLD.committed_offset)
    EXECUTE FUNCTION chaos.note_backwards();
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

export interface MemberHoldings {
  readonly memberId: string;
  readonly memberEpoch: number;
  readonly partitions: readonly number[];
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

  /** Who held which partition of the topic in which group, in the order in which it came about. */
  async holds(topicId: string): Promise<readonly Hold[]> {
    const rows = await this.#sql`
      SELECT * FROM chaos.holds WHERE topic_id = ${topicId} ORDER BY seq`;
    return rows.map((row) => ({
      at: Number(row.at_ms),
      group: String(row.group_name),
      partition: Number(row.partition),
      memberId: String(row.member_id),
      before: String(row.before_id),
      beforeLives: row.before_lives === true,
    }));
  }

  /** The identity that a client has in a group, and its partitions; undefined while it is no member. */
  async memberOf(
    group: string,
    clientId: string,
    signal?: AbortSignal,
  ): Promise<MemberHoldings | undefined> {
    const rows = await this.#patiently("the database to tell of a member", signal, async () => {
      return this.#sql`
        SELECT m.member_id, m.member_epoch,
          (SELECT array_agg(a.partition) FROM assignments a
            WHERE a.group_name = m.group_name AND a.member_id = m.member_id) AS partitions
        FROM members m WHERE m.group_name = ${group} AND m.client_id = ${clientId}
        ORDER BY m.joined_epoch DESC LIMIT 1`;
    });
    const row = rows[0];
    if (row === undefined) return undefined;
    return {
      memberId: String(row.member_id),
      memberEpoch: Number(row.member_epoch),
      partitions: ((row.partitions ?? []) as unknown[]).map(Number),
    };
  }

  /** Who holds these partitions in the group now; nobody: empty. */
  async holdersOf(
    group: string,
    partitions: readonly number[],
    signal?: AbortSignal,
  ): Promise<readonly string[]> {
    return this.#patiently("the database to tell who has what in a group", signal, async () => {
      const rows = await this.#sql`
        SELECT member_id FROM assignments
        WHERE group_name = ${group} AND partition = ANY (${partitions as number[]})`;
      return rows.map((row) => String(row.member_id));
    });
  }

  /** How far the group has committed, by partition; 0 where it has not. */
  async committed(group: string, signal?: AbortSignal): Promise<ReadonlyMap<number, number>> {
    return this.#patiently("the database to tell what a group has committed", signal, async () => {
      const rows = await this.#sql`
        SELECT partition, committed_offset FROM offsets WHERE group_name = ${group}`;
      return new Map(rows.map((row) => [Number(row.partition), Number(row.committed_offset)]));
    });
  }

  /** Of a group that never asks for it: offsets that became smaller, in words. */
  async backwards(group: string): Promise<readonly string[]> {
    const rows = await this.#sql`SELECT * FROM chaos.backwards WHERE group_name = ${group}`;
    return rows.map(
      (row) =>
        `${row.group_name} had committed ${row.partition}@${row.was}, then ${row.partition}@${row.became}`,
    );
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
