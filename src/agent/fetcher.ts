/**
 * `AgentApi.fetch`: committed batches of any partition, with a long poll at the tail. The holder of a lease is woken by its own commits; for
 * what others hold the index is followed while somebody waits. Before it says "out of range" it asks metadata; an offset at or beyond
 * the high watermark waits, always. A call that ends, however it ends, leaves nothing behind. Called by the services.
 */
import type { Clock } from "../core/clock.ts";
import { asStreamHouseError, invalid, type StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
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
import { type BatchReader, outOfRange } from "./batch-reader.ts";
import type { LogFollower } from "./log-follower.ts";
import type { Found, PartitionFinder } from "./partition-finder.ts";
import type { WaitingRoom } from "./waiting-room.ts";

export interface FetcherComponents {
  readonly finder: PartitionFinder;
  readonly follower: LogFollower;
  readonly reader: BatchReader;
  readonly waiting: WaitingRoom;
  readonly instruments: AgentInstruments;
  /** Where another agent holds the partition's lease, as far as is known; empty otherwise. */
  readonly holderAddress: (topicId: string, partition: number) => string;
  /** Refuses a group's member that is stale, or does not have the partitions. */
  readonly checkMember: (request: FetchRequest) => Promise<void>;
  readonly clock: Clock;
}

const PARTITION_BYTES = 1_048_576;

/** How long it is believed that a member may read what it asked for, ms: a fetch that takes longer is looked at again in the end. */
const CHECKED_MS = 100;

/** One partition of a request: what can be read, or why not. */
interface Target {
  readonly asked: FetchPartition;
  readonly found: Found | undefined;
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
    const { clock } = this.#parts;
    const checkedAt = clock.monotonic();
    if (request.group !== "") await this.#parts.checkMember(request);
    const until = clock.monotonic() + Math.min(request.maxWaitMs, limits.fetchWaitMsMax);
    const enough = Math.max(1, request.minBytes);
    const waits = request.maxWaitMs > 0;
    for (;;) {
      const targets = await Promise.all(request.partitions.map((it) => this.#target(it, waits)));
      const left = until - clock.monotonic();
      if (left <= 0 || isReady(targets, enough)) {
        const answer = await this.#answer(request, targets, call);
        // What it waited for may be another member's by now.
        const isOld = clock.monotonic() - checkedAt > CHECKED_MS;
        if (isOld && request.group !== "") await this.#parts.checkMember(request);
        return answer;
      }
      await this.#wait(targets, left, call.signal);
    }
  }

  async #target(asked: FetchPartition, waits: boolean): Promise<Target> {
    const { finder } = this.#parts;
    try {
      const found = await finder.find(asked);
      const { log, topic } = found;
      if (asked.offset < log.logStart) {
        await finder.lookAgain(asked);
        if (asked.offset < log.logStart) throw outOfRange(topic.name, asked, log);
      } else if (!waits && asked.offset >= log.highWatermark && !finder.holds(asked)) {
        // Who does not wait is told what there is now.
        await finder.lookAgain(asked);
      }
      return { asked, found, error: undefined };
    } catch (thrown) {
      const error = asStreamHouseError(thrown, "looking a partition up");
      return { asked, found: undefined, error };
    }
  }

  /** Until one of the partitions grows, or changes hands. */
  async #wait(targets: readonly Target[], ms: number, signal?: AbortSignal): Promise<void> {
    const { finder, follower, waiting } = this.#parts;
    const logs = targets.flatMap((it) => it.found?.log ?? []);
    const elsewhere = logs.some((log) => !finder.holds(log));
    const waited = waiting.wait(logs, ms, signal);
    const leave = elsewhere ? follower.follow() : undefined;
    try {
      await waited;
    } finally {
      leave?.();
    }
  }

  async #answer(
    request: FetchRequest,
    targets: readonly Target[],
    { signal }: CallContext,
  ): Promise<FetchResponse> {
    const partitions: PartitionData[] = targets.map((it) => this.#empty(it));
    const bytesMax = Math.min(request.maxBytes || limits.requestBytesMax, limits.requestBytesMax);
    const room = new AnswerRoom(partitions);
    const isShared = sharedObjects(targets);
    let bytes = 0;
    const start = this.#turn++ % Math.max(1, targets.length);
    for (let i = 0; i < targets.length && (bytes < bytesMax || bytes === 0); i++) {
      if (room.full) break;
      const at = (start + i) % targets.length;
      const { asked, found } = targets[at] as Target;
      const data = partitions[at] as PartitionData;
      if (found === undefined || asked.offset >= found.log.highWatermark) continue;
      const { log, topic } = found;
      try {
        const batches = await this.#parts.reader.read({
          ...{ log, asked, signal, topic: topic.name, evenOneLarger: bytes === 0 },
          bytesMax: Math.min(bytesMax - bytes, asked.maxBytes || PARTITION_BYTES),
          wanted: isShared(log.share(log.find(asked.offset) ?? -1)?.key) ? "more" : "this",
        });
        data.batches = room.take(batches);
        const read = bytesOf(data.batches);
        bytes += read;
        this.#parts.instruments.fetched(topic.name, read, this.#parts.finder.holds(asked));
      } catch (thrown) {
        data.error = toErrorDetail(asStreamHouseError(thrown, "reading batches"));
        room.takeError(data.error);
      }
      // Both may have moved while the store was read; the bounds must not be older than the batches.
      data.highWatermark = log.highWatermark;
      data.logStartOffset = log.logStart;
    }
    return { partitions };
  }

  #empty({ asked, error, found }: Target): PartitionData {
    return {
      topicId: asked.topicId,
      partition: asked.partition,
      highWatermark: found?.log.highWatermark ?? -1,
      logStartOffset: found?.log.logStart ?? -1,
      batches: [],
      error: toDetail(error ?? this.#unknown(asked, found)),
      holderAddress: this.#holderOf(asked, found),
    };
  }

  #holderOf(asked: FetchPartition, found: Found | undefined): string {
    const { finder, holderAddress } = this.#parts;
    if (found === undefined || finder.holds(asked)) return "";
    return holderAddress(asked.topicId, asked.partition);
  }

  /** Whether there is something new cannot be told while metadata is away; another agent may know. */
  #unknown(asked: FetchPartition, found: Found | undefined): StreamHouseError | undefined {
    const { finder, follower } = this.#parts;
    if (found === undefined || asked.offset < found.log.highWatermark) return undefined;
    return finder.holds(asked) ? undefined : follower.failure;
  }
}

/** Whether more than one partition begins in the object: then it is worth reading once, as a whole. */
function sharedObjects(targets: readonly Target[]): (key: string | undefined) => boolean {
  const once = new Set<string>();
  const shared = new Set<string>();
  for (const { asked, found } of targets) {
    const key = found?.log.share(found.log.find(asked.offset) ?? -1)?.key;
    if (key !== undefined) (once.has(key) ? shared : once).add(key);
  }
  return (key) => key !== undefined && shared.has(key);
}

function bytesOf(batches: readonly FetchedBatch[]): number {
  let bytes = 0;
  for (const batch of batches) bytes += batch.records.length;
  return bytes;
}

function isReady(targets: readonly Target[], enough: number): boolean {
  let bytes = 0;
  for (const { asked, error, found } of targets) {
    if (error !== undefined) return true;
    bytes += found?.log.bytesFrom(asked.offset, enough - bytes) ?? 0;
    if (bytes >= enough) return true;
  }
  return targets.length === 0;
}

function toDetail(error: StreamHouseError | undefined): PartitionData["error"] {
  return error && toErrorDetail(error);
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
