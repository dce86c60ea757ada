/**
 * A member of a group that others share, in a chaos run, under any of the three runtimes. It journals what it was handed out, and when,
 * before it works on it, and each record once it has. In one of three ways: `poll`, iteration, `run`. With a sink it books its records
 * in a database instead, each batch and how far it came in one transaction, as in `examples/exactly-once`. SIGTERM lets it leave in
 * order. Started by `members.ts` with its settings as JSON.
 */
import { randomUUID } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";
import { claim, Moved } from "../../../examples/exactly-once/ledger.ts";
import {
  type ConsumedBatch,
  type Consumer,
  type ConsumerRecord,
  connect,
} from "../../../src/index.ts";
import { onStopSignal } from "../../../src/serve/signals.ts";
import { startAgainCode } from "../clients.ts";
import { journalLine } from "../journal.ts";
import { memberLine } from "../member-journal.ts";
import { readContent } from "../record-content.ts";

export interface MemberSettings {
  readonly agents: readonly string[];
  readonly topic: string;
  readonly group: string;
  /** Names this start of the program. */
  readonly clientId: string;
  readonly journal: string;
  /** Static membership; empty: none. */
  readonly instanceId: string;
  readonly sessionTimeoutMs: number;
  readonly way: "poll" | "iterate" | "run" | "sink";
  /** Of the sink's database. */
  readonly sink: string;
}

/**
 * What was handed out together takes the application so long, at most, and commits are made often: most of the time it is in the middle
 * of something, with a commit since it began, so that a commit of what is not processed yet is found out when it is killed.
 */
const workMs = 400;
const commitEveryMs = 100;
const pollRecordsMax = 200;
/** Of iteration, and of a run: so many records share that time. */
const recordsTogether = 40;

const settings = JSON.parse(process.argv[2] ?? "{}") as MemberSettings;
const { topic } = settings;
const stop = new AbortController();
const forgetSignals = onStopSignal(() => stop.abort());
const file = openSync(settings.journal, "a");
const owner = randomUUID();
// A transaction whose connection breaks between two statements makes postgres 3.4.9 throw where nobody can catch it. An application ends
// then, and is started again; what it had not committed is not booked.
process.on("uncaughtException", (error) => {
  console.error(error);
  process.exit(isOfDatabase(error) ? startAgainCode : 1);
});
const sql = postgres(settings.sink, { max: 3, onnotice: () => {}, connect_timeout: 5 });
const house = await connect({ agents: settings.agents, clientId: settings.clientId });
const consumer = house.consumer({
  group: settings.group,
  topics: [topic],
  offsetReset: "error",
  startOffset: 0,
  autoCommitIntervalMs: commitEveryMs,
  maxPollRecords: pollRecordsMax,
  sessionTimeoutMs: settings.sessionTimeoutMs,
  rebalanceTimeoutMs: 20_000,
  ...(settings.instanceId === "" ? {} : { groupInstanceId: settings.instanceId }),
  ...(settings.way === "sink" ? { startOffsets: (of) => claim(sql, owner, of) } : {}),
});
const ways = { poll, iterate, run, sink };
while (!stop.signal.aborted) {
  try {
    await ways[settings.way](consumer, stop.signal);
  } catch (error) {
    if (stop.signal.aborted) break;
    // The consumer stays usable: the next read goes on.
    console.error(`${settings.way}: ${String(error)}`);
    await wait(100);
  }
}
await house.close();
await sql.end({ timeout: 5 });
writeSync(file, journalLine.ended);
closeSync(file);
forgetSignals();

async function poll(from: Consumer, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const records = await from.poll(250, { signal });
    handedOut(records);
    await wait(Math.random() * workMs);
    processed(records);
  }
}

async function iterate(from: Consumer, signal: AbortSignal): Promise<void> {
  for await (const record of from.records({ signal })) {
    handedOut([record]);
    if (record.offset % recordsTogether === 0) await wait((Math.random() * workMs) / 2);
    processed([record]);
  }
}

async function run(from: Consumer, signal: AbortSignal): Promise<void> {
  const handler = async (record: ConsumerRecord) => {
    handedOut([record]);
    await wait(Math.random() * (workMs / 4));
    processed([record]);
  };
  await from.run(handler, { concurrency: recordsTogether, orderBy: "key", signal });
}

async function sink(from: Consumer, signal: AbortSignal): Promise<void> {
  for await (const batch of from.batches({ signal })) {
    handedOut(batch.records);
    try {
      await book(batch);
    } catch (error) {
      if (!(error instanceof Moved)) console.error(`booking: ${String(error)}`);
      // It was booked or it was not: the row says which, if it can still be had.
      await goOnWhereTheRowSays(batch);
    }
  }
}

async function book(batch: ConsumedBatch): Promise<void> {
  const rows = batch.records.map((record) => {
    const { id, intact } = readContent(record.keyText() ?? "", record.text());
    return {
      partition: record.partition,
      offset: record.offset,
      id: intact ? id : `damaged_${id}`,
    };
  });
  await sql.begin(async (tx) => {
    const { count } = await tx`
      UPDATE positions SET next_offset = ${batch.lastOffset + 1}
      WHERE topic = ${batch.topic} AND partition = ${batch.partition}
        AND owner = ${owner} AND next_offset = ${batch.firstOffset}`;
    if (count !== 1) throw new Moved(`${batch.topic}/${batch.partition} is somebody else's`);
    await tx`INSERT INTO booked ${tx(rows, "partition", "offset", "id")}`;
  });
}

async function goOnWhereTheRowSays(batch: ConsumedBatch): Promise<void> {
  const isOurs = () =>
    consumer.assignment().some((it) => it.topic === topic && it.partition === batch.partition);
  while (isOurs() && !stop.signal.aborted) {
    try {
      const [start] = await claim(sql, owner, [batch]);
      if (start !== undefined && isOurs()) consumer.seek(topic, batch.partition, start.offset);
      return;
    } catch (error) {
      console.error(`claiming: ${String(error)}`);
      await wait(200);
    }
  }
}

function isOfDatabase(error: unknown): boolean {
  return error instanceof Error && /postgres\/(src|cjs\/src)\/connection/.test(error.stack ?? "");
}

/** The moment is read first: that is when they were there. */
function handedOut(records: readonly ConsumerRecord[]): void {
  const at = Date.now();
  const offsets = new Map<number, number[]>();
  for (const { offset, partition } of records) {
    const [from = offset] = offsets.get(partition) ?? [];
    offsets.set(partition, [from, offset + 1]);
  }
  const { memberId } = consumer;
  const lines = [...offsets].map(([partition, [from = 0, to = 0]]) =>
    memberLine.handedOut({ at, memberId, partition, from, to }),
  );
  if (lines.length > 0) writeSync(file, lines.join(""));
}

function processed(records: readonly ConsumerRecord[]): void {
  const lines = records.map((record) => {
    const { id, intact } = readContent(record.keyText() ?? "", record.text());
    return journalLine.read(record.partition, record.offset, id, intact);
  });
  if (lines.length > 0) writeSync(file, lines.join(""));
}
