/**
 * `AgentApi.fetch`: committed batches from the tail cache or the store, with a long poll at the tail. Before it says "out of
 * range" it asks metadata; an offset at or beyond the high watermark waits, always. A call that ends, however it
 * ends, leaves nothing behind. Called by the services.
 */
import type { Clock } from "../core/clock.ts";
import { asStreamHouseError, invalid, StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { checkPartition, type TopicPartition } from "../core/topic.ts";
import type { CallContext } from "../rpc/agent-api.ts";
import type {
  FetchedBatch,
  FetchPartition,
  FetchRequest,
  FetchResponse,
  PartitionData,
} from "../rpc/gen/streamhouse/v1/consumer.ts";
import { toErrorDetail } from "../rpc/status.ts";
import type { AgentInstruments } from "./agent-instruments.ts";
import { AnswerRoom } from "./answer-room.ts";
import { batchesFrom } from "./batch-walk.ts";
import type { LogIndex } from "./log-index.ts";
import type { PartitionLog } from "./partition-log.ts";
import type { ShareReader } from "./share-reader.ts";
import type { TailCache } from "./tail-cache.ts";
import type { Topics } from "./topics.ts";
import type { WaitingRoom } from "./waiting-room.ts";

export interface FetcherComponents {
  readonly topics: Topics;
  readonly index: LogIndex;
  readonly tail: TailCache;
  readonly reader: ShareReader;
  readonly waiting: WaitingRoom;
  readonly instruments: AgentInstruments;
  /** Whether a partition's lease is held here: its bounds in memory are then the newest there are. */
  readonly holds: (topicId: string, partition: number) => boolean;
  /** Refuses a group's member that is stale, or does not have the partitions. */
  readonly checkMember: (request: FetchRequest) => Promise<void>;
  readonly clock: Clock;
}

const PARTITION_BYTES = 1_048_576;

/** One partition of a request: what can be read, or why not. */
interface Target {
  readonly asked: FetchPartition;
  readonly log: PartitionLog | undefined;
  readonly error: StreamHouseError | undefined;
}

export class Fetcher {
  readonly #parts: FetcherComponents;
  /** Where the next answer begins to fill up, so that the last partitions of a request get their turn too. */
  #turn = 0;

  constructor(components: FetcherComponents) {
    this.#parts = components;
  }

  /** @throws StreamHouseError `INVALID_ARGUMENT`, `UNKNOWN_MEMBER`, `GROUP_FENCED`, `OVERLOADED`, `ABORTED`, `AGENT_DRAINING` */
  async fetch(request: FetchRequest, call: CallContext): Promise<FetchResponse> {
    checkRequest(request);
    if (request.group !== "") await this.#parts.checkMember(request);
    const { clock, waiting } = this.#parts;
    const until = clock.monotonic() + Math.min(request.maxWaitMs, limits.fetchWaitMsMax);
    const enough = Math.max(1, request.minBytes);
    for (;;) {
      const targets = await Promise.all(request.partitions.map((it) => this.#target(it)));
      const left = until - clock.monotonic();
      if (left <= 0 || isReady(targets, enough)) return this.#answer(request, targets);
      const logs = targets.flatMap((it) => it.log ?? []);
      await waiting.wait(logs, left, call.signal);
    }
  }

  async #target(asked: FetchPartition): Promise<Target> {
    try {
      return { asked, log: await this.#find(asked), error: undefined };
    } catch (thrown) {
      const error = asStreamHouseError(thrown, "looking a partition up");
      return { asked, log: undefined, error };
    }
  }

  /** The partition's log, if the offset may be read from it or waited for. */
  async #find(asked: FetchPartition): Promise<PartitionLog> {
    const { holds, index, topics } = this.#parts;
    const { topicId, partition, offset } = asked;
    const ref = { name: "", topicId };
    const topic = topics.known(ref) ?? (await topics.find(ref));
    checkPartition(topic, partition);
    let log = index.get(topicId, partition);
    const beyond = log !== undefined && offset > log.highWatermark && !holds(topicId, partition);
    if (log === undefined || offset < log.logStart || beyond) {
      log = await this.#lookAgain(asked);
    }
    if (offset < log.logStart) throw outOfRange(topic.name, asked, log);
    return log;
  }

  async #lookAgain(asked: TopicPartition): Promise<PartitionLog> {
    const { index } = this.#parts;
    const { topicId, partition } = asked;
    await index.refreshBounds([{ topicId, partition }]);
    return index.ensure(topicId, partition, 0);
  }

  async #answer(request: FetchRequest, targets: readonly Target[]): Promise<FetchResponse> {
    const partitions: PartitionData[] = targets.map(emptyData);
    const bytesMax = Math.min(request.maxBytes || limits.requestBytesMax, limits.requestBytesMax);
    const room = new AnswerRoom(partitions);
    let bytes = 0;
    const start = this.#turn++ % Math.max(1, targets.length);
    for (let i = 0; i < targets.length && (bytes < bytesMax || bytes === 0); i++) {
      if (room.full) break;
      const at = (start + i) % targets.length;
      const { asked, log } = targets[at] as Target;
      const data = partitions[at] as PartitionData;
      if (log === undefined || asked.offset >= log.highWatermark) continue;
      const wanted = Math.min(bytesMax - bytes, asked.maxBytes || PARTITION_BYTES);
      try {
        data.batches = room.take(await this.#read(log, asked.offset, wanted, bytes === 0));
        const read = bytesOf(data.batches);
        bytes += read;
        this.#count(asked.topicId, read);
      } catch (thrown) {
        data.error = toErrorDetail(await this.#explain(thrown, log, asked));
        room.takeError(data.error);
      }
      // Both may have moved while the store was read; the bounds must not be older than the batches.
      data.highWatermark = log.highWatermark;
      data.logStartOffset = log.logStart;
    }
    return { partitions };
  }

  /** Batches from the one that holds `offset`, up to `bytesMax`; with `evenOneLarger` the first one in any case. */
  async #read(
    log: PartitionLog,
    offset: number,
    bytesMax: number,
    evenOneLarger: boolean,
  ): Promise<FetchedBatch[]> {
    const { instruments, reader, tail } = this.#parts;
    const cached = tail.read(log, offset, bytesMax);
    const first = cached[0];
    if (first !== undefined) {
      instruments.tailCache.hits.add(1);
      if (first.bytes.length > bytesMax && !evenOneLarger) return [];
      return cached.map((it) => ({ records: it.bytes, appendTimeMs: it.appendTimeMs }));
    }
    const share = log.find(offset);
    if (share === undefined) return [];
    instruments.tailCache.misses.add(1);
    const batches: FetchedBatch[] = [];
    let bytes = 0;
    for (const { share: read, bytes: stored } of await reader.read(log, share, bytesMax)) {
      for (const records of batchesFrom(stored, offset)) {
        const fits = bytes + records.length <= bytesMax;
        if (!fits && (batches.length > 0 || !evenOneLarger)) return batches;
        batches.push({ records, appendTimeMs: read.appendTimeMs });
        bytes += records.length;
      }
    }
    return batches;
  }

  #count(topicId: string, bytes: number): void {
    const topic = this.#parts.topics.byId(topicId)?.name;
    if (topic !== undefined && bytes > 0) this.#parts.instruments.fetched(topic, bytes);
  }

  /** A missing object is looked into once: retention may have taken it since the index was read. */
  async #explain(
    thrown: unknown,
    log: PartitionLog,
    asked: FetchPartition,
  ): Promise<StreamHouseError> {
    const error = asStreamHouseError(thrown, "reading batches");
    if (error.code !== "OBJECT_NOT_FOUND") return error;
    const name = this.#parts.topics.byId(asked.topicId)?.name ?? asked.topicId;
    try {
      await this.#lookAgain(asked);
    } catch (again) {
      return asStreamHouseError(again, "reading a partition's bounds");
    }
    if (asked.offset < log.logStart) return outOfRange(name, asked, log);
    return new StreamHouseError({
      code: "CORRUPT_SEGMENT",
      kind: "corrupt",
      message: `offset ${asked.offset} of ${name}/${asked.partition} cannot be read: ${error.message}`,
      cause: error,
    });
  }
}

