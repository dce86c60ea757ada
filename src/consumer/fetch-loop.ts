/**
 * Keeps the queue of fetched batches filled: one long poll at a time to each agent, for all of its partitions, while the queue
 * has room. An answer for a partition that was seeked or revoked meanwhile is dropped. Outages are waited out; what waiting
 * does not cure is handed to `refusals`. Each partition is in one fetch at a time, whichever agent answers it, so that a move
 * from one agent to another can neither skip nor repeat anything. Called by `consumer-rooms.ts`.
 */
import type { AgentConnection } from "../client/transport.ts";
import type { Timer } from "../core/clock.ts";
import { asStreamHouseError, type StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { Logger } from "../core/logger.ts";
import { backoffMs } from "../core/retry.ts";
import type { FetchRequest, PartitionData } from "../rpc/gen/streamhouse/v1/consumer.ts";
import { fromErrorDetail } from "../rpc/status.ts";
import { BACKOFF, type CallComponents, isFenced } from "./calls.ts";
import type { Cursor } from "./cursor.ts";
import type { FetchSource } from "./fetch-source.ts";
import type { FetchedQueue } from "./fetched.ts";
import type { Identity } from "./group-session.ts";
import type { ConsumerInstruments } from "./instruments.ts";
import type { ResolvedConsumerOptions } from "./options.ts";
import type { Refusals } from "./refusals.ts";

export interface FetchLoopComponents extends CallComponents {
  readonly logger: Logger;
  readonly queue: FetchedQueue;
  /** Which agent is asked. */
  readonly source: FetchSource;
  readonly instruments: Pick<ConsumerInstruments, "fetchDuration">;
  readonly cursors: () => Iterable<Cursor>;
  /** Undefined without membership. */
  readonly identity: () => Identity | undefined;
  /** Told of a partition that cannot be read as asked. It is halted: a seek, a failure or its end must follow. */
  readonly refusals: Pick<Refusals, "handle">;
  /** The group refused this member. */
  readonly onFenced: () => void;
}

/**
 * How long an answer may be late at first, ms; twice as long after each failure, up to the request's deadline. An agent that hangs has
 * others beside it, and one that is slow must be given its time in the end.
 */
const LATE_MS = 5_000;

/** One fetch under way. */
interface Fetch {
  readonly abort: AbortController;
  /** With the generation that the answer is for. */
  readonly cursors: ReadonlyMap<Cursor, number>;
  /** Bytes that the answer may bring. */
  readonly reserved: number;
  done: Promise<void>;
}

export class FetchLoop {
  readonly #parts: FetchLoopComponents;
  readonly #options: ResolvedConsumerOptions;
  readonly #stop = new AbortController();
  readonly #fetches = new Map<AgentConnection, Fetch>();
  readonly #locating = new Map<Cursor, Promise<void>>();
  #started = false;
  #planned = false;
  #timer: Timer | undefined;
  /** Which agent is asked first, so that the others get their turn when there is little room. */
  #turn = 0;

  constructor(parts: FetchLoopComponents, options: ResolvedConsumerOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  start(): void {
    this.#started = true;
    this.wake();
  }

  /** Partitions came, went, were seeked or resumed: fetches that do not fit any more end now. */
  poke(): void {
    const now = this.#parts.clock.monotonic();
    const missing = [...this.#parts.cursors()].filter((it) => this.#isDue(it, now));
    for (const [connection, { abort, cursors }] of this.#fetches) {
      const stale = [...cursors].some(
        ([cursor, generation]) => cursor.fetchGeneration !== generation,
      );
      if (stale || missing.some((it) => it.connection === connection)) abort.abort();
    }
    this.wake();
  }

  /** There is room in the queue, or something else to do: looked at in a moment, once for many calls. */
  wake(): void {
    if (this.#planned || !this.#started || this.#stop.signal.aborted) return;
    this.#planned = true;
    queueMicrotask(() => {
      this.#planned = false;
      if (!this.#stop.signal.aborted) this.#plan();
    });
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#timer?.cancel();
    for (const { abort } of this.#fetches.values()) abort.abort();
    await Promise.all([...this.#fetches.values()].map((it) => it.done));
    await Promise.all(this.#locating.values());
  }

  #isDue(cursor: Cursor, now: number): boolean {
    if (!cursor.fetchable || cursor.notBefore > now || this.#locating.has(cursor)) return false;
    for (const { cursors } of this.#fetches.values()) {
      if (cursors.get(cursor) === cursor.fetchGeneration) return false;
    }
    return true;
  }

  /** Begins what can begin now: a fetch for each agent that has none, and looking for agents. */
  #plan(): void {
    const now = this.#parts.clock.monotonic();
    const plan = new Map<AgentConnection, Cursor[]>();
    let later = Number.POSITIVE_INFINITY;
    for (const cursor of this.#parts.cursors()) {
      if (cursor.fetchable && cursor.notBefore > now) later = Math.min(later, cursor.notBefore);
      if (!this.#isDue(cursor, now)) continue;
      const { connection } = cursor;
      if (connection === undefined || now > cursor.connectionUntil) this.#locate(cursor);
      else if (!this.#fetches.has(connection)) {
        const cursors = plan.get(connection);
        if (cursors === undefined) plan.set(connection, [cursor]);
        else if (cursors.length < limits.partitionsPerRequestMax) cursors.push(cursor);
      }
    }
    this.#wakeAt(later);
    const agents = [...plan];
    const first = this.#turn++ % Math.max(1, agents.length);
    for (const [connection, cursors] of [...agents.slice(first), ...agents.slice(0, first)]) {
      const room = this.#room(agents.length);
      if (room > 0) this.#begin(connection, cursors, room);
    }
  }

  /**
   * Bytes that one more fetch may bring; 0 for not now. Half of the queue's limit is shared out among the agents, so
   * that the other half can be read while they answer, and answers are worth their round trip.
   */
  #room(planned: number): number {
    const { prefetchBytes } = this.#options;
    let reserved = 0;
    for (const fetch of this.#fetches.values()) reserved += fetch.reserved;
    const agents = Math.max(1, this.#fetches.size + planned);
    const share = Math.min(limits.requestBytesMax, Math.ceil(prefetchBytes / (2 * agents)));
    const room = prefetchBytes - this.#parts.queue.bytes - reserved;
    return room >= share ? share : 0;
  }

  #wakeAt(at: number): void {
    this.#timer?.cancel();
    if (at === Number.POSITIVE_INFINITY) return;
    const delay = at - this.#parts.clock.monotonic();
    this.#timer = this.#parts.clock.schedule(delay, () => this.wake(), { background: true });
  }

  #locate(cursor: Cursor): void {
    const locate = async () => {
      try {
        const { connection, until } = await this.#parts.source.locate(cursor, this.#stop.signal);
        cursor.connection = connection;
        cursor.connectionUntil = until;
      } catch (thrown) {
        const error = asStreamHouseError(thrown, "finding an agent");
        if (!this.#stop.signal.aborted) this.#refused(cursor, error);
      } finally {
        this.#locating.delete(cursor);
        this.wake();
      }
    };
    this.#locating.set(cursor, locate());
  }

  #begin(connection: AgentConnection, cursors: readonly Cursor[], reserved: number): void {
    const abort = new AbortController();
    const generations = new Map(cursors.map((it) => [it, it.fetchGeneration]));
    const fetch: Fetch = { abort, cursors: generations, reserved, done: Promise.resolve() };
    this.#fetches.set(connection, fetch);
    fetch.done = this.#fetch(connection, fetch).finally(() => {
      this.#fetches.delete(connection);
      this.wake();
    });
  }

  async #fetch(connection: AgentConnection, fetch: Fetch): Promise<void> {
    const cursors = [...fetch.cursors.keys()];
    const current = (cursor: Cursor) => fetch.cursors.get(cursor) === cursor.fetchGeneration;
    const timeoutMs = this.#timeoutMs(cursors);
    const began = this.#parts.clock.monotonic();
    const measure = () => {
      const seconds = (this.#parts.clock.monotonic() - began) / 1_000;
      this.#parts.instruments.fetchDuration.record(seconds);
    };
    try {
      const request = this.#request(cursors, fetch.reserved);
      const call = { signal: fetch.abort.signal, timeoutMs };
      const answer = await connection.api.fetch(request, call);
      measure();
      this.#parts.source.answered(connection);
      answer.partitions.forEach((data, i) => {
        const cursor = cursors[i];
        if (cursor !== undefined && current(cursor)) this.#apply(connection, cursor, data);
      });
    } catch (thrown) {
      // One that was called off, because something else is to be fetched, took as long as we wanted it to.
      if (fetch.abort.signal.aborted) return;
      measure();
      this.#failed(connection, cursors.filter(current), thrown);
    }
  }

  #timeoutMs(cursors: readonly Cursor[]): number {
    const { fetchMaxWaitMs, requestTimeoutMs } = this.#options;
    const failures = cursors.reduce((most, it) => Math.max(most, it.failures), 0);
    return fetchMaxWaitMs + Math.min(requestTimeoutMs, LATE_MS * 2 ** Math.min(10, failures));
  }

  #request(cursors: readonly Cursor[], maxBytes: number): FetchRequest {
    const { fetchMaxWaitMs, fetchMinBytes, fetchPartitionBytes, group } = this.#options;
    const identity = this.#parts.identity();
    return {
      partitions: cursors.map(({ topicId, partition, fetchOffset }) => ({
        topicId,
        partition,
        offset: fetchOffset,
        maxBytes: fetchPartitionBytes,
      })),
      maxWaitMs: fetchMaxWaitMs,
      minBytes: fetchMinBytes,
      maxBytes,
      group: identity === undefined ? "" : (group ?? ""),
      memberId: identity?.memberId ?? "",
      memberEpoch: identity?.memberEpoch ?? 0,
    };
  }

  #apply(connection: AgentConnection, cursor: Cursor, data: PartitionData): void {
    try {
      for (const batch of data.batches) this.#parts.queue.push(cursor, batch);
    } catch (thrown) {
      this.#refused(cursor, asStreamHouseError(thrown, "reading a fetched batch"));
      return;
    }
    if (data.error !== undefined) {
      const error = fromErrorDetail(data.error);
      this.#parts.source.failed(connection, error);
      this.#refused(cursor, error);
      return;
    }
    cursor.failures = 0;
    // Looked up again before the next fetch, which goes to the holder then.
    if (this.#parts.source.moves(connection, cursor, data.holderAddress)) {
      cursor.connection = undefined;
    }
  }

  #failed(connection: AgentConnection, cursors: readonly Cursor[], thrown: unknown): void {
    const error = asStreamHouseError(thrown, "a fetch");
    this.#parts.source.failed(connection, error);
    if (isFenced(error)) {
      this.#parts.onFenced();
      for (const cursor of cursors) this.#putOff(cursor, error);
      return;
    }
    if (error.retriable) this.#parts.onRetry(error);
    for (const cursor of cursors) this.#refused(cursor, error);
  }

  #refused(cursor: Cursor, error: StreamHouseError): void {
    this.#parts.cluster.note(cursor.topicId, cursor.partition, error);
    cursor.connection = undefined;
    // Something closed on the way (an agent that stops, a connection): there may be another one.
    if (error.retriable || error.kind === "closed") {
      this.#putOff(cursor, error);
      return;
    }
    cursor.halted = true;
    void this.#parts.refusals.handle(cursor, error);
  }

  #putOff(cursor: Cursor, error: StreamHouseError): void {
    const { clock, logger, random } = this.#parts;
    // The first of a row is worth a line; the following ones say the same.
    if (cursor.failures === 0) {
      logger.warn("a partition cannot be read now; trying on", {
        partition: cursor.name,
        error: error.message,
      });
    }
    cursor.failures++;
    const pause = Math.max(backoffMs(BACKOFF, cursor.failures, random), error.retryAfterMs ?? 0);
    cursor.notBefore = clock.monotonic() + pause;
  }
}
