/**
 * The partitions that this consumer reads now, a cursor for each. Takes over what the session says: lets go of what is gone (after
 * the record in hand), finds where to begin in what is new, tells the application. It does not fetch. Called by
 * `consumer-rooms.ts`.
 */
import { invalid } from "../core/errors.ts";
import { partitionKey, type Topic } from "../core/topic.ts";
import type { AssignedPartition } from "../rpc/gen/streamhouse/v1/group.ts";
import type { CallComponents, Persistence } from "./calls.ts";
import { Cursor } from "./cursor.ts";
import type { ConsumerInstruments } from "./instruments.ts";
import type { AssignmentListeners } from "./listeners.ts";
import { Notifier } from "./notifier.ts";
import { type Beginning, startOffsets } from "./offsets.ts";
import type { PartitionRef, ResolvedConsumerOptions } from "./options.ts";

export interface AssignmentEvents {
  /** Before partitions are let go that are still ours: a last chance to commit. Never throws. */
  beforeRevoke(cursors: readonly Cursor[]): Promise<void>;
  /** Cursors came or went. */
  changed(): void;
  /** The group gave this consumer another assignment, and it is in effect. */
  rebalanced(change: AssignmentChange): void;
}

export interface AssignmentChange {
  readonly assigned: number;
  readonly revoked: number;
  /** The membership had ended. */
  readonly lost: boolean;
  /** Since the change was learned of. */
  readonly seconds: number;
}

export interface AssignmentComponents extends CallComponents {
  readonly instruments: ConsumerInstruments;
  readonly listeners: AssignmentListeners;
}

export class Assignment {
  /** Told when the application finished something, which a revocation may be waiting for. */
  readonly finished: Notifier = new Notifier();
  /** Records that partitions handed out which are let go by now, by topic. For the audit. */
  readonly handedOut: Map<string, number> = new Map();
  readonly #parts: AssignmentComponents;
  readonly #options: ResolvedConsumerOptions;
  readonly #events: AssignmentEvents;
  readonly #cursors = new Map<string, Cursor>();
  /** Rises when the membership ends: what was under way then must not go on. */
  #era = 0;
  /** When an assignment that is not in effect yet was learned of, monotonic ms. */
  #learnedAt: number | undefined;
  #lost: Promise<void> = Promise.resolve();

  constructor(
    parts: AssignmentComponents,
    options: ResolvedConsumerOptions,
    events: AssignmentEvents,
  ) {
    this.#parts = parts;
    this.#options = options;
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
    throw invalid(
      "INVALID_ARGUMENT",
      `${topic}/${partition} is not assigned to this consumer now: see assignment(), and act in onAssigned`,
      { field: "partition" },
    );
  }

  /**
   * Makes this the assignment; answers whether partitions were let go for it. One call at a time.
   * @throws StreamHouseError if the agents could not tell where to begin: call again
   */
  async take(partitions: readonly Beginning[], persistence: Persistence = {}): Promise<boolean> {
    const era = this.#era;
    await this.#lost;
    const wanted = new Map(partitions.map((it) => [partitionKey(it.topicId, it.partition), it]));
    const gone = [...this.#cursors.values()].filter((it) => !wanted.has(it.key));
    const fresh = [...wanted].filter(([key]) => !this.#cursors.has(key)).map(([, it]) => it);
    if (gone.length + fresh.length === 0) return false;
    this.#learnedAt ??= this.#parts.clock.monotonic();
    if (gone.length > 0) await this.#revoke(gone);
    if (era !== this.#era) return false;
    if (fresh.length > 0) await this.#begin(fresh, era, persistence);
    if (era === this.#era) this.#tell(fresh.length, gone.length, false);
    return gone.length > 0;
  }

  /** By manual assignment: the partition was of a topic that is gone, and this topic has its name now. */
  async replace(cursor: Cursor, topic: Topic): Promise<void> {
    const era = this.#era;
    await this.#drop([cursor], true);
    const beginning = { topicId: topic.id, topic: topic.name, partition: cursor.partition };
    await this.#begin([beginning], era, { patienceMs: this.#options.requestTimeoutMs });
  }

  /** The membership is over: another member may have these partitions already, so nothing is waited for or committed. */
  lose(): void {
    this.#era++;
    const gone = [...this.#cursors.values()];
    this.#learnedAt = this.#parts.clock.monotonic();
    this.#lost = Promise.all([this.#lost, this.#drop(gone, true)]).then(() =>
      this.#tell(0, gone.length, true),
    );
    this.finished.notify();
  }

  /** By manual assignment there is no group that could rebalance. */
  #tell(assigned: number, revoked: number, lost: boolean): void {
    const learnedAt = this.#learnedAt;
    this.#learnedAt = undefined;
    if (learnedAt === undefined || this.#options.assign !== undefined) return;
    if (assigned + revoked === 0) return;
    const seconds = (this.#parts.clock.monotonic() - learnedAt) / 1_000;
    this.#events.rebalanced({ assigned, revoked, lost, seconds });
  }

  /** The consumer closes: nothing is waited for any more, nothing new begins. */
  stop(): void {
    this.#era++;
    this.finished.notify();
  }

  async #revoke(gone: readonly Cursor[]): Promise<void> {
    const { clock } = this.#parts;
    const era = this.#era;
    const until = clock.monotonic() + this.#options.rebalanceTimeoutMs;
    for (const cursor of gone) cursor.held = true;
    // Fetches of them end, and a reader in the middle of a batch turns to other partitions.
    this.#events.changed();
    for (;;) {
      const left = until - clock.monotonic();
      if (era !== this.#era) return;
      if (left <= 0 || !gone.some((it) => it.inHand)) break;
      await this.finished.wait(clock, left);
    }
    await this.#events.beforeRevoke(gone);
    if (era === this.#era) await this.#drop(gone, false);
  }

  async #drop(gone: readonly Cursor[], lost: boolean): Promise<void> {
    if (gone.length === 0) return;
    for (const cursor of gone) {
      cursor.revoke();
      const { topic, handedOut } = cursor;
      this.handedOut.set(topic, (this.handedOut.get(topic) ?? 0) + handedOut);
      cursor.cells.release();
      this.#cursors.delete(cursor.key);
    }
    this.#events.changed();
    await this.#parts.listeners.revoked(gone.map(named), { lost });
  }

  async #begin(fresh: readonly Beginning[], era: number, persistence: Persistence): Promise<void> {
    const starts = await startOffsets(this.#parts, this.#options, fresh, persistence);
    if (era !== this.#era) return;
    const begun: Cursor[] = [];
    for (const { topicId, topic, partition } of fresh) {
      const start = starts.get(partitionKey(topicId, partition));
      if (start === undefined) continue;
      const cells = this.#parts.instruments.partition(topic, partition);
      const cursor = new Cursor({ topicId, topic, partition, ...start, cells });
      if (start.committed >= 0) cells.setCommitted(start.committed);
      // Told before the first fetch, so that a seek there costs nothing.
      cursor.held = true;
      this.#cursors.set(cursor.key, cursor);
      begun.push(cursor);
    }
    await this.#parts.listeners.assigned(begun.map(named));
    for (const cursor of begun) cursor.held = false;
    this.#events.changed();
  }
}

function named({ topic, partition }: Cursor): PartitionRef {
  return { topic, partition };
}
