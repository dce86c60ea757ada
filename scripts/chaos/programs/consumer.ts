/**
 * A consumer of a chaos run, under any of the three runtimes: reads in a group of its own, journals each record before it commits it,
 * and goes on whatever happens. It ends when a file tells it where the log ends and it has read up to there. Started by `clients.ts`
 * with its settings as JSON.
 */
import { closeSync, existsSync, openSync, readFileSync, writeSync } from "node:fs";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { type Consumer, type ConsumerRecord, connect } from "../../../src/index.ts";
import { journalLine } from "../journal.ts";
import { readContent } from "../record-content.ts";

export interface ConsumerSettings {
  readonly agents: readonly string[];
  readonly topic: string;
  readonly group: string;
  readonly journal: string;
  /** Once it is there, it holds the partitions' ends as a JSON array. */
  readonly endsFile: string;
}

const commitEveryMs = 300;

const settings = JSON.parse(process.argv[2] ?? "{}") as ConsumerSettings;
const { agents, endsFile, group, journal, topic } = settings;
const file = openSync(journal, "a");
const house = await connect({ agents, clientId: group });
const consumer = house.consumer({
  group,
  topics: [topic],
  offsetReset: "error",
  autoCommit: false,
  startOffset: 0,
  sessionTimeoutMs: 6_000,
});
await readUntilTheEnd();
await commit();
await house.close();
writeSync(file, journalLine.ended);
closeSync(file);

async function readUntilTheEnd(): Promise<void> {
  let committedAt = performance.now();
  while (!isAtTheEnd(consumer)) {
    try {
      keep(await consumer.poll(250));
    } catch (error) {
      // The consumer stays usable: the next poll goes on.
      console.error(`poll: ${String(error)}`);
      await wait(100);
    }
    if (performance.now() - committedAt < commitEveryMs) continue;
    await commit();
    committedAt = performance.now();
  }
}

function keep(records: readonly ConsumerRecord[]): void {
  if (records.length === 0) return;
  const lines = records.map((record) => {
    const { id, intact } = readContent(record.keyText() ?? "", record.text());
    return journalLine.read(record.partition, record.offset, id, intact);
  });
  writeSync(file, lines.join(""));
}

/** A commit that failed is made up for by the next one. */
async function commit(): Promise<void> {
  await consumer.commit().catch((error: unknown) => console.error(`commit: ${String(error)}`));
}

function isAtTheEnd(of: Consumer): boolean {
  if (!existsSync(endsFile)) return false;
  const ends = JSON.parse(readFileSync(endsFile, "utf8")) as readonly number[];
  return ends.every((end, partition) => (of.position(topic, partition) ?? -1) >= end);
}
