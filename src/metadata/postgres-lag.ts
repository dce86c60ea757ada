/**
 * The consistent cut that lag is computed from, in PostgreSQL: one read-only transaction of one snapshot. A group's offsets in a topic
 * are one row, packed as JSON: parsing a row for each offset takes the event loop several times as long.
 * Part of `createPostgresMetadata`.
 */
import type { LagRow, LagSnapshot, MetadataStore } from "./metadata-store.ts";
import { canExist, numbersOf, topicsOf } from "./postgres-partitions.ts";
import type { PostgresPool, PostgresTransaction } from "./postgres-pool.ts";
import { numberOf, type SqlRow, textOf } from "./sql-rows.ts";

const SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/** Live members by group, in a row each; the first row is the moment. */
const MEMBERS =
  "SELECT now_ms() AS now, '' AS group_name, 0::int8 AS live UNION ALL " +
  "(SELECT 0, group_name, count(*) FROM members WHERE expires_at_ms > (SELECT now_ms()) " +
  "AND ($1::text IS NULL OR group_name = $1) GROUP BY group_name)";

/** Each (group, partition) once: what was committed counts, then what a live member has or is to have, then what was asked for. */
function rowsSql(only: boolean): string {
  const mine = (alias: string) => (only ? `${alias}.group_name = $2` : "true");
  const asked =
    " UNION ALL SELECT $2, i.topic_id, i.partition, -1, 0, 3 " +
    "FROM unnest($3::uuid[], $4::int4[]) i (topic_id, partition)";
  return (
    "SELECT c.group_name, c.topic_id, t.name, json_agg(json_build_array(" +
    "c.partition, p.next_offset, p.log_start, c.committed, c.committed_at) ORDER BY c.partition) AS packed " +
    "FROM (SELECT DISTINCT ON (group_name, topic_id, partition) * FROM (" +
    "SELECT o.group_name, o.topic_id, o.partition, o.committed_offset AS committed, " +
    `o.committed_at_ms AS committed_at, 1 AS rank FROM offsets o WHERE ${mine("o")} ` +
    "UNION ALL SELECT a.group_name, a.topic_id, a.partition, -1, 0, 2 FROM assignments a " +
    "LEFT JOIN members h ON h.group_name = a.group_name AND h.member_id = a.member_id " +
    "AND h.expires_at_ms > $1 LEFT JOIN members t ON t.group_name = a.group_name " +
    "AND t.member_id = a.target_id AND t.expires_at_ms > $1 " +
    `WHERE ${mine("a")} AND coalesce(h.member_id, t.member_id) IS NOT NULL${only ? asked : ""}` +
    ") every ORDER BY group_name, topic_id, partition, rank) c " +
    "JOIN partitions p ON p.topic_id = c.topic_id AND p.partition = c.partition " +
    "JOIN topics t ON t.topic_id = c.topic_id " +
    "GROUP BY c.group_name, c.topic_id, t.name ORDER BY c.group_name, c.topic_id"
  );
}

const ROWS_OF_ALL = rowsSql(false);
const ROWS_OF_ONE = rowsSql(true);

export function createLagStore(pool: PostgresPool): Pick<MetadataStore, "lagSnapshot"> {
  return {
    lagSnapshot: (group, partitions = []) =>
      pool.transaction(
        { doing: "taking the lag snapshot", reads: true, begin: SNAPSHOT },
        async (tx) => {
          const [moment = {}, ...live] = await tx.all(MEMBERS, group ?? null);
          const asOfMs = numberOf(moment, "now");
          const members = new Map(
            live.map((row) => [textOf(row, "group_name"), numberOf(row, "live")] as const),
          );
          const rows = await packedRows(tx, asOfMs, group, partitions.filter(canExist));
          return { asOfMs, members, rows: rows.flatMap(unpacked) } satisfies LagSnapshot;
        },
      ),
  };
}

function packedRows(
  tx: PostgresTransaction,
  asOfMs: number,
  group: string | undefined,
  partitions: NonNullable<Parameters<MetadataStore["lagSnapshot"]>[1]>,
): Promise<readonly SqlRow[]> {
  if (group === undefined) return tx.all(ROWS_OF_ALL, asOfMs);
  return tx.all(ROWS_OF_ONE, asOfMs, group, topicsOf(partitions), numbersOf(partitions));
}

type Packed = readonly (readonly [number, number, number, number, number])[];

function unpacked(row: SqlRow): LagRow[] {
  const group = textOf(row, "group_name");
  const topicId = textOf(row, "topic_id");
  const topic = textOf(row, "name");
  return (row.packed as Packed).map(
    ([partition, nextOffset, logStartOffset, committedOffset, committedAtMs]) => ({
      group,
      topicId,
      topic,
      partition,
      nextOffset,
      logStartOffset,
      committedOffset,
      committedAtMs,
    }),
  );
}
