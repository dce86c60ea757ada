/**
 * Keeps the queue of fetched batches filled: one long poll at a time to each agent, for all of its partitions, while the
 * queue has room. An answer for a partition that was seeked or revoked meanwhile is dropped. Outages are waited out.
 */
import type { Cluster } from "../client/cluster.ts";
import type { AgentConnection } from "../client/transport.ts";
import { type Clock, sleep } from "../core/clock.ts";
import { asStreamHouseError, type StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import { limits } from "../core/limits.ts";
import type { Logger } from "../core/logger.ts";
import { backoffMs } from "../core/retry.ts";
import type { PartitionData } from "../rpc/gen/streamhouse/v1/consumer.ts";
import { fromErrorDetail } from "../rpc/status.ts";
import { CALL_TIMEOUT_MS, isFenced } from "./calls.ts";
import type { Cursor } from "./cursor.ts";
import type { FetchedQueue } from "./fetched.ts";
import type { Identity } from "./group-session.ts";
import type { ResolvedConsumerOptions } from "./options.ts";

export interface FetchLoopComponents {
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  readonly queue: FetchedQueue;
  readonly cursors: () => Iterable<Cursor>;
  /** Undefined without membership. */
  readonly identity: () => Identity | undefined;
  /** The agent refused to read the partition there; the loop leaves it alone until a seek. */
  readonly onRefused: (cursor: Cursor, error: StreamHouseError) => void;
  /** The group refused this member. */
  readonly onFenced: () => void;
}

const BACKOFF = { baseMs: 100, maxMs: 1_000 };
/** How long a partition's lease holder is believed without asking the cluster again. */
const CONNECTION_MS = 30_000;

/** One fetch under way. */
interface Fetch {
  readonly abort: AbortController;
  readonly cursors: ReadonlyMap<Cursor, number>;
}

export class FetchLoop {
  readonly #parts: FetchLoopComponents;
  readonly #options: ResolvedConsumerOptions;
  readonly #stop = new AbortController();
  readonly #fetches = new Map<AgentConnection, Fetch>();
  #running: Promise<void> | undefined;
  #wake: () => void = () => {};
  #woken = false;
  #failures = 0;

  constructor(parts: FetchLoopComponents, options: ResolvedConsumerOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Partitions came, went, were seeked, paused or resumed: fetches that do not fit any more end now. */
  poke(): void {
    for (const fetch of this.#fetches.values()) {
      const stale = [...fetch.cursors].some(
        ([cursor, generation]) => !cursor.fetchable || cursor.generation !== generation,
      );
      const missing = [...this.#parts.cursors()].some(
        (it) => it.fetchable && !this.#isFetching(it),
      );
      if (stale || missing) fetch.abort.abort();
    }
    this.#signal();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    for (const fetch of this.#fetches.values()) fetch.abort.abort();
    this.#signal();
    await this.#running;
  }

  #isFetching(cursor: Cursor): boolean {
    for (const fetch of this.#fetches.values()) if (fetch.cursors.has(cursor)) return true;
    return false;
  }

  /** The queue has room again. */
  wake(): void {
    this.#signal();
  }

  #signal(): void {
    this.#woken = true;
    this.#wake();
  }

  async #run(): Promise<void> {
    const { queue } = this.#parts;
    const forget = queue.onChange(() => this.#signal());
    const under = new Set<Promise<void>>();
    while (!this.#stop.signal.aborted) {
      this.#woken = false;
      if (queue.bytes < this.#options.prefetchBytes) {
        for (const [connection, cursors] of await this.#plan()) {
          if (this.#fetches.has(connection) || this.#stop.signal.aborted) continue;
          const task = this.#fetch(connection, cursors).finally(() => {
            under.delete(task);
            this.#signal();
          });
          under.add(task);
        }
      }
      if (!this.#woken) await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    forget();
    await Promise.all(under);
  }

  /** Which partitions to ask of which agent now. */
  async #plan(): Promise<Map<AgentConnection, Cursor[]>> {
    const plan = new Map<AgentConnection, Cursor[]>();
    const now = this.#parts.clock.monotonic();
    for (const cursor of this.#parts.cursors()) {
      if (!cursor.fetchable || this.#isFetching(cursor)) continue;
      try {
        if (cursor.connection === undefined || now > cursor.connectionUntil) {
          const { topicId, partition } = cursor;
          cursor.connection = await this.#parts.cluster.holder(
            topicId,
            partition,
            this.#stop.signal,
          );
          cursor.connectionUntil = now + CONNECTION_MS;
        }
      } catch (thrown) {
        const error = asStreamHouseError(thrown, "finding an agent");
        if (error.code === "TOPIC_NOT_FOUND") this.#refused(cursor, error);
        else await this.#pause(error);
        continue;
      }
      const cursors = plan.get(cursor.connection);
      if (cursors === undefined) plan.set(cursor.connection, [cursor]);
      else if (cursors.length < limits.partitionsPerRequestMax) cursors.push(cursor);
    }
    return plan;
  }

  async #fetch(connection: AgentConnection, cursors: readonly Cursor[]): Promise<void> {
    const abort = new AbortController();
    const generations = new Map(cursors.map((it) => [it, it.generation]));
    this.#fetches.set(connection, { abort, cursors: generations });
    const { fetchMaxWaitMs, fetchMinBytes, fetchPartitionBytes, prefetchBytes, group } =
      this.#options;
    const identity = this.#parts.identity();
    const room = prefetchBytes - this.#parts.queue.bytes;
    try {
      const answer = await connection.api.fetch(
        {
          partitions: cursors.map(({ topicId, partition, fetchOffset }) => ({
            topicId,
            partition,
            offset: fetchOffset,
            maxBytes: fetchPartitionBytes,
          })),
          maxWaitMs: fetchMaxWaitMs,
          minBytes: fetchMinBytes,
          maxBytes: Math.max(1, Math.min(room, limits.requestBytesMax)),
          group: identity === undefined ? "" : (group ?? ""),
          memberId: identity?.memberId ?? "",
          memberEpoch: identity?.memberEpoch ?? 0,
        },
        { signal: abort.signal, timeoutMs: fetchMaxWaitMs + CALL_TIMEOUT_MS },
      );
      this.#failures = 0;
      answer.partitions.forEach((data, i) => {
        const cursor = cursors[i];
        if (cursor === undefined || cursor.generation !== generations.get(cursor)) return;
        this.#apply(cursor, data);
      });
    } catch (thrown) {
      if (!abort.signal.aborted) await this.#failed(cursors, thrown);
    } finally {
      this.#fetches.delete(connection);
    }
  }

  #apply(cursor: Cursor, data: PartitionData): void {
    if (data.highWatermark >= 0) cursor.highWatermark = data.highWatermark;
    if (data.logStartOffset >= 0) cursor.logStart = data.logStartOffset;
    try {
      for (const batch of data.batches) this.#parts.queue.push(cursor, batch);
    } catch (thrown) {
      this.#refused(cursor, asStreamHouseError(thrown, "reading a fetched batch"));
      return;
    }
    if (data.error !== undefined) this.#refused(cursor, fromErrorDetail(data.error));
  }

  #refused(cursor: Cursor, error: StreamHouseError): void {
    if (error.retriable) {
      cursor.connection = undefined;
      this.#parts.cluster.note(cursor.topicId, cursor.partition, error);
      return;
    }
    // What was fetched before it is given out first; the refusal stands at the offset after that.
    cursor.failure = error;
    this.#parts.onRefused(cursor, error);
    this.#parts.queue.wake();
  }

  async #failed(cursors: readonly Cursor[], thrown: unknown): Promise<void> {
    const error = asStreamHouseError(thrown, "a fetch");
    for (const cursor of cursors) {
      cursor.connection = undefined;
      this.#parts.cluster.note(cursor.topicId, cursor.partition, error);
    }
    const fenced: boolean = isFenced(error);
    if (fenced) this.#parts.onFenced();
    else if (!error.retriable && error.kind !== "closed") {
      // Asking again would be answered the same: the application must know.
      for (const cursor of cursors) this.#refused(cursor, error);
      return;
    }
    await this.#pause(error);
  }

  async #pause(error: StreamHouseError): Promise<void> {
    this.#failures++;
    const { clock, logger, random } = this.#parts;
    if (!this.#stop.signal.aborted) logger.warn("a fetch failed", { error: error.message });
    const pause = Math.max(backoffMs(BACKOFF, this.#failures, random), error.retryAfterMs ?? 0);
    await sleep(clock, pause, this.#stop.signal).catch(() => {});
  }
}
