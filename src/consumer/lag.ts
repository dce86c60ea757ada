/**
 * How far behind this consumer is, as the agents know it: asked for by its own timer, never computed from what `poll` saw, so
 * that a stuck application's lag keeps growing. Sets the `consumer.lag.*` gauges of the assigned partitions.
 */
import type { Timer } from "../core/clock.ts";
import { StreamHouseError } from "../core/errors.ts";
import { partitionKey } from "../core/topic.ts";
import type { PartitionLag } from "../rpc/gen/streamhouse/v1/group.ts";
import { fromErrorDetail } from "../rpc/status.ts";
import { askAny, CALL_TIMEOUT_MS, type CallComponents } from "./calls.ts";
import type { Cursor } from "./cursor.ts";
import type { ConsumerInstruments } from "./instruments.ts";

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
  #stopped = false;
  #refreshing: Promise<void> | undefined;

  constructor(parts: LagComponents) {
    this.#parts = parts;
  }

  /** Refreshes the gauges every `intervalMs` until `stop()`. */
  start(intervalMs: number): void {
    if (this.#stopped || this.#parts.group === undefined) return;
    this.#refreshing = this.#refresh().then(() => {
      this.#refreshing = undefined;
      if (this.#stopped) return;
      this.#timer = this.#parts.clock.schedule(intervalMs, () => this.start(intervalMs), {
        background: true,
      });
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#refreshing;
  }

  /** @throws StreamHouseError if the agents cannot tell */
  async of(cursor: Cursor): Promise<Lag> {
    if (this.#parts.group === undefined) return this.#ofPosition(cursor);
    const found = (await this.#ask(this.#parts.group)).get(cursor.key);
    if (found?.error !== undefined) throw fromErrorDetail(found.error);
    if (found !== undefined) return { records: found.lagRecords, seconds: found.lagSeconds };
    return this.#ofPosition(cursor);
  }

  /** Without a group, or before its first commit: from where the application is. */
  async #ofPosition(cursor: Cursor): Promise<Lag> {
    const { topicId, partition, position } = cursor;
    const { partitions } = await askAny(this.#parts, ({ api }, call) =>
      api.fetch(
        {
          partitions: [{ topicId, partition, offset: position, maxBytes: 1 }],
          maxWaitMs: 0,
          minBytes: 0,
          maxBytes: 1,
          group: "",
          memberId: "",
          memberEpoch: 0,
        },
        { ...call, timeoutMs: CALL_TIMEOUT_MS },
      ),
    );
    const data = partitions[0];
    if (data === undefined) throw noAnswer(cursor);
    if (data.error !== undefined) throw fromErrorDetail(data.error);
    const records = Math.max(0, data.highWatermark - Math.max(position, data.logStartOffset));
    const appended = data.batches[0]?.appendTimeMs;
    if (records === 0 || appended === undefined) return { records: 0, seconds: 0 };
    return { records, seconds: Math.max(0.001, (this.#parts.clock.now() - appended) / 1_000) };
  }

  async #ask(group: string): Promise<Map<string, PartitionLag>> {
    const { lags } = await askAny(this.#parts, ({ api }, call) =>
      api.describeGroup({ group }, call),
    );
    return new Map(lags.map((it) => [partitionKey(it.topicId, it.partition), it]));
  }

  /** A failure keeps the old values and is counted. */
  async #refresh(): Promise<void> {
    const { group, cursors, instruments } = this.#parts;
    try {
      const lags = await this.#ask(group ?? "");
      for (const cursor of cursors()) {
        const lag = lags.get(cursor.key);
        if (lag === undefined || lag.error !== undefined) continue;
        cursor.cells.setLag(lag.lagRecords, lag.lagSeconds);
      }
    } catch {
      if (!this.#stopped) instruments.lagRefreshErrors.add(1);
    }
  }
}

function noAnswer(cursor: Cursor): StreamHouseError {
  return new StreamHouseError({
    code: "INTERNAL",
    kind: "internal",
    message: `the agent did not answer for ${cursor.topic}/${cursor.partition}`,
  });
}
