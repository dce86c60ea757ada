/** The log's index in PostgreSQL: committed flushes. Part of `createPostgresMetadata`; trimming is in `postgres-trims.ts`. */
import { StreamHouseError } from "../core/errors.ts";
import type { TopicPartition } from "../core/topic.ts";
import { type ChunkIndexEntry, decodeIndex, encodeIndex } from "../format/chunk-index.ts";
import type { CommittedFlush, FlushCommit, FlushOutcome, MetadataStore } from "./metadata-store.ts";
import { SWEPT, sqlState } from "./postgres-errors.ts";
import { arrayOf, type BackendIdentity } from "./postgres-lane.ts";
import { canExist, numbersOf, topicsOf } from "./postgres-partitions.ts";
import type { PostgresPool } from "./postgres-pool.ts";
import { booleanOf, bytesOf, numberOf, type SqlRow, textOf } from "./sql-rows.ts";

type FlushStore = Pick<MetadataStore, "commitFlush" | "resolveFlush" | "listFlushes">;

export const FLUSH_COLUMNS =
  "flush_id, run_id, flush_sequence, object_key, position, length, entries";

const COMMIT =
  "SELECT commit_flush($1, $2, $3, $4, $5, $6, $7::uuid[], $8::int4[], $9::int8[], $10::int8[], $11::int8[], " +
  "$12::uuid[], $13::int4[], $14::bytea[]) AS outcome";

export function createFlushStore(pool: PostgresPool): FlushStore {
  return {
    commitFlush: (flush) => commitFlush(pool, flush),
    resolveFlush: (flush) => resolveFlush(pool, flush),
    async listFlushes(afterFlushId, limit) {
      const rows = await pool.run(
        { doing: "listing flushes", reads: true },
        `SELECT ${FLUSH_COLUMNS} FROM flushes WHERE flush_id > $1 ORDER BY flush_id LIMIT $2`,
        afterFlushId,
        limit,
      );
      return rows.map(flushOf);
    },
  };
}

/** What `commit_flush` answers; shares are counted from 0. */
type Answer =
  | { readonly status: "committed" }
  | { readonly status: "refused"; readonly shares: readonly (readonly [number, boolean])[] }
  | { readonly status: "defect"; readonly shares: readonly (readonly [number, number])[] };

async function commitFlush(pool: PostgresPool, flush: FlushCommit): Promise<FlushOutcome> {
  checkEntries(flush);
  const { location, entries, producerStates: states } = flush;
  try {
    const [row] = await pool.run(
      { doing: "committing a flush", urgent: true },
      COMMIT,
      flush.runId,
      flush.flushSequence,
      location.key,
      location.position,
      location.length,
      encodeIndex(entries),
      topicsOf(entries),
      numbersOf(entries),
      arrayOf(entries.map((it) => it.epoch)),
      arrayOf(entries.map((it) => it.baseOffset)),
      arrayOf(entries.map(endOf)),
      topicsOf(states),
      numbersOf(states),
      arrayOf(states.map((it) => it.state)),
    );
    return outcomeOf(flush, row?.outcome as Answer);
  } catch (error) {
    const cause = StreamHouseError.is(error) ? error.cause : error;
    if (sqlState(cause) === SWEPT) return { status: "swept" };
    throw error;
  }
}

function outcomeOf(flush: FlushCommit, answer: Answer): FlushOutcome {
  if (answer.status === "committed") return answer;
  const partitionAt = (share: number): TopicPartition => {
    const { topicId, partition } = flush.entries[share] as ChunkIndexEntry;
    return { topicId, partition };
  };
  if (answer.status === "refused") {
    const partitions = answer.shares.map(([share, deleted]) => ({
      ...partitionAt(share),
      reason: deleted ? ("deleted" as const) : ("fenced" as const),
    }));
    return { status: "refused", partitions };
  }
  const [share, next] = answer.shares[0] ?? [0, -1];
  const { topicId, partition } = partitionAt(share);
  const base = flush.entries[share]?.baseOffset;
  throw defect(flush, `partition ${topicId}/${partition} goes on at offset ${next}, not ${base}`);
}

/**
 * Ends the sessions first whose last write had no answer: a statement that still lies in one's way could otherwise arrive after the
 * look. Then the locks are free, or their holder has committed.
 */
async function resolveFlush(
  pool: PostgresPool,
  flush: FlushCommit,
): Promise<"committed" | "absent"> {
  const unclear = pool.takeUnclear();
  try {
    if (unclear.length > 0) await endSessions(pool, unclear);
    const [row = {}] = await pool.run(
      { doing: "resolving a flush", urgent: true },
      "SELECT resolve_flush($1, $2, $3::uuid[], $4::int4[]) AS committed",
      flush.runId,
      flush.flushSequence,
      topicsOf(flush.entries),
      numbersOf(flush.entries),
    );
    return booleanOf(row, "committed") ? "committed" : "absent";
  } catch (error) {
    pool.keepUnclear(unclear);
    throw error;
  }
}

const END_SESSION_MS = 5_000;

async function endSessions(
  pool: PostgresPool,
  sessions: readonly BackendIdentity[],
): Promise<void> {
  await pool.run(
    { doing: "ending sessions without an answer", reads: true, urgent: true },
    `SELECT pg_terminate_backend(pid, ${END_SESSION_MS}) FROM pg_stat_activity ` +
      "WHERE (pid, backend_start) IN (SELECT * FROM unnest($1::int4[], $2::timestamptz[]))",
    arrayOf(sessions.map((it) => it.pid)),
    arrayOf(sessions.map((it) => it.startedAt)),
  );
}

/** At least one, of partitions that can exist, strictly rising: also none twice. */
function checkEntries(flush: FlushCommit): void {
  const { entries } = flush;
  if (entries.length === 0) throw defect(flush, "it has no entries");
  for (const [i, b] of entries.entries()) {
    if (!canExist(b)) throw defect(flush, `entry ${i} names no partition`);
    const a = entries[i - 1];
    if (a === undefined) continue;
    const rising = a.topicId === b.topicId ? a.partition < b.partition : a.topicId < b.topicId;
    if (!rising) throw defect(flush, `its entries ${i - 1} and ${i} are not in order`);
  }
}

function defect(flush: FlushCommit, why: string): StreamHouseError {
  return new StreamHouseError({
    code: "INTERNAL",
    kind: "internal",
    message: `flush ${flush.flushSequence} of run ${flush.runId} cannot be committed: ${why}; nothing was applied`,
  });
}

export function flushOf(row: SqlRow): CommittedFlush {
  return {
    flushId: numberOf(row, "flush_id"),
    runId: textOf(row, "run_id"),
    flushSequence: numberOf(row, "flush_sequence"),
    location: {
      key: textOf(row, "object_key"),
      position: numberOf(row, "position"),
      length: numberOf(row, "length"),
    },
    entries: decodeIndex(bytesOf(row, "entries")),
  };
}

export function endOf(entry: ChunkIndexEntry): number {
  return entry.baseOffset + entry.recordCount;
}
