/**
 * How far behind this consumer is, as the agents know it: asked for by its own timer, never computed from what `poll` saw, so
 * that a stuck application's lag keeps growing. Sets the `consumer.lag.*` gauges of the assigned partitions. Called by
 * `consumer-rooms.ts`.
 */
import type { Timer } from "../core/clock.ts";
import { StreamHouseError } from "../core/errors.ts";
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import type { AgentApi, CallContext } from "../rpc/agent-api.ts";
import type { PartitionLag } from "../rpc/gen/streamhouse/v1/group.ts";
import { fromErrorDetail } from "../rpc/status.ts";
import { askAny, type CallComponents } from "./calls.ts";
import type { Cursor } from "./cursor.ts";
import type { ConsumerInstruments } from "./instruments.ts";
import { EARLIEST } from "./offsets.ts";

/** Records not committed yet, and the age of the first of them; 0 seconds exactly when there are none. */
export interface Lag {
  readonly records: number;
  readonly seconds: number;
}

export interface LagComponents extends CallComponents {
  readonly instruments: ConsumerInstruments;
  readonly group: string | undefined;
  readonly cursors: () => Iterable<Cursor>;
}

export class LagMonitor {
  readonly #parts: LagComponents;
  #timer: Timer | undefined;
  readonly #stop = new AbortController();
  #refreshing: Promise<void> | undefined;

  constructor(parts: LagComponents) {
    this.#parts = parts;
  }

  /** Refreshes the gauges now and every `intervalMs` until `stop()`. */
  start(intervalMs: number): void {
    const { clock, group } = this.#parts;
    const { signal } = this.#stop;
    if (signal.aborted || group === undefined) return;
    this.#refreshing = this.#refresh().finally(() => {
      this.#refreshing = undefined;
      if (signal.aborted) return;
      this.#timer = clock.schedule(intervalMs, () => this.start(intervalMs), { background: true });
    });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#timer?.cancel();
    await this.#refreshing;
  }

  /**
   * Lags of these partitions, in order; one question to the agents for what the group has committed.
   * @throws StreamHouseError if the agents cannot tell
   */
  async of(cursors: readonly Cursor[]): Promise<readonly Lag[]> {
    const rows = await this.#rows();
    return Promise.all(cursors.map((it) => this.#ofCursor(it, rows.get(it.key))));
  }

  /** The group's lag in a partition that is not this consumer's: from the log start if it has committed nothing. */
  async elsewhere(at: TopicPartition): Promise<Lag> {
    const row = (await this.#rows()).get(partitionKey(at.topicId, at.partition));
    return row === undefined ? this.#from(at, 0) : lagOf(row);
  }

  /** A group that has committed nothing is counted from where this consumer began, as one without a group from where it is. */
  #ofCursor(cursor: Cursor, row: PartitionLag | undefined): Promise<Lag> | Lag {
    if (this.#parts.group === undefined) return this.#from(cursor, cursor.position);
    if (row !== undefined && row.error === undefined && row.committedOffset < 0) {
      return this.#from(cursor, cursor.finished);
    }
    return row === undefined ? this.#from(cursor, cursor.finished) : lagOf(row);
  }

  /** Reads the bounds, and the append time of the batch that holds the offset, with a fetch of that one batch. */
  async #from({ topicId, partition }: TopicPartition, offset: number): Promise<Lag> {
    let from = offset;
    for (let tries = 1; ; tries++) {
      const partitions = [{ topicId, partition, offset: from, maxBytes: 1 }];
      const own = { maxWaitMs: 0, minBytes: 0, maxBytes: 1 };
      const nobody = { group: "", memberId: "", memberEpoch: 0 };
      const answer = await this.#ask((api, call) =>
        api.fetch({ partitions, ...own, ...nobody }, call),
      );
      const data = answer.partitions[0];
      if (data === undefined) throw unanswered(partition);
      if (data.error?.code === "OFFSET_OUT_OF_RANGE" && tries === 1) {
        from = await this.#logStart({ topicId, partition });
        continue;
      }
      if (data.error !== undefined) throw fromErrorDetail(data.error);
      const records = Math.max(0, data.highWatermark - from);
      if (records === 0) return { records: 0, seconds: 0 };
      const now = this.#parts.clock.now();
      const appended = data.batches[0]?.appendTimeMs ?? now;
      return { records, seconds: Math.max(0.001, (now - appended) / 1_000) };
    }
  }

  async #logStart(at: TopicPartition): Promise<number> {
    const { offsets } = await this.#ask((api, call) =>
      api.listOffsets({ partitions: [{ ...at, timestampMs: EARLIEST }] }, call),
    );
    const first = offsets[0];
    if (first?.error !== undefined) throw fromErrorDetail(first.error);
    return first?.offset ?? 0;
  }

  async #rows(): Promise<Map<string, PartitionLag>> {
    const { group } = this.#parts;
    if (group === undefined) return new Map();
    const answer = await this.#ask((api, call) =>
      api.describeGroup({ group, positions: [] }, call),
    );
    return new Map(answer.lags.map((it) => [partitionKey(it.topicId, it.partition), it]));
  }

  #ask<T>(question: (api: AgentApi, call: CallContext) => Promise<T>): Promise<T> {
    const { signal } = this.#stop;
    return askAny(this.#parts, ({ api }, call) => question(api, call), { signal });
  }

  /** A failure keeps the old values and is counted. */
  async #refresh(): Promise<void> {
    try {
      const rows = await this.#rows();
      const set = async (cursor: Cursor) => {
        const lag = await this.#ofCursor(cursor, rows.get(cursor.key));
        cursor.cells.setLag(lag.records, lag.seconds);
      };
      const done = await Promise.allSettled([...this.#parts.cursors()].map(set));
      if (done.some((it) => it.status === "rejected")) this.#failed();
    } catch {
      this.#failed();
    }
  }

  #failed(): void {
    if (!this.#stop.signal.aborted) this.#parts.instruments.lagRefreshErrors.add(1);
  }
}

function lagOf(row: PartitionLag): Lag {
  if (row.error !== undefined) throw fromErrorDetail(row.error);
  return { records: row.lagRecords, seconds: row.lagSeconds };
}

function unanswered(partition: number): StreamHouseError {
  return new StreamHouseError({
    code: "INTERNAL",
    kind: "internal",
    message: `the agent's answer says nothing of partition ${partition}`,
  });
}
