/**
 * What is to be committed, by whom asked: `commit()`, a batch's `commit()`, before partitions are let go, and at the end. How it is done
 * is the committer's business. Made by `consumer-rooms.ts`.
 */
import { asStreamHouseError, closed } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Assignment } from "./assignment.ts";
import type { Persistence } from "./calls.ts";
import { type CommitPoint, type Committer, checkRead, finishedOf } from "./committer.ts";
import { type Cursor, takenAway } from "./cursor.ts";
import type { Delivery } from "./delivery.ts";
import type { PartitionRef } from "./options.ts";
import type { Reader } from "./reader.ts";

export interface CommitsComponents {
  readonly assignment: Assignment;
  readonly reader: Pick<Reader, "lostInHand">;
  readonly committer: Committer;
  readonly logger: Logger;
  /** What is finished is committed without being asked. */
  readonly autoCommit: boolean;
  readonly patience: () => Persistence;
  readonly isClosing: () => boolean;
  /** A run goes on: it has more in its hands than it has finished. */
  readonly isRunning: () => boolean;
}

export class Commits {
  readonly #parts: CommitsComponents;

  constructor(parts: CommitsComponents) {
    this.#parts = parts;
  }

  /** The given offsets, or everything handed out. */
  async commit(offsets?: readonly (PartitionRef & { readonly offset: number })[]): Promise<void> {
    const { assignment, reader } = this.#parts;
    if (offsets !== undefined) {
      return this.#commit(
        offsets.map(({ topic, partition, offset }) => {
          const cursor = assignment.cursor(topic, partition);
          checkRead(cursor, offset, this.#readUpTo(cursor));
          return { cursor, offset };
        }),
      );
    }
    const lost = reader.lostInHand;
    const cursors = [...assignment.cursors];
    await this.#commit(cursors.map((it) => ({ cursor: it, offset: this.#readUpTo(it) })));
    if (lost !== undefined) throw takenAway(lost);
  }

  async batch({ cursor, nextOffset, valid }: Delivery): Promise<void> {
    if (valid || cursor.revoked) await this.#commit([{ cursor, offset: nextOffset }]);
  }

  /** What is finished of these partitions, if anything is to be committed by itself. Never throws. */
  async last(cursors: readonly Cursor[], patienceMs: number): Promise<void> {
    const { autoCommit, committer, logger } = this.#parts;
    if (!autoCommit || cursors.length === 0) return;
    try {
      await committer.commit(finishedOf(cursors), { patienceMs });
    } catch (thrown) {
      const { message } = asStreamHouseError(thrown, "a last commit");
      logger.warn("a last commit failed: records will be given out again", { error: message });
    }
  }

  /** In a run records finish in no order: nothing beyond the first unfinished one may be committed. */
  #readUpTo({ finished, position }: Cursor): number {
    return this.#parts.isRunning() ? finished : position;
  }

  async #commit(points: readonly CommitPoint[]): Promise<void> {
    const { assignment, committer, isClosing, patience } = this.#parts;
    if (isClosing()) throw closed("this consumer");
    const generations = points.map(({ cursor }) => cursor.generation);
    await committer.commit(points, patience());
    for (const [i, { cursor, offset }] of points.entries()) {
      // After a seek meanwhile it says nothing of what was handed out since.
      if (cursor.generation !== generations[i] || offset > cursor.position) continue;
      cursor.finished = Math.max(cursor.finished, offset);
    }
    assignment.finished.notify();
  }
}
