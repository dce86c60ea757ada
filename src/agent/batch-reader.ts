/**
 * Committed batches of one partition from an offset on: from the tail cache, or from the store. An object that is not there any more is
 * looked into once: merged meanwhile, it is read where it lies now; deleted by retention, the offset is out of range, with true bounds.
 * Called by the fetcher.
 */
import { asStreamHouseError, invalid, StreamHouseError } from "../core/errors.ts";
import type { FetchedBatch, FetchPartition } from "../rpc/gen/streamhouse/v1/consumer.ts";
import type { AgentInstruments } from "./agent-instruments.ts";
import { batchesFrom } from "./batch-walk.ts";
import type { PartitionFinder } from "./partition-finder.ts";
import type { PartitionLog } from "./partition-log.ts";
import type { ReadOptions, ShareReader } from "./share-reader.ts";
import type { TailCache } from "./tail-cache.ts";

export interface BatchReaderComponents {
  readonly finder: PartitionFinder;
  readonly tail: TailCache;
  readonly reader: ShareReader;
  readonly instruments: Pick<AgentInstruments, "tailCache">;
}

/** What to read of a partition. */
export interface BatchesWanted extends ReadOptions {
  readonly log: PartitionLog;
  readonly asked: FetchPartition;
  /** The topic's name, for messages. */
  readonly topic: string;
  readonly bytesMax: number;
  /** The first batch comes in any case, however large it is. */
  readonly evenOneLarger: boolean;
}

export class BatchReader {
  readonly #parts: BatchReaderComponents;

  constructor(parts: BatchReaderComponents) {
    this.#parts = parts;
  }

  /** Batches from the one that holds the offset. @throws StreamHouseError `OFFSET_OUT_OF_RANGE`, `STORE_UNAVAILABLE`, `CORRUPT_SEGMENT`, `ABORTED` */
  async read(wanted: BatchesWanted): Promise<FetchedBatch[]> {
    const cached = this.#fromTail(wanted);
    if (cached !== undefined) return cached;
    try {
      return await this.#fromStore(wanted);
    } catch (thrown) {
      if (!isMissing(thrown)) throw thrown;
      return this.#elsewhere(wanted, thrown);
    }
  }

  #fromTail({ asked, bytesMax, evenOneLarger, log }: BatchesWanted): FetchedBatch[] | undefined {
    const { instruments, tail } = this.#parts;
    const cached = tail.read(log, asked.offset, bytesMax);
    const first = cached[0];
    if (first === undefined) return undefined;
    instruments.tailCache.hits.add(1);
    if (first.bytes.length > bytesMax && !evenOneLarger) return [];
    return cached.map((it) => ({ records: it.bytes, appendTimeMs: it.appendTimeMs }));
  }

  async #fromStore(wanted: BatchesWanted): Promise<FetchedBatch[]> {
    const { asked, bytesMax, evenOneLarger, log } = wanted;
    const { instruments, reader } = this.#parts;
    // Retention may have come by since the request was looked at.
    if (asked.offset < log.logStart) throw outOfRange(wanted.topic, asked, log);
    const share = log.find(asked.offset);
    if (share === undefined) return [];
    instruments.tailCache.misses.add(1);
    const batches: FetchedBatch[] = [];
    let bytes = 0;
    for (const { share: read, bytes: stored } of await reader.read(log, share, bytesMax, wanted)) {
      for (const records of batchesFrom(stored, asked.offset)) {
        const fits = bytes + records.length <= bytesMax;
        if (!fits && (batches.length > 0 || !evenOneLarger)) return batches;
        batches.push({ records, appendTimeMs: read.appendTimeMs });
        bytes += records.length;
      }
    }
    return batches;
  }

  /** The object is gone: metadata knows why. */
  async #elsewhere(wanted: BatchesWanted, missing: StreamHouseError): Promise<FetchedBatch[]> {
    const { asked, topic } = wanted;
    await this.#parts.finder.lookAgain(asked);
    try {
      return await this.#fromStore(wanted);
    } catch (thrown) {
      if (!isMissing(thrown)) throw thrown;
      throw new StreamHouseError({
        code: "CORRUPT_SEGMENT",
        kind: "corrupt",
        message: `offset ${asked.offset} of ${topic}/${asked.partition} cannot be read: ${missing.message}`,
        cause: asStreamHouseError(thrown, "reading batches"),
      });
    }
  }
}

/** The offset is below the log start, which metadata was asked for. */
export function outOfRange(
  topic: string,
  asked: FetchPartition,
  log: PartitionLog,
): StreamHouseError {
  return invalid(
    "OFFSET_OUT_OF_RANGE",
    `offset ${asked.offset} of ${topic}/${asked.partition} is below the log start: ` +
      `offsets ${log.logStart} to ${log.highWatermark} can be read; retention has deleted what was before`,
    { field: "offset" },
  );
}

function isMissing(error: unknown): error is StreamHouseError {
  return StreamHouseError.is(error) && error.code === "OBJECT_NOT_FOUND";
}
