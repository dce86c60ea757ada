// The database side: what was made of the records, and how far in each partition, always in one transaction.
import type { Sql, TransactionSql } from "postgres";
import type { ConsumedBatch, PartitionRef, StartOffset } from "../../src/index.ts"; // in your project: "@streamhouse/streamhouse"

/** One record of the topic. */
export interface Transfer {
  readonly id: number;
  readonly from: string;
  readonly to: string;
  readonly amount: number;
}

/** Somebody else has claimed the partition: nothing was written. */
export class Moved extends Error {
  override readonly name = "Moved";
}

export async function createTables(sql: Sql): Promise<void> {
  // One at a time: several workers start together.
  await sql.begin(async (tx) => {
    await tx`SELECT pg_advisory_xact_lock(7070)`;
    await tx`CREATE TABLE IF NOT EXISTS accounts (name text PRIMARY KEY, balance bigint NOT NULL)`;
    // No unique key on id: what keeps a transfer from being booked twice is the row in positions.
    await tx`CREATE TABLE IF NOT EXISTS ledger (id bigint, "from" text, "to" text, amount bigint)`;
    await tx`CREATE TABLE IF NOT EXISTS positions (
      topic text, partition int, next_offset bigint NOT NULL, owner uuid NOT NULL,
      PRIMARY KEY (topic, partition))`;
  });
}

/**
 * Takes the partitions' rows, and answers where to go on. From now on nobody else can write for them: whoever had them before is refused,
 * also if he does not know yet that they moved. Waits for a transaction of his that is under way, and sees what it did.
 */
export async function claim(
  sql: Sql,
  owner: string,
  partitions: readonly PartitionRef[],
): Promise<StartOffset[]> {
  // In one order for everybody, so that two claims never wait for each other.
  const sorted = [...partitions].sort(
    (a, b) => a.topic.localeCompare(b.topic) || a.partition - b.partition,
  );
  return sql.begin(async (tx) => {
    const starts: StartOffset[] = [];
    for (const { topic, partition } of sorted) {
      const [row] = await tx`
        INSERT INTO positions (topic, partition, next_offset, owner)
        VALUES (${topic}, ${partition}, 0, ${owner})
        ON CONFLICT (topic, partition) DO UPDATE SET owner = excluded.owner
        RETURNING next_offset`;
      starts.push({ topic, partition, offset: Number(row?.next_offset) });
    }
    return starts;
  });
}

/** Books a batch and moves the position over it, or does neither. @throws Moved */
export async function book(sql: Sql, owner: string, batch: ConsumedBatch): Promise<void> {
  const transfers = batch.records.map((record) => record.json<Transfer>());
  await sql.begin(async (tx) => {
    const { count } = await tx`
      UPDATE positions SET next_offset = ${batch.lastOffset + 1}
      WHERE topic = ${batch.topic} AND partition = ${batch.partition}
        AND owner = ${owner} AND next_offset = ${batch.firstOffset}`;
    if (count !== 1) throw new Moved(`${batch.topic}/${batch.partition} is somebody else's`);
    await write(tx, transfers);
  });
}

/** What the records mean, within the transaction. */
export async function write(tx: TransactionSql, transfers: readonly Transfer[]): Promise<void> {
  await tx`INSERT INTO ledger ${tx(transfers, "id", "from", "to", "amount")}`;
  const changes = new Map<string, number>();
  for (const { from, to, amount } of transfers) {
    changes.set(from, (changes.get(from) ?? 0) - amount);
    changes.set(to, (changes.get(to) ?? 0) + amount);
  }
  // In one order for everybody: two batches may be about the same accounts.
  const rows = [...changes].sort(([a], [b]) => (a < b ? -1 : 1));
  await tx`
    INSERT INTO accounts ${tx(rows.map(([name, balance]) => ({ name, balance })))}
    ON CONFLICT (name) DO UPDATE SET balance = accounts.balance + excluded.balance`;
}
