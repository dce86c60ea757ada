// Books transfers, each exactly once, whatever happens to it. Start as many as you like, kill them, start them again:
// DATABASE_URL=postgres://… node examples/exactly-once/worker.ts localhost:7070
import { randomUUID } from "node:crypto";
import process from "node:process";
import postgres from "postgres";
import { connect, type PartitionRef } from "../../src/index.ts"; // in your project: "@streamhouse/streamhouse"
import { book, claim, createTables, Moved } from "./ledger.ts";

const [agent = "localhost:7070", topic = "transfers"] = process.argv.slice(2);
const { DATABASE_URL, SESSION_TIMEOUT_MS = "10000" } = process.env;
if (DATABASE_URL === undefined) throw new Error("DATABASE_URL is not set");

// A name of this process for the rows that it claims.
const owner = randomUUID();
const sql = postgres(DATABASE_URL, { max: 4, onnotice: () => {} });
await createTables(sql);

const house = await connect({ agents: [agent] });
const consumer = house.consumer({
  group: "bookkeeping",
  topics: [topic],
  sessionTimeoutMs: Number(SESSION_TIMEOUT_MS),
  // Asked before the first record of a partition that came to us. The group's own offsets only feed its lag.
  startOffsets: (partitions) => claim(sql, owner, partitions),
  // A record that is gone (retention) is to be an error, and not a gap in the books.
  offsetReset: "error",
});
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void consumer.close());
}

const isOurs = ({ topic, partition }: PartitionRef) =>
  consumer.assignment().some((it) => it.topic === topic && it.partition === partition);

for await (const batch of consumer.batches()) {
  try {
    await book(sql, owner, batch);
  } catch (error) {
    // Any other failure ends the program: it was booked or it was not, and the next start asks the database which.
    if (!(error instanceof Moved)) throw error;
    // Its new member has it, or it is still ours, and one who had it claimed it late: then claim it back, and go on where the row says.
    if (!isOurs(batch)) continue;
    const [start] = await claim(sql, owner, [batch]);
    if (start !== undefined && isOurs(batch)) {
      consumer.seek(start.topic, start.partition, start.offset);
    }
  }
}
await house.close();
await sql.end();
