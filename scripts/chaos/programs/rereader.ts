/**
 * A reader of a chaos run, under any of the three runtimes: reads the whole log from its beginning, again and again, from any agent,
 * and journals each record once. Whatever it is served later must be the same, and there must be no hole: while agents merge what they
 * wrote, delete the objects that it came from, and die. It ends when a file tells it where the log ends, after one more time through all
 * of it. Started by `clients.ts` with its settings as JSON.
 */
import { closeSync, existsSync, openSync, readFileSync, writeSync } from "node:fs";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { type ConsumerRecord, connect } from "../../../src/index.ts";
import { journalLine } from "../journal.ts";
import { readContent } from "../record-content.ts";

export interface RereaderSettings {
  readonly agents: readonly string[];
  readonly topic: string;
  readonly partitions: number;
  readonly name: string;
  readonly journal: string;
  /** Once it is there, it holds the partitions' ends as a JSON array. */
  readonly endsFile: string;
}

/** Between two times through the log. */
const pauseMs = 2_000;

const settings = JSON.parse(process.argv[2] ?? "{}") as RereaderSettings;
const { agents, endsFile, journal, name, topic } = settings;
const numbers = Array.from({ length: settings.partitions }, (_, partition) => partition);
const file = openSync(journal, "a");
/** What was at each offset of each partition. */
const known: string[][] = numbers.map(() => []);
/** The offset that must come next. */
const next = numbers.map(() => 0);

const house = await connect({ agents, clientId: name });
const consumer = house.consumer({
  assign: numbers.map((partition) => ({ topic, partition, offset: 0 })),
  offsetReset: "error",
  readFrom: "any",
  // Nothing of what was fetched before is handed out again: small, so that most reads go to the agents while faults happen.
  prefetchBytes: 1_048_576,
});
for (;;) {
  // Looked for before it begins, so that the last time through goes over everything.
  const last = existsSync(endsFile) ? readEnds() : undefined;
  await readThrough(last ?? known.map((it) => it.length));
  if (last !== undefined) break;
  await wait(pauseMs);
  rewind();
}
await house.close();
writeSync(file, journalLine.ended);
closeSync(file);

function rewind(): void {
  for (const partition of numbers) {
    consumer.seek(topic, partition, 0);
    next[partition] = 0;
  }
}

/** Up to these offsets, at least. */
async function readThrough(ends: readonly number[]): Promise<void> {
  do {
    try {
      keep(await consumer.poll(250));
    } catch (error) {
      // The consumer stays usable: the next poll goes on.
      console.error(`poll: ${String(error)}`);
      await wait(100);
    }
  } while (ends.some((end, partition) => (next[partition] ?? 0) < end));
}

function keep(records: readonly ConsumerRecord[]): void {
  const lines = records.map(lineOf).filter((line) => line !== "");
  if (lines.length > 0) writeSync(file, lines.join(""));
}

/** Empty where it is the same as before. */
function lineOf(record: ConsumerRecord): string {
  const { offset, partition } = record;
  const { id, intact } = readContent(record.keyText() ?? "", record.text());
  const expected = next[partition] ?? 0;
  next[partition] = offset + 1;
  const ids = known[partition] ?? [];
  const before = ids[offset];
  if (offset !== expected) {
    return journalLine.read(partition, offset, `${id}_in_the_place_of_offset_${expected}`, false);
  }
  if (before === undefined) {
    ids[offset] = id;
    return journalLine.read(partition, offset, id, intact);
  }
  if (before === id && intact) return "";
  return journalLine.read(partition, offset, `${id}_where_${before}_was`, false);
}

function readEnds(): readonly number[] {
  return JSON.parse(readFileSync(endsFile, "utf8")) as readonly number[];
}
