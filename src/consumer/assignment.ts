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
import type { AssignmentListeners } from "./listeners.ts";
import { type Beginning, startOffsets } from "./offsets.ts";
import type { PartitionRef, ResolvedConsumerOptions } from "./options.ts";

export interface AssignmentEvents {
  /** Before partitions are let go that are still ours: a last chance to commit. Never throws. */
  beforeRevoke(cursors: readonly Cursor[]): Promise<void>;
  /** Cursors came or went. */
  changed(): void;
}

export class Assignment {
  readonly #parts: CallComponents;
  readonly #options: ResolvedConsumerOptions;
  readonly #instruments: ConsumerInstruments;
  readonly #listeners: AssignmentListeners;
  readonly #events: AssignmentEvents;
  readonly #cursors = new Map<string, Cursor>();

  constructor(
    parts: CallComponents & {
      readonly instruments: ConsumerInstruments;
      readonly listeners: AssignmentListeners;
    },
    options: ResolvedConsumerOptions,
    events: AssignmentEvents,
  ) {
    this.#parts = parts;
    this.#options = options;
    this.#instruments = parts.instruments;
    this.#listeners = parts.listeners;
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

  find(topic: string, partition: number): Cursor | undefined {
    for (const cursor of this.#cursors.values()) {
      if (cursor.topic === topic && cursor.partition === partition) return cursor;
    }
    return undefined;
  }

  /** @throws StreamHouseError `INVALID_ARGUMENT` if the partition is not assigned to this consumer */
  cursor(topic: string, partition: number): Cursor {
    const found = this.find(topic, partition);
    if (found !== undefined) return found;
    throw new StreamHouseError({
      code: "INVALID_ARGUMENT",
      kind: "invalid",
      field: "partition",
      message: `${topic}/${partition} is not assigned to this consumer now: see assignment()`,
    });
  }

  /** Makes this the assignment. What could not be begun is left out and found missing at the next call. */
  async take(partitions: readonly Beginning[]): Promise<void> {
    const wanted = new Map(partitions.map((it) => [partitionKey(it.topicId, it.partition), it]));
    const gone = [...this.#cursors.values()].filter((it) => !wanted.has(it.key));
    if (gone.length > 0) await this.#revoke(gone);
    const fresh = [...wanted].filter(([key]) => !this.#cursors.has(key)).map(([, it]) => it);
    if (fresh.length > 0) await this.#begin(fresh);
  }

  /** The membership is over: another member may have these partitions already, so nothing is committed. */
  async lose(): Promise<void> {
    await this.#drop([...this.#cursors.values()], true);
  }

  async #revoke(gone: readonly Cursor[]): Promise<void> {
    await this.#events.beforeRevoke(gone);
    await this.#drop(gone, false);
  }

  async #drop(gone: readonly Cursor[], lost: boolean): Promise<void> {
    if (gone.length === 0) return;
    for (const cursor of gone) {
      cursor.revoke();
      cursor.cells.release();
      this.#cursors.delete(cursor.key);
    }
    this.#events.changed();
    await this.#listeners.revoked(gone.map(named), { lost });
  }

  async #begin(fresh: readonly Beginning[]): Promise<void> {
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
    await this.#listeners.assigned(begun.map(named));
    this.#events.changed();
  }
}

function named({ topic, partition }: Cursor): PartitionRef {
  return { topic, partition };
}
