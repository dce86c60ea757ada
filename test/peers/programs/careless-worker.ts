/**
 * The worker of examples/exactly-once with defects to choose from, and a place to hold it at: the first time it comes there it says `held`
 * and waits for a line of standard input. Arguments: the agent's address, the topic. Started by the tests of exactly once.
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import process from "node:process";
import postgres from "postgres";
import {
  book,
  claim,
  createTables,
  Moved,
  type Transfer,
  write,
} from "../../../examples/exactly-once/ledger.ts";
import { type ConsumedBatch, connect } from "../../../src/index.ts";

const [agent = "", topic = ""] = process.argv.slice(2);
const { DATABASE_URL = "", SESSION_TIMEOUT_MS, DEFECT = "none", HOLD = "" } = process.env;

const owner = randomUUID();
const sql = postgres(DATABASE_URL, { max: 4, onnotice: () => {} });
await createTables(sql);

let held = false;
async function hold(place: string): Promise<void> {
  if (held || HOLD !== place) return;
  held = true;
  console.log("held");
  await once(process.stdin, "data");
}

const transfersOf = (batch: ConsumedBatch) => batch.records.map((it) => it.json<Transfer>());

async function moveRow(batch: ConsumedBatch): Promise<void> {
  const { count } = await sql`
    UPDATE positions SET next_offset = ${batch.lastOffset + 1}
    WHERE topic = ${topic} AND partition = ${batch.partition} AND owner = ${owner}
      AND next_offset = ${batch.firstOffset}`;
  if (count !== 1) throw new Moved("moved");
}

const defects: Readonly<Record<string, (batch: ConsumedBatch) => Promise<void>>> = {
  none: (batch) => book(sql, owner, batch),
  /** One transaction, and whoever comes writes. */
  async unconditional(batch) {
    await sql.begin(async (tx) => {
      await write(tx, transfersOf(batch));
      await tx`UPDATE positions SET next_offset = greatest(next_offset, ${batch.lastOffset + 1})
        WHERE topic = ${topic} AND partition = ${batch.partition}`;
    });
  },
  async "position-later"(batch) {
    await sql.begin((tx) => write(tx, transfersOf(batch)));
    await hold("between");
    await moveRow(batch);
  },
  async "position-first"(batch) {
    await moveRow(batch);
    await hold("between");
    await sql.begin((tx) => write(tx, transfersOf(batch)));
  },
  /** It begins where the group committed last, and commits now and then. */
  async "group-offsets"(batch) {
    await defects.unconditional?.(batch);
  },
};

const house = await connect({ agents: [agent] });
const consumer = house.consumer({
  ...{ group: `careless-${topic}`, topics: [topic] },
  sessionTimeoutMs: Number(SESSION_TIMEOUT_MS),
  startOffsets: async (partitions) => {
    const starts = await claim(sql, owner, partitions);
    return DEFECT === "group-offsets" ? [] : starts;
  },
});
for await (const batch of consumer.batches()) {
  await hold("before");
  try {
    await defects[DEFECT]?.(batch);
    console.log("booked");
  } catch (error) {
    if (!(error instanceof Moved)) throw error;
    console.log("moved");
  }
  await hold("after");
}
