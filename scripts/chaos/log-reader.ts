/**
 * Reads the whole log through one agent, without the client's own wits: raw fetches from the log start to the high watermark, every batch
 * decoded and its CRC checked. What another agent would answer cannot hide what this one does.
 */
import { createGrpcTransport } from "../../src/client/grpc-transport.ts";
import type { AgentConnection } from "../../src/client/transport.ts";
import { systemClock } from "../../src/core/clock.ts";
import { decodeBatch } from "../../src/format/batch-decoder.ts";
import { splitBatches } from "../../src/format/batch-header.ts";
import type { LogRead, PartitionRead } from "./checker.ts";
import { readContent } from "./record-content.ts";
import { until } from "./waiting.ts";

export interface LogReaderOptions {
  /** For the findings. */
  readonly name: string;
  readonly address: string;
  readonly signal: AbortSignal;
}

/** `ends` are the high watermarks that the database has: an agent that knows less has not heard yet, and is asked again. */
export async function readLog(
  ends: ReadonlyMap<number, number>,
  topicId: string,
  options: LogReaderOptions,
): Promise<LogRead> {
  const transport = createGrpcTransport({ clock: systemClock }, { addresses: [options.address] });
  try {
    const connection = transport.connection(options.address);
    const partitions: PartitionRead[] = [];
    for (const [partition, end] of [...ends].sort(([a], [b]) => a - b)) {
      const of = `partition ${partition} through ${options.name}`;
      partitions[partition] = await until(
        `${of} to be readable up to ${end}`,
        () => readPartition(connection, topicId, partition, end).catch(complain(of)),
        { signal: options.signal },
      );
    }
    return { reader: options.name, partitions };
  } finally {
    await transport.close();
  }
}

/** Just after the faults an agent may still be on its way back. */
function complain(of: string): (error: unknown) => undefined {
  return (error) => {
    console.error(`reading ${of}: ${String(error)}`);
    return undefined;
  };
}

/** Undefined: the agent does not know of everything yet. */
async function readPartition(
  { api }: AgentConnection,
  topicId: string,
  partition: number,
  expectedEnd: number,
): Promise<PartitionRead | undefined> {
  const which = { topicId, partition };
  const ask = (timestampMs: number) =>
    api.listOffsets({ partitions: [{ ...which, timestampMs }] }, {});
  const [earliest, latest] = await Promise.all([ask(EARLIEST), ask(LATEST)]);
  const logStart = earliest.offsets[0]?.offset ?? -1;
  const end = latest.offsets[0]?.offset ?? -1;
  if (end < expectedEnd) return undefined;
  const lists = { offsets: [], ids: [], keys: [], epochs: [], damaged: [] };
  const read: PartitionRead = { logStart, end, ...lists };
  let offset = logStart;
  while (offset < end) {
    const asked = { ...which, offset, maxBytes: 0 };
    const answer = await api.fetch({ ...fetchTerms, partitions: [asked] }, {});
    const [data] = answer.partitions;
    if (data?.error !== undefined) throw new Error(data.error.message);
    for (const { records } of data?.batches ?? []) {
      for (const { bytes, header } of splitBatches(records)) {
        await addBatch(read, bytes, header.partitionLeaderEpoch, offset);
      }
    }
    const next = (read.offsets.at(-1) ?? offset - 1) + 1;
    // Nothing came although there is something: its holder's news has not arrived.
    if (next <= offset) return undefined;
    offset = next;
  }
  return read;
}

const EARLIEST = -2;
const LATEST = -1;

const fetchTerms = {
  maxWaitMs: 0,
  minBytes: 1,
  maxBytes: 0,
  group: "",
  memberId: "",
  memberEpoch: 0,
} as const;

const utf8 = new TextDecoder();
const text = (bytes: Uint8Array | null): string => (bytes === null ? "" : utf8.decode(bytes));

/** Batches are whole: the first of an answer may begin below what was asked for. */
async function addBatch(
  read: PartitionRead,
  bytes: Uint8Array,
  epoch: number,
  fromOffset: number,
): Promise<void> {
  const make = (offset: number, _time: number, key: Uint8Array | null, value: Uint8Array | null) =>
    ({ offset, key: text(key), value: text(value) }) as const;
  for (const { key, offset, value } of await decodeBatch(bytes, make, { fromOffset })) {
    const { id, intact } = readContent(key, value);
    read.offsets.push(offset);
    read.ids.push(id);
    read.keys.push(key);
    read.epochs.push(epoch);
    if (!intact) read.damaged.push(offset);
  }
}
