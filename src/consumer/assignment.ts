/**
 * The partitions that this consumer reads now, a cursor for each. Takes over what the session says: lets go of what is gone (after
 * the record in hand), finds where to begin in what is new, tells the application; what stays is not touched. It does not fetch. Called
 * by `consumer-rooms.ts` and `membership.ts`.
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
  /** Before partitions are let go that are still ours: a last chance to commit, for so long. Never throws. */
  beforeRevoke(cursors: readonly Cursor[], patienceMs: number): Promise<void>;
  /** Partitions were let go, which the group waits for. */
  released(): void;
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

/** A partition that the group gave, from when it said so: another object if it was taken back and given again meanwhile. */
interface Grant {
  readonly partition: AssignedPartition;
}

/** Of the rebalance timeout, this part (and no more than so many ms) is for the last commit and for telling the group. */
const LAST_PART = 1 / 4;
const LAST_MS_MAX = 5_000;

export class Assignment {
  /** Told when the application finished something, which a revocation may be waiting for. */
  readonly finished: Notifier = new Notifier();
  /** Records that partitions handed out which are let go by now, by topic. For the audit. */
  readonly handedOut: Map<string, number> = new Map();
  readonly #parts: AssignmentComponents;
  readonly #options: ResolvedConsumerOptions;
  readonly #events: AssignmentEvents;
  readonly #cursors = new Map<string, Cursor>();
  /** What the group's newest answer gave, whether or not it was begun. */
  #granted: ReadonlyMap<string, Grant> = new Map();
  /** What the application is being told that it is gone: the group waits for that. */
  readonly #leaving = new Set<Cursor>();
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

  /** What the application may be given records of. */
  owned(): readonly AssignedPartition[] {
    return [...this.#cursors.values()].map(addressed);
  }

  /**
   * What the group must give to nobody else: what is read, and what was given and is being begun. Were the second left out, it could be
   * taken for let go, given to another, and begun here all the same.
   */
  claims(): readonly AssignedPartition[] {
    const claims = new Map([...this.#granted].map(([key, it]) => [key, it.partition]));
    for (const cursor of [...this.#cursors.values(), ...this.#leaving]) {
      if (!claims.has(cursor.key)) claims.set(cursor.key, addressed(cursor));
    }
    return [...claims.values()];
  }

  /** The group's newest answer, and when it was learned of. `take` follows, as soon as the one that is under way is done. */
  grant(partitions: readonly AssignedPartition[], learnedAt: number): void {
    const before = this.#granted;
    this.#granted = new Map(
      partitions.map((partition) => {
        const key = partitionKey(partition.topicId, partition.partition);
        return [key, before.get(key) ?? { partition }];
      }),
    );
    for (const [key, cursor] of this.#cursors) {
      cursor.takenAt = this.#granted.has(key) ? undefined : (cursor.takenAt ?? learnedAt);
    }
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
   * Makes this the assignment. One call at a time.
   * @throws StreamHouseError if the agents could not tell where to begin: call again
   */
  async take(partitions: readonly Beginning[], persistence: Persistence = {}): Promise<void> {
    const era = this.#era;
    await this.#lost;
    if (era !== this.#era) return;
    const wanted = new Map(partitions.map((it) => [partitionKey(it.topicId, it.partition), it]));
    const gone = [...this.#cursors.values()].filter((it) => !wanted.has(it.key));
    const fresh = [...wanted].filter(([key]) => !this.#cursors.has(key)).map(([, it]) => it);
    if (gone.length + fresh.length === 0) return;
    this.#learnedAt ??= this.#parts.clock.monotonic();
    if (gone.length > 0) await this.#revoke(gone);
    if (era !== this.#era) return;
    const begun = fresh.length > 0 ? await this.#begin(fresh, era, persistence) : 0;
    if (era === this.#era) this.#tell(begun, gone.length, false);
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
    this.#granted = new Map();
    this.#leaving.clear();
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
    const { rebalanceTimeoutMs } = this.#options;
    const era = this.#era;
    const lastMs = Math.min(LAST_MS_MAX, rebalanceTimeoutMs * LAST_PART);
    const now = clock.monotonic();
    const learnedAt = gone.reduce((first, it) => Math.min(first, it.takenAt ?? now), now);
    const until = learnedAt + rebalanceTimeoutMs - lastMs;
    for (const cursor of gone) cursor.held = true;
    // Fetches of them end, and a reader in the middle of a batch turns to other partitions.
    this.#events.changed();
    for (;;) {
      const left = until - clock.monotonic();
      if (era !== this.#era) return;
      if (left <= 0 || !gone.some((it) => it.inHand)) break;
      await this.finished.wait(clock, left);
    }
    // A commit that hangs, or waits for one that does, must not keep the partitions beyond their time.
    await this.#by(until + lastMs / 2, this.#events.beforeRevoke(gone, lastMs / 2));
    if (era !== this.#era) return;
    for (const cursor of gone) this.#leaving.add(cursor);
    const release = () => {
      for (const cursor of gone) this.#leaving.delete(cursor);
      if (era === this.#era) this.#events.released();
    };
    // A listener that takes longer than the group waits must not cost the membership.
    const timer = clock.schedule(until + lastMs / 2 - clock.monotonic(), release);
    await this.#drop(gone, false).finally(() => timer.cancel());
    release();
  }

  /** Resolves when `done` does, which never rejects, or at that moment. */
  async #by(at: number, done: Promise<void>): Promise<void> {
    const { clock } = this.#parts;
    const late = Promise.withResolvers<void>();
    const timer = clock.schedule(Math.max(0, at - clock.monotonic()), () => late.resolve());
    await Promise.race([done, late.promise]);
    timer.cancel();
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

  /** Answers how many were begun. */
  async #begin(
    fresh: readonly Beginning[],
    era: number,
    persistence: Persistence,
  ): Promise<number> {
    const grants = new Map(this.#granted);
    const starts = await startOffsets(this.#parts, this.#options, fresh, persistence);
    if (era !== this.#era) return 0;
    const begun: Cursor[] = [];
    for (const { topicId, topic, partition } of fresh) {
      const key = partitionKey(topicId, partition);
      const start = starts.get(key);
      if (start === undefined || !this.#isGrantedSince(key, grants)) continue;
      const cells = this.#parts.instruments.partition(topic, partition);
      const cursor = new Cursor({ topicId, topic, partition, ...start, cells });
      if (start.committed >= 0) cells.setCommitted(start.committed);
      // Told before the first fetch, so that a seek there costs nothing.
      cursor.held = true;
      this.#cursors.set(cursor.key, cursor);
      begun.push(cursor);
    }
    if (begun.length === 0) return 0;
    await this.#parts.listeners.assigned(begun.map(named));
    for (const cursor of begun) cursor.held = false;
    this.#events.changed();
    return begun.length;
  }

  /** One that was taken back meanwhile may have been read by another since, even if it was given again. */
  #isGrantedSince(key: string, before: ReadonlyMap<string, Grant>): boolean {
    if (this.#options.assign !== undefined) return true;
    const grant = before.get(key);
    return grant !== undefined && grant === this.#granted.get(key);
  }
}

function named({ topic, partition }: Cursor): PartitionRef {
  return { topic, partition };
}

function addressed({ topicId, topic, partition }: Cursor): AssignedPartition {
  return { topicId, topic, partition };
}
