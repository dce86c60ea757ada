/**
 * Commits offsets, one request at a time, so that an older commit never overtakes a newer one. Only what changed is sent, and never
 * an offset below the last commit unless a seek went back. Called by `consumer-rooms.ts`: for `commit()`, by the auto-commit timer,
 * before partitions are let go, and at the end.
 */
import type { Timer } from "../core/clock.ts";
import { asStreamHouseError, invalid, type StreamHouseError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { OffsetCommit } from "../rpc/gen/streamhouse/v1/group.ts";
import { startSettleSpan } from "../telemetry/record-spans.ts";
import { addFailureEvent, addSpanEvent, endSpan, withSpan } from "../telemetry/spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { askAny, type CallComponents, isFenced, type Persistence } from "./calls.ts";
import { type Cursor, takenAway } from "./cursor.ts";
import type { Identity } from "./group-session.ts";
import type { ConsumerInstruments } from "./instruments.ts";

export interface CommitterComponents extends CallComponents {
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  readonly instruments: Pick<ConsumerInstruments, "committed">;
  readonly group: string | undefined;
  /** Undefined without membership. */
  readonly identity: () => Identity | undefined;
  readonly onFenced: () => void;
  /** False when the membership has ended, and the partitions with it. Asked before each request. */
  readonly holds: () => boolean;
  /** An agent that does not answer for so long is left for another, ms. */
  readonly callTimeoutMs: number;
  /** Aborts when closing has taken long enough. */
  readonly limit: AbortSignal;
}

export interface CommitPoint {
  readonly cursor: Cursor;
  /** That of the next record to read. */
  readonly offset: number;
}

interface BoundPoint extends CommitPoint {
  readonly generation: number;
}

export class Committer {
  readonly #parts: CommitterComponents;
  #last: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;

  constructor(parts: CommitterComponents) {
    this.#parts = parts;
  }

  /**
   * Commits these offsets after the commits that are under way; resolves when the agent has stored them. A point whose partition was
   * seeked meanwhile is void.
   * @throws StreamHouseError `GROUP_FENCED` or `UNKNOWN_MEMBER` if a partition is not this member's any more (the others are committed
   * all the same), `INVALID_ARGUMENT` without a group
   */
  commit(points: readonly CommitPoint[], persistence: Persistence = {}): Promise<void> {
    const { group } = this.#parts;
    if (group === undefined) {
      const message = "nothing can be committed without a group: give the consumer one";
      return Promise.reject(invalid("INVALID_ARGUMENT", message, { field: "group" }));
    }
    const bound = points.map((it) => ({ ...it, generation: it.cursor.generation }));
    const done = this.#last.then(() => this.#commitNow(group, bound, persistence));
    this.#last = done.catch(() => {});
    return done;
  }

  /** Commits what `points` answers, again and again. A failure is logged: the next one includes it. */
  startAuto(intervalMs: number, points: () => readonly CommitPoint[]): void {
    const tick = () => {
      this.commit(points())
        .catch((thrown: unknown) => this.#logFailure(thrown))
        .then(() => {
          if (this.#timer !== undefined) this.startAuto(intervalMs, points);
        });
    };
    this.#timer = this.#parts.clock.schedule(intervalMs, tick, { background: true });
  }

  /** Ends the timer; resolves when no commit is under way. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.#last;
  }

  async #commitNow(
    group: string,
    points: readonly BoundPoint[],
    persistence: Persistence,
  ): Promise<void> {
    const lost = points.find(({ cursor }) => cursor.revoked);
    const due = points.filter(
      ({ cursor, offset, generation }) =>
        !cursor.revoked &&
        cursor.placed &&
        generation === cursor.generation &&
        offset !== cursor.committed &&
        offset >= cursor.commitFloor,
    );
    if (due.length > 0) await this.#store(group, due, persistence);
    if (lost !== undefined) throw takenAway(lost.cursor);
  }

  /** All or nothing is stored by one request: a topic that was deleted must not keep the others from it. */
  async #store(
    group: string,
    points: readonly BoundPoint[],
    persistence: Persistence,
  ): Promise<void> {
    // Only what a seek has asked for may take the group back: a request that was sent again can arrive late.
    const isForward = ({ cursor, offset }: BoundPoint) => offset >= cursor.committed;
    const forward = points.filter(isForward);
    const back = points.filter((it) => !isForward(it));
    const send = (some: readonly BoundPoint[], forwardOnly: boolean) =>
      some.length === 0 ? undefined : this.#send(group, some, persistence, forwardOnly);
    try {
      await send(back, false);
      await send(forward, true);
    } catch (thrown) {
      const error = asStreamHouseError(thrown, "a commit");
      const byTopic = Map.groupBy(points, ({ cursor }) => cursor.topicId);
      if (error.code !== "TOPIC_NOT_FOUND" || byTopic.size < 2) throw error;
      let failure: unknown;
      for (const some of byTopic.values()) {
        for (const forwardOnly of [false, true]) {
          const its = some.filter((it) => isForward(it) === forwardOnly);
          await send(its, forwardOnly)?.catch((again: unknown) => {
            failure ??= again;
          });
        }
      }
      if (failure !== undefined) throw failure;
    }
  }

  async #send(
    group: string,
    points: readonly BoundPoint[],
    persistence: Persistence,
    forwardOnly: boolean,
  ): Promise<void> {
    const { telemetry, identity, onFenced, limit, callTimeoutMs } = this.#parts;
    let sent = points;
    const began = this.#parts.clock.monotonic();
    const cursors = points.map(({ cursor }) => cursor);
    const span = startSettleSpan(telemetry, group, cursors);
    const topic = cursors.every((it) => it.topic === cursors[0]?.topic)
      ? cursors[0]?.topic
      : undefined;
    const ended = (error?: StreamHouseError) => {
      endSpan(span, error);
      const seconds = (this.#parts.clock.monotonic() - began) / 1_000;
      this.#parts.instruments.committed({ seconds, topic, span: span?.spanContext(), error });
    };
    let attempt = 1;
    const epoch = () => identity()?.memberEpoch ?? -1;
    const onRetry = (error: StreamHouseError) => {
      this.#parts.onRetry(error);
      const where = { attempt: attempt++, epoch: epoch() };
      addFailureEvent(span, "failed_attempt", error, where);
      addSpanEvent(span, "retry", { "error.type": error.code, ...where });
    };
    const store = () =>
      askAny(
        { ...this.#parts, onRetry },
        async ({ api }, call) => {
          // An earlier try may have taken so long that partitions are another's by now, also if they were given back since.
          this.#parts.holds();
          sent = points.filter(({ cursor }) => !cursor.revoked);
          if (sent.length === 0) return;
          const { memberId, memberEpoch } = identity() ?? { memberId: "", memberEpoch: 0 };
          const offsets = sent.map(requested);
          const request = { group, memberId, memberEpoch, offsets, forwardOnly };
          await api.commitOffsets(request, call);
        },
        { signal: limit, callTimeoutMs, ...persistence },
      );
    try {
      await withSpan(span, store);
    } catch (thrown) {
      const error = asStreamHouseError(thrown, "a commit");
      if (isFenced(error) || error.outcome === "unknown") {
        addFailureEvent(span, "failed", error, { attempt, epoch: epoch() });
      }
      if (isFenced(error)) onFenced();
      ended(error);
      throw error;
    }
    const lost = points.find((it) => !sent.includes(it));
    const error = lost && takenAway(lost.cursor);
    ended(error);
    for (const { cursor, offset, generation } of sent) {
      cursor.committed = offset;
      // A seek during the request has lowered the floor for good reason.
      if (generation === cursor.generation) cursor.commitFloor = offset;
      cursor.cells.setCommitted(offset);
    }
    if (error !== undefined) throw error;
  }

  #logFailure(thrown: unknown): void {
    const { message } = asStreamHouseError(thrown, "an auto-commit");
    this.#parts.logger.warn("an auto-commit failed; the next one includes it", { error: message });
  }
}

function requested({ cursor, offset }: CommitPoint): OffsetCommit {
  return { topicId: cursor.topicId, partition: cursor.partition, offset, metadata: "" };
}

/** What auto-commit commits. */
export function finishedOf(cursors: readonly Cursor[]): readonly CommitPoint[] {
  return cursors.map((cursor) => ({ cursor, offset: cursor.finished }));
}

/** @throws StreamHouseError `INVALID_ARGUMENT` for an offset that the application was not given yet, or a run has not finished */
export function checkRead(cursor: Cursor, offset: number, upTo: number): void {
  if (Number.isSafeInteger(offset) && offset >= 0 && offset <= upTo) return;
  throw invalid(
    "INVALID_ARGUMENT",
    `commit of offset ${offset} in ${cursor.name}: records up to ${upTo} were handed out; ` +
      "commit that or less",
    { field: "offset" },
  );
}
