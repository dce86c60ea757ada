/**
 * Reads the whole log through one agent, without the client's own wits: raw fetches from the log start to the high watermark, every batch
 * decoded and its CRC checked. What another agent would answer cannot hide what this one does.
 */
import { createGrpcTransport } from "../../src/client/grpc-transport.ts";
import { systemClock } from "../../src/core/clock.ts";
import { decodeBatch } from "../../src/format/batch-decoder.ts";
import { splitBatches } from "../../src/format/batch-header.ts";
import type { AgentApi } from "../../src/rpc/agent-api.ts";
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
  ends: readonly number[],
  topicId: string,
  options: LogReaderOptions,
): Promise<LogRead> {
  const { address, name, signal } = options;
  const transport = createGrpcTransport({ clock: systemClock }, { addresses: [address] });
  try {
    const { api } = transport.connection(address);
    const partitions = await until(
      `${name} to know of everything`,
      () => readBounds(api, topicId, ends).catch(complain(name)),
      { signal },
    );
    await until(
      `the whole log through ${name}`,
      () => readMore(api, topicId, partitions).catch(complain(name)),
      { signal },
    );
    return { reader: name, partitions };
  } finally {
    await transport.close();
  }
}

/** Just after the faults an agent may still be on its way back. */
function complain(name: string): (error: unknown) => undefined {
  return (error) => {
    console.error(`reading through ${name}: ${String(error)}`);
    return undefined;
  };
}

/** Undefined: the agent does not know of everything yet. */
async function readBounds(
  api: AgentApi,
  topicId: string,
  ends: readonly number[],
): Promise<PartitionRead[] | undefined> {
  const ask = (timestampMs: number) =>
    api.listOffsets(
      { partitions: ends.map((_, partition) => ({ topicId, partition, timestampMs })) },
      {},
    );
  const [earliest, latest] = await Promise.all([ask(EARLIEST), ask(LATEST)]);
  const bounds = ends.map((_, partition) => ({
    logStart: earliest.offsets[partition]?.offset ?? -1,
    end: latest.offsets[partition]?.offset ?? -1,
  }));
  if (bounds.some(({ end }, partition) => end < (ends[partition] ?? 0))) return undefined;
  const lists = () => ({ offsets: [], ids: [], keys: [], epochs: [], damaged: [] });
  return bounds.map((it) => ({ ...it, ...lists() }));
}

/** Answers whether nothing is left. What came before a failure is kept. */
async function readMore(
  api: AgentApi,
  topicId: string,
  partitions: readonly PartitionRead[],
): Promise<boolean> {
  for (;;) {
    const asked = partitions.flatMap((read, partition) => {
      const offset = nextOffset(read);
      return offset < read.end ? [{ topicId, partition, offset, maxBytes: 0 }] : [];
    });
    if (asked.length === 0) return true;
    const answer = await api.fetch({ ...fetchTerms, partitions: asked }, {});
    let came = 0;
    for (const { batches, error, partition } of answer.partitions) {
      if (error !== undefined) throw new Error(`partition ${partition}: ${error.message}`);
      const read = partitions[partition] as PartitionRead;
      for (const { records } of batches) {
        for (const { bytes, header } of splitBatches(records)) {
          await addBatch(read, bytes, header.partitionLeaderEpoch);
        }
        came += 1;
      }
    }
    // There is something, and nothing came: its holder's news has not arrived.
    if (came === 0) return false;
  }
}

function nextOffset({ logStart, offsets }: PartitionRead): number {
  return (offsets.at(-1) ?? logStart - 1) + 1;
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
async function addBatch(read: PartitionRead, bytes: Uint8Array, epoch: number): Promise<void> {
  const fromOffset = nextOffset(read);
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
