/**
 * Producers of a chaos run that have just begun, one after another, under any of the three runtimes. An agent knows nothing of such a
 * producer but what was committed with its first batches: where one is sent again after a take-over because its outcome was not heard
 * of, only sequences that the new holder has loaded tell that it is there already. A producer that has been there for long is refused
 * then, a new one would be believed. SIGTERM lets it finish. Started by `clients.ts` with its settings as JSON.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { connect, type Producer, StreamHouseError } from "../../../src/index.ts";
import { onStopSignal } from "../../../src/serve/signals.ts";
import { journalLine } from "../journal.ts";
import { contentOf, keyOf } from "../record-content.ts";

export interface NewcomersSettings {
  readonly agents: readonly string[];
  readonly topic: string;
  readonly sender: string;
  readonly journal: string;
}

/** What each of them sends, to keys that differ. */
const recordsEach = 6;
/**
 * So often that hardly a commit of an agent is without a first batch. Later seldom: agents remember each for a day, and what they
 * remember is written with every flush.
 */
const everyMs = 250;
const oftenMax = 700;
const seldomMs = 2_000;
/** Producers that have not settled; more are not begun. */
const openMax = 40;
/**
 * Two of them may have sent to one partition, and which one comes first is open: as records sent again, whose order is not judged
 * either.
 */
const attempt = 1;

const settings = JSON.parse(process.argv[2] ?? "{}") as NewcomersSettings;
const { agents, journal, sender, topic } = settings;
const stop = new AbortController();
const forgetSignals = onStopSignal(() => stop.abort());
const file = openSync(journal, "a");
const house = await connect({ agents, clientId: sender });
const open = new Set<Promise<void>>();
for (let count = 0; !stop.signal.aborted; ) {
  if (open.size < openMax) {
    const one = sendAll(house.producer({ lingerMs: 0 }), count * recordsEach);
    open.add(one);
    void one.finally(() => open.delete(one));
    count += 1;
  }
  await wait(count < oftenMax ? everyMs : seldomMs);
}
await Promise.all(open);
await house.close();
writeSync(file, journalLine.ended);
closeSync(file);
forgetSignals();

async function sendAll(producer: Producer, from: number): Promise<void> {
  const to = from + recordsEach;
  writeSync(file, journalLine.sending(from, to, attempt));
  const sequences = Array.from({ length: recordsEach }, (_, i) => from + i);
  await Promise.all(sequences.map((sequence) => send(producer, sequence)));
  await producer.close();
}

async function send(producer: Producer, sequence: number): Promise<void> {
  try {
    const value = contentOf({ sender, sequence, attempt });
    const sent = await producer.send({ topic, key: keyOf(sequence), value });
    const { offset = -1, partition } = sent;
    writeSync(file, journalLine.acknowledged(sequence, attempt, partition, offset));
  } catch (error) {
    const [code, outcome] = StreamHouseError.is(error)
      ? [error.code, error.outcome]
      : ["OTHER", "unknown" as const];
    writeSync(file, journalLine.failed(sequence, attempt, outcome, code));
    console.error(`${sequence} failed: ${String(error)}`);
  }
}
