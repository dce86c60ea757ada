/**
 * The packed index of a chunk: about 24 bytes a partition. The chunk carries it, and the metadata
 * store keeps the same blob with the flush. Called by the chunk's codec and by the metadata stores.
 *
 * Layout, all numbers varints unless said otherwise (zigzag where they can fall below zero):
 * ```
 * 1 byte   version, 1
 * varint   runs: how often the topic changes from one entry to the next, plus one (0 for no entries)
 * for each run of entries with the same topic:
 *   16 bytes topic id (UUID)
 *   varint   entries in this run
 *   for each entry:
 *     zigzag  partition − the previous entry's partition in this run (the first: − 0)
 *     varint  epoch
 *     zigzag  position − the end of the previous entry in the whole index (the first: − 0)
 *     varint  length
 *     varint  base offset
 *     varint  record count
 *     zigzag  append time − the previous entry's in the whole index (the first: − 0)
 *     zigzag  minimum timestamp − append time
 *     varint  maximum timestamp − minimum timestamp
 * ```
 * There is no checksum here: the chunk's covers its index, and the database keeps its own.
 */
import { invalid, StreamHouseError } from "../core/errors.ts";
import { uuidFromBytes, uuidToBytes } from "../core/ids.ts";
import { VarintReader, writeVarint, writeZigzag } from "./varint.ts";

/**
 * One partition's share of a chunk: what the chunk's own index and the metadata's packed index blob
 * both hold.
 */
export interface ChunkIndexEntry {
  readonly topicId: string;
  readonly partition: number;
  /** Lease epoch under which it was written. */
  readonly epoch: number;
  /** First byte of the share, counted from the chunk's start. */
  readonly position: number;
  readonly length: number;
  readonly baseOffset: number;
  readonly recordCount: number;
  /**
   * Smallest base timestamp (a batch's first record) and largest maximum timestamp of the share's
   * batch headers, ms since 1970. Records are never decoded for it.
   */
  readonly minTimestamp: number;
  readonly maxTimestamp: number;
  /** When the flush was sealed, ms since 1970 by the agent's clock. */
  readonly appendTimeMs: number;
}

const VERSION = 1;
const TOPIC_ID_BYTES = 16;
/** Nine varints of at most eight bytes. */
const ENTRY_BYTES_MAX = 72;
/** Nine varints of at least one byte. */
const ENTRY_BYTES_MIN = 9;

/**
 * Packs entries in the order given; grouping by topic makes the blob short.
 * @throws StreamHouseError `INVALID_ARGUMENT` if a topic id is not a UUID
 */
export function encodeIndex(entries: readonly ChunkIndexEntry[]): Uint8Array {
  const runs = topicRuns(entries);
  const bytes = new Uint8Array(
    6 + runs.length * (TOPIC_ID_BYTES + 5) + entries.length * ENTRY_BYTES_MAX,
  );
  bytes[0] = VERSION;
  let at = writeVarint(bytes, 1, runs.length);
  let end = 0;
  let appendTimeMs = 0;
  for (const run of runs) {
    bytes.set(topicIdBytes(run.topicId), at);
    at = writeVarint(bytes, at + TOPIC_ID_BYTES, run.entries.length);
    let partition = 0;
    for (const entry of run.entries) {
      at = writeZigzag(bytes, at, entry.partition - partition);
      at = writeVarint(bytes, at, entry.epoch);
      at = writeZigzag(bytes, at, entry.position - end);
      at = writeVarint(bytes, at, entry.length);
      at = writeVarint(bytes, at, entry.baseOffset);
      at = writeVarint(bytes, at, entry.recordCount);
      at = writeZigzag(bytes, at, entry.appendTimeMs - appendTimeMs);
      at = writeZigzag(bytes, at, entry.minTimestamp - entry.appendTimeMs);
      at = writeVarint(bytes, at, entry.maxTimestamp - entry.minTimestamp);
      partition = entry.partition;
      end = entry.position + entry.length;
      appendTimeMs = entry.appendTimeMs;
    }
  }
  return bytes.slice(0, at);
}

/** The inverse of `encodeIndex`. @throws StreamHouseError `CORRUPT_SEGMENT` */
export function decodeIndex(bytes: Uint8Array): ChunkIndexEntry[] {
  try {
    return decode(bytes);
  } catch (error) {
    if (!StreamHouseError.is(error) || error.code === "CORRUPT_SEGMENT") throw error;
    throw corrupt(error.message, error);
  }
}

function decode(bytes: Uint8Array): ChunkIndexEntry[] {
  if (bytes[0] !== VERSION) {
    throw corrupt(`version ${bytes[0] ?? "missing"}, this release reads version ${VERSION}`);
  }
  const reader = new VarintReader(bytes, 1);
  const entries: ChunkIndexEntry[] = [];
  for (let runs = reader.varint(); runs > 0; runs--) {
    if (reader.position + TOPIC_ID_BYTES > bytes.length) throw corrupt("it ends within a topic id");
    const topicId = uuidFromBytes(bytes.subarray(reader.position));
    reader.position += TOPIC_ID_BYTES;
    const count = reader.varint();
    if (count * ENTRY_BYTES_MIN > bytes.length - reader.position) {
      throw corrupt(`its bytes cannot hold ${count} entries`);
    }
    let partition = 0;
    for (let i = 0; i < count; i++) {
      const entry = decodeEntry(reader, topicId, partition, entries.at(-1));
      partition = entry.partition;
      entries.push(entry);
    }
  }
  if (reader.position !== bytes.length) {
    throw corrupt(`${bytes.length - reader.position} bytes follow its last entry`);
  }
  return entries;
}

function decodeEntry(
  reader: VarintReader,
  topicId: string,
  previousPartition: number,
  previous: ChunkIndexEntry | undefined,
): ChunkIndexEntry {
  const partition = previousPartition + reader.zigzag();
  const epoch = reader.varint();
  const end = previous === undefined ? 0 : previous.position + previous.length;
  const position = end + reader.zigzag();
  const length = reader.varint();
  const baseOffset = reader.varint();
  const recordCount = reader.varint();
  const appendTimeMs = (previous?.appendTimeMs ?? 0) + reader.zigzag();
  const minTimestamp = appendTimeMs + reader.zigzag();
  const maxTimestamp = minTimestamp + reader.varint();
  if (partition < 0 || position < 0) throw corrupt("an entry has a negative partition or position");
  return {
    topicId,
    partition,
    epoch,
    position,
    length,
    baseOffset,
    recordCount,
    minTimestamp,
    maxTimestamp,
    appendTimeMs,
  };
}

interface TopicRun {
  readonly topicId: string;
  readonly entries: ChunkIndexEntry[];
}

function topicRuns(entries: readonly ChunkIndexEntry[]): TopicRun[] {
  const runs: TopicRun[] = [];
  for (const entry of entries) {
    const last = runs.at(-1);
    if (last?.topicId === entry.topicId) last.entries.push(entry);
    else runs.push({ topicId: entry.topicId, entries: [entry] });
  }
  return runs;
}

function topicIdBytes(topicId: string): Uint8Array {
  try {
    return uuidToBytes(topicId);
  } catch (cause) {
    throw invalid(
      "INVALID_ARGUMENT",
      `topic id ${JSON.stringify(topicId.slice(0, 60))} is not a UUID`,
      { field: "topicId", cause },
    );
  }
}

function corrupt(what: string, cause?: unknown): StreamHouseError {
  return new StreamHouseError({
    code: "CORRUPT_SEGMENT",
    kind: "corrupt",
    message: `chunk index is damaged: ${what}`,
    cause,
  });
}
