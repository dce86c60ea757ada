/**
 * The partitions that this consumer reads now, a cursor for each. Takes over what the session says: finds where to begin, tells
 * the application, lets go of what is gone. It does not fetch.
 */
import { StreamHouseError } from "../core/errors.ts";
import { partitionKey } from "../core/topic.ts";
import type { AssignedPartition } from "../rpc/gen/streamhouse/v1/group.ts";
import type { CallComponents } from "./calls.ts";
import { Cursor } from "./cursor.ts";
import type { ConsumerInstruments } from "./instruments.ts";
import { startOffsets } from "./offsets.ts";
import type { NamedPartition, ResolvedConsumerOptions } from "./options.ts";

export interface AssignmentEvents {
  /** Before partitions are let go that are still ours: a last chance to commit. Never throws. */
  beforeRevoke(cursors: readonly Cursor[]): Promise<void>;
  /** Cursors came or went. */
  changed(): void;
  /** A callback of the application threw. */
  callbackFailed(error: unknown): void;
}

export class Assignment {
  readonly #parts: CallComponents;
  readonly #options: ResolvedConsumerOptions;
  readonly #instruments: ConsumerInstruments;
  readonly #events: AssignmentEvents;
  readonly #cursors = new Map<string, Cursor>();

  constructor(
    parts: CallComponents & { readonly instruments: ConsumerInstruments },
    options: ResolvedConsumerOptions,
    events: AssignmentEvents,
  ) {
    this.#parts = parts;
    this.#options = options;
    this.#instruments = parts.instruments;
    this.#events = events;
  }

  get cursors(): Iterable<Cursor> {
    return this.#cursors.values();
  }

  owned(): readonly AssignedPartition[] {
    return [...this.#cursors.values()].map(({ topicId, topic, partition }) => ({
      topicId,
      topic,
      partition,
    }));
  }

  /** @throws StreamHouseError `INVALID_ARGUMENT` if the partition is not assigned to this consumer */
  cursor(topic: string, partition: number): Cursor {
    for (const cursor of this.#cursors.values()) {
      if (cursor.topic === topic && cursor.partition === partition) return cursor;
    }
    throw new StreamHouseError({
      code: "INVALID_ARGUMENT",
      kind: "invalid",
      field: "partition",
      message: `${topic}/${partition} is not assigned to this consumer now: see assignment()`,
    });
  }

  /** Makes this the assignment. What could not be begun is left out and found missing at the next call. */
  async take(partitions: readonly AssignedPartition[]): Promise<void> {
    const wanted = new Map(partitions.map((it) => [partitionKey(it.topicId, it.partition), it]));
    const gone = [...this.#cursors.values()].filter((it) => !wanted.has(it.key));
    if (gone.length > 0) await this.#revoke(gone);
    const fresh = [...wanted].filter(([key]) => !this.#cursors.has(key)).map(([, it]) => it);
    if (fresh.length > 0) await this.#begin(fresh);
  }

  /** The membership is over: another member may have these partitions already, so nothing is committed. */
  async lose(): Promise<void> {
    await this.#drop([...this.#cursors.values()]);
  }

  async #revoke(gone: readonly Cursor[]): Promise<void> {
    await this.#events.beforeRevoke(gone);
    await this.#drop(gone);
  }

  async #drop(gone: readonly Cursor[]): Promise<void> {
    if (gone.length === 0) return;
    for (const cursor of gone) {
      cursor.revoke();
      cursor.cells.release();
      this.#cursors.delete(cursor.key);
    }
    this.#events.changed();
    await this.#tell(this.#options.onRevoked, gone);
  }

  async #begin(fresh: readonly AssignedPartition[]): Promise<void> {
    const starts = await startOffsets(this.#parts, this.#options, fresh);
    const begun: Cursor[] = [];
    for (const { topicId, topic, partition } of fresh) {
      const start = starts.get(partitionKey(topicId, partition));
      if (start === undefined) continue;
      const cells = this.#instruments.partition(topic, partition);
      const cursor = new Cursor({ topicId, topic, partition, ...start, cells });
      if (start.committed >= 0) cells.setCommitted(start.committed);
      cells.currentOffset.set(cursor.position);
      this.#cursors.set(cursor.key, cursor);
      begun.push(cursor);
    }
    // Told before the first fetch, so that a seek there costs nothing.
    await this.#tell(this.#options.onAssigned, begun);
    this.#events.changed();
  }

  async #tell(
    callback: (partitions: readonly NamedPartition[]) => void | Promise<void>,
    cursors: readonly Cursor[],
  ): Promise<void> {
    try {
      await callback(cursors.map(({ topic, partition }) => ({ topic, partition })));
    } catch (error) {
      this.#events.callbackFailed(error);
    }
  }
}
