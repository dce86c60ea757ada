/**
 * How far behind this consumer is, as the agents know it: asked for by its own timer, never computed from what `poll` saw, so
 * that a stuck application's lag keeps growing. One question, one consistent answer, by the agents' clock. Called by
 * `consumer-rooms.ts`.
 */
import type { Timer } from "../core/clock.ts";
import { StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import type { PartitionLag, ReadPosition } from "../rpc/gen/streamhouse/v1/group.ts";
import { fromErrorDetail } from "../rpc/status.ts";
import type { MetricRegistry } from "../telemetry/cells.ts";
import { askAny, type CallComponents } from "./calls.ts";
import type { Cursor } from "./cursor.ts";
import { ConsumerLagGauges } from "./lag-gauges.ts";
import type { PartitionRef } from "./options.ts";

/** Records not committed yet, and the age of the first of them; 0 seconds exactly when there are none. */
export interface Lag {
  readonly records: number;
  readonly seconds: number;
}

export interface LagComponents extends CallComponents {
  readonly metrics: MetricRegistry;
  readonly group: string | undefined;
  readonly cursors: () => Iterable<Cursor>;
}

export class LagMonitor {
  readonly #parts: LagComponents;
  readonly #gauges: ConsumerLagGauges;
  #timer: Timer | undefined;
  readonly #stop = new AbortController();
  #refreshing: Promise<void> | undefined;

  constructor(parts: LagComponents) {
    this.#parts = parts;
    this.#gauges = new ConsumerLagGauges(parts.metrics, parts.clock, parts.group);
  }

  /** Refreshes the gauges now and then twice within `ageMs`, so that no value is older, until `stop()`. */
  start(ageMs: number): void {
    const { clock, group } = this.#parts;
    const { signal } = this.#stop;
    if (signal.aborted || group === undefined) return;
    this.#refreshing = this.#refresh().finally(() => {
      this.#refreshing = undefined;
      if (signal.aborted) return;
      this.#timer = clock.schedule(ageMs / 2, () => this.start(ageMs), { background: true });
    });
  }

  /** Before each collection: seconds go on growing, and what was revoked is gone. */
  observe(): void {
    this.#gauges.moveOn();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#timer?.cancel();
    await this.#refreshing;
    this.#gauges.close();
  }

  /** @throws StreamHouseError if the agents cannot tell */
  async of(cursor: Cursor): Promise<Lag> {
    return lagOf(await this.#ask([cursor]), cursor);
  }

  /** Lag of every partition that is read now. @throws StreamHouseError if the agents cannot tell */
  async ofAll(): Promise<readonly (PartitionRef & Lag)[]> {
    const cursors = [...this.#parts.cursors()];
    const answer = await this.#ask(cursors);
    return cursors.map((it) => {
      const { topic, partition } = it;
      return { topic, partition, ...lagOf(answer, it) };
    });
  }

  /** The group's lag in a partition that is not this consumer's: from the log start if it has committed nothing. */
  async elsewhere({ topicId, partition }: TopicPartition): Promise<Lag> {
    const answer = await this.#askFor([{ topicId, partition, offset: 0 }]);
    return lagOf(answer, { key: partitionKey(topicId, partition), partition });
  }

  /** A group that has committed nothing is counted from where this consumer began, as one without a group from where it is. */
  #ask(cursors: readonly Cursor[]): Promise<Map<string, PartitionLag>> {
    const { group } = this.#parts;
    return this.#askFor(
      cursors.map(({ topicId, partition, position, begin }) => ({
        ...{ topicId, partition, offset: group === undefined ? position : begin },
      })),
    );
  }

  /** One question, unless there are very many positions. */
  async #askFor(positions: readonly ReadPosition[]): Promise<Map<string, PartitionLag>> {
    const { group = "" } = this.#parts;
    const { signal } = this.#stop;
    const most = limits.partitionsPerRequestMax;
    const found = new Map<string, PartitionLag>();
    for (let i = 0; i === 0 || i < positions.length; i += most) {
      const request = { group, positions: positions.slice(i, i + most) };
      const ask = askAny(this.#parts, ({ api }, call) => api.describeGroup(request, call), {
        signal,
      });
      for (const it of (await ask).lags) found.set(partitionKey(it.topicId, it.partition), it);
    }
    return found;
  }

  /** A failure keeps the old values and is counted. */
  async #refresh(): Promise<void> {
    const { clock, cursors } = this.#parts;
    const askedAt = clock.monotonic();
    try {
      const asked = [...cursors()];
      const answer = await this.#ask(asked);
      const lags = new Map<Cursor, PartitionLag>();
      for (const cursor of asked) {
        const lag = answer.get(cursor.key);
        if (lag !== undefined && lag.error === undefined) lags.set(cursor, lag);
      }
      this.#gauges.show(lags, askedAt);
      // What was revoked meanwhile needs no answer; what is still assigned and has none keeps its old value.
      if (asked.some((it) => !lags.has(it) && !it.revoked)) this.#failed();
    } catch {
      this.#failed();
    }
  }

  #failed(): void {
    if (!this.#stop.signal.aborted) this.#gauges.refreshErrors.add(1);
  }
}

function lagOf(
  answer: ReadonlyMap<string, PartitionLag>,
  { key, partition }: Pick<Cursor, "key" | "partition">,
): Lag {
  const lag = answer.get(key);
  if (lag === undefined) throw unanswered(partition);
  if (lag.error !== undefined) throw fromErrorDetail(lag.error);
  return { records: lag.lagRecords, seconds: lag.lagSeconds };
}

function unanswered(partition: number): StreamHouseError {
  return new StreamHouseError({
    code: "INTERNAL",
    kind: "internal",
    message: `the agent's answer says nothing of partition ${partition}`,
  });
}
