/** The database in which a shared group books what it reads, in a transaction with how far it came. Asked past the members. */
import postgres from "postgres";
import { createTables } from "../../examples/exactly-once/ledger.ts";
import type { Booked } from "./group-check.ts";

export class Sink {
  readonly url: string;
  readonly #sql: postgres.Sql;

  constructor(url: string) {
    this.url = url;
    this.#sql = postgres(url, { max: 1, onnotice: () => {}, connect_timeout: 10 });
  }

  async begin(): Promise<void> {
    await createTables(this.#sql);
    // No unique key: nothing but the row of the position keeps a record from being booked twice.
    await this.#sql`CREATE TABLE booked (partition int, "offset" bigint, id text)`;
  }

  /** How far each partition is booked. */
  async positions(): Promise<ReadonlyMap<number, number>> {
    const rows = await this.#sql`SELECT partition, next_offset FROM positions`;
    return new Map(rows.map((row) => [Number(row.partition), Number(row.next_offset)]));
  }

  async booked(): Promise<readonly Booked[]> {
    const rows = await this.#sql`SELECT partition, "offset", id FROM booked`;
    return rows.map((row) => ({
      partition: Number(row.partition),
      offset: Number(row.offset),
      id: String(row.id),
    }));
  }

  async close(): Promise<void> {
    await this.#sql.end({ timeout: 2 });
  }
}
