/** Puts a clock that stands until it is moved in the place of a PostgreSQL metadata's. For tests of what time does. */
import postgres from "postgres";

export interface MovableClock {
  readonly advance: (ms: number) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Of one schema; the store must have made its tables. */
export async function movableClock(url: string, schema = "streamhouse"): Promise<MovableClock> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  await sql.unsafe(`
    CREATE TABLE "${schema}".test_clock (now_ms int8 NOT NULL);
    INSERT INTO "${schema}".test_clock SELECT "${schema}".now_ms();
    CREATE OR REPLACE FUNCTION "${schema}".now_ms() RETURNS int8 LANGUAGE plpgsql VOLATILE AS $$
      BEGIN RETURN (SELECT now_ms FROM "${schema}".test_clock); END $$;
  `);
  return {
    advance: async (ms) => {
      await sql.unsafe(`UPDATE "${schema}".test_clock SET now_ms = now_ms + ${ms}`);
    },
    close: () => sql.end({ timeout: 1 }),
  };
}