function bytesOf(batches: readonly FetchedBatch[]): number {
  let bytes = 0;
  for (const batch of batches) bytes += batch.records.length;
  return bytes;
}

function isReady(targets: readonly Target[], enough: number): boolean {
  let bytes = 0;
  for (const { asked, error, log } of targets) {
    if (error !== undefined) return true;
    bytes += log?.bytesFrom(asked.offset, enough - bytes) ?? 0;
    if (bytes >= enough) return true;
  }
  return targets.length === 0;
}

function emptyData({ asked, error, log }: Target): PartitionData {
  return {
    topicId: asked.topicId,
    partition: asked.partition,
    highWatermark: log?.highWatermark ?? -1,
    logStartOffset: log?.logStart ?? -1,
    batches: [],
    error: error && toErrorDetail(error),
  };
}

function checkRequest(request: FetchRequest): void {
  const { partitions } = request;
  if (partitions.length > limits.partitionsPerRequestMax) {
    throw invalid(
      "REQUEST_TOO_LARGE",
      `${partitions.length} partitions in one fetch, the limit is ${limits.partitionsPerRequestMax}`,
      { field: "partitions" },
    );
  }
  partitions.forEach((it, i) => {
    if (Number.isSafeInteger(it.offset) && it.offset >= 0) return;
    throw invalid(
      "INVALID_ARGUMENT",
      `partitions[${i}].offset is ${it.offset}: expected 0 or more (ListOffsets translates "earliest" and "latest")`,
      { field: `partitions[${i}].offset` },
    );
  });
}

function outOfRange(topic: string, asked: FetchPartition, log: PartitionLog): StreamHouseError {
  return invalid(
    "OFFSET_OUT_OF_RANGE",
    `offset ${asked.offset} of ${topic}/${asked.partition} is below the log start: ` +
      `offsets ${log.logStart} to ${log.highWatermark} can be read; retention has deleted what was before`,
    { field: "offset" },
  );
}
