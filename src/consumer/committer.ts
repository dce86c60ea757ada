/**
 * Commits offsets, one request at a time, so that an older commit never overtakes a newer one. Only what changed is sent. Called by
 * the consumer: for `commit()`, by the auto-commit timer, before partitions are let go, and at the end.
 */
import type { Timer } from "../core/clock.ts";
import { asStreamHouseError, invalid, type StreamHouseError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { endSpan, startSettleSpan } from "../telemetry/spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { askAny, type CallComponents, isFenced } from "./calls.ts";
import type { Cursor } from "./cursor.ts";
import type { Identity } from "./group-session.ts";

export interface CommitterComponents extends CallComponents {
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  readonly group: string | undefined;
  readonly identity: () => Identity | undefined;
  readonly onFenced: () => void;
}

export interface CommitPoint {
  readonly cursor: Cursor;
  readonly offset: number;
}

/** A commit is tried again for this long, ms. */
const PATIENCE_MS = 30_000;

export class Committer {
  readonly #parts: CommitterComponents;
  #last: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;

  constructor(parts: CommitterComponents) {
    this.#parts = parts;
  }

  /**
   * Commits these offsets after the commits that are under way; resolves when the agent has stored them.
   * @throws StreamHouseError `GROUP_FENCED` or `UNKNOWN_MEMBER` if the partitions are not this member's any more, `INVALID_ARGUMENT`
   * without a group
   */
  commit(points: readonly CommitPoint[], patienceMs: number = PATIENCE_MS): Promise<void> {
    if (this.#parts.group === undefined) {
      return Promise.reject(
        invalid("INVALID_ARGUMENT", "nothing can be committed without a group: name one", {
          field: "group",
        }),
      );
    }
    const group = this.#parts.group;
    // Generations as of now: after a seek or a revocation the point is void.
    const bound = points.map((it) => ({ ...it, generation: it.cursor.generation }));
    const done = this.#last.then(() => {
      const changed = bound.filter(
        ({ cursor, offset, generation }) =>
          offset !== cursor.committed && generation === cursor.generation && !cursor.revoked,
      );
      return changed.length === 0 ? undefined : this.#send(group, changed, patienceMs);
    });
    this.#last = done.catch(() => {});
    return done;
  }

  /** Commits what `points` answers, again and again. A failure is logged: the next one includes it. */
  startAuto(intervalMs: number, points: () => readonly CommitPoint[]): void {
    this.#timer = this.#parts.clock.schedule(
      intervalMs,
      () => {
        void this.commit(points(), 0)
          .catch((thrown: unknown) => this.#logFailure(thrown))
          .then(() => {
            if (this.#timer !== undefined) this.startAuto(intervalMs, points);
          });
      },
      { background: true },
    );
  }

  /** Ends the timer; resolves when no commit is under way. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.#last;
  }

  async #send(group: string, points: readonly CommitPoint[], patienceMs: number): Promise<void> {
    const { telemetry, identity, onFenced } = this.#parts;
    const { memberId, memberEpoch } = identity() ?? { memberId: "", memberEpoch: 0 };
    const offsets = points.map(({ cursor, offset }) => ({
      topicId: cursor.topicId,
      partition: cursor.partition,
      offset,
      metadata: "",
    }));
    const span = startSettleSpan(telemetry, group, { partition_count: offsets.length });
    try {
      await askAny(
        this.#parts,
        ({ api }, call) => api.commitOffsets({ group, memberId, memberEpoch, offsets }, call),
        { patienceMs },
      );
    } catch (thrown) {
      const error: StreamHouseError = asStreamHouseError(thrown, "a commit");
      endSpan(span, error);
      if (isFenced(error)) onFenced();
      throw error;
    }
    endSpan(span);
    for (const { cursor, offset } of points) {
      cursor.committed = offset;
      cursor.cells.setCommitted(offset);
    }
  }

  #logFailure(thrown: unknown): void {
    const error = asStreamHouseError(thrown, "an auto-commit");
    this.#parts.logger.warn("an auto-commit failed", { error: error.message });
  }
}
