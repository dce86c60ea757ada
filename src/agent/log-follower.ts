/**
 * Keeps the index as new as readers need it, for partitions that other agents hold: reads it on when metadata hints at a commit and
 * somebody waits for one, and otherwise every now and then while somebody waits. However many ask, there is one question at a time and
 * a pause between two. Where nobody waits nothing is asked. Called by fetcher and list-offsets.
 */
import type { Clock, Timer } from "../core/clock.ts";
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type { AgentInstruments } from "./agent-instruments.ts";
import type { LogIndex } from "./log-index.ts";
import type { Reachability } from "./reachability.ts";

export interface LogFollowerComponents {
  readonly metadata: Pick<MetadataStore, "watch">;
  readonly index: Pick<LogIndex, "refresh" | "refreshBounds">;
  readonly reachability: Reachability;
  readonly instruments: Pick<AgentInstruments, "indexRefreshed">;
  readonly clock: Clock;
}

export interface LogFollowerOptions {
  /** Longest between two questions while somebody waits, ms. */
  readonly followPollMs: number;
}

/** Shortest between the beginnings of two questions, ms: hints come as often as the others flush. */
const PAUSE_MS = 25;

/** A question that has had no answer for so long counts as failed, though the answer may still come. */
export const ANSWER_MS = 2_000;

/** Partitions in one question. */
const STEP = 1_000;

/** Those who asked since the last question began. */
interface Round {
  readonly partitions: Map<string, TopicPartition>;
  readonly done: PromiseWithResolvers<void>;
}

export class LogFollower {
  readonly #parts: LogFollowerComponents;
  readonly #pollMs: number;
  #round: Round | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;
  #asking = false;
  #failure: StreamHouseError | undefined;
  #waiting = 0;
  /** There was a hint since the last question began. */
  #hinted = false;
  #timer: Timer | undefined;
  #poll: Timer | undefined;
  #unwatch: () => void = () => {};
  #stopped = false;

  constructor(parts: LogFollowerComponents, { followPollMs }: LogFollowerOptions) {
    this.#parts = parts;
    this.#pollMs = followPollMs;
  }

  start(): void {
    this.#unwatch = this.#parts.metadata.watch((hint) => {
      if (hint !== "log") return;
      this.#hinted = true;
      if (this.#waiting > 0) this.#askForWaiting();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#unwatch();
    this.#timer?.cancel();
    this.#poll?.cancel();
    this.#round?.done.reject(unavailable("the agent has stopped"));
    this.#round = undefined;
  }

  /** Why the index cannot be trusted to be new; undefined while questions are answered. */
  get failure(): StreamHouseError | undefined {
    const late = this.#asking && this.#parts.clock.monotonic() - this.#askedAt >= ANSWER_MS;
    return late ? unavailable(`metadata has not answered for ${ANSWER_MS} ms`) : this.#failure;
  }

  /**
   * Resolves when the index is as new as metadata was at a moment after this call: what is committed, and the bounds of the
   * partition if one is given. @throws StreamHouseError `METADATA_UNAVAILABLE`
   */
  ask(partition?: TopicPartition): Promise<void> {
    if (this.#stopped) return Promise.reject(unavailable("the agent has stopped"));
    this.#round ??= this.#plan();
    const round = this.#round;
    if (partition !== undefined) {
      const { topicId, partition: number } = partition;
      round.partitions.set(partitionKey(topicId, number), { topicId, partition: number });
    }
    return round.done.promise;
  }

  /** Somebody waits for what others commit, until the answered function is called. */
  follow(): () => void {
    this.#waiting++;
    if (this.#waiting === 1) {
      const due = this.#parts.clock.monotonic() - this.#askedAt >= this.#pollMs;
      if (due || this.#hinted) this.#askForWaiting();
      else this.#pollLater();
    }
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#waiting--;
      if (this.#waiting === 0) this.#poll?.cancel();
    };
  }

  /** Whether somebody waits. For tests. */
  get waiting(): number {
    return this.#waiting;
  }

  #askForWaiting(): void {
    // The failure is told to each of those who wait when their time is up.
    this.ask().catch(() => {});
  }

  #plan(): Round {
    const round: Round = { partitions: new Map(), done: Promise.withResolvers() };
    round.done.promise.catch(() => {});
    if (!this.#asking) this.#begin();
    return round;
  }

  /** Begins the next question when the pause is over. */
  #begin(): void {
    const pause = this.#askedAt + PAUSE_MS - this.#parts.clock.monotonic();
    // Those who ask in the same turn are in the same question.
    if (pause <= 0) queueMicrotask(() => void this.#run());
    else {
      this.#timer = this.#parts.clock.schedule(pause, () => void this.#run(), { background: true });
    }
  }

  async #run(): Promise<void> {
    const round = this.#round;
    if (round === undefined || this.#stopped) return;
    this.#round = undefined;
    this.#asking = true;
    this.#hinted = false;
    this.#askedAt = this.#parts.clock.monotonic();
    this.#poll?.cancel();
    try {
      await this.#parts.reachability.watch(this.#read([...round.partitions.values()]));
      this.#failure = undefined;
      this.#parts.instruments.indexRefreshed("ok");
      round.done.resolve();
    } catch (thrown) {
      const error = asStreamHouseError(thrown, "reading the log's index");
      this.#failure = error;
      this.#parts.instruments.indexRefreshed(error.code);
      round.done.reject(error);
    } finally {
      this.#asking = false;
      if (this.#round !== undefined) this.#begin();
      else if (this.#waiting > 0) this.#pollLater();
    }
  }

  async #read(partitions: readonly TopicPartition[]): Promise<void> {
    const { index } = this.#parts;
    for (let i = 0; i < partitions.length; i += STEP) {
      await index.refreshBounds(partitions.slice(i, i + STEP));
    }
    await index.refresh();
  }

  #pollLater(): void {
    this.#poll?.cancel();
    if (this.#stopped || this.#asking || this.#round !== undefined) return;
    const delay = this.#askedAt + this.#pollMs - this.#parts.clock.monotonic();
    const poll = () => {
      if (this.#waiting > 0) this.#askForWaiting();
    };
    this.#poll = this.#parts.clock.schedule(Math.max(0, delay), poll, { background: true });
  }
}

function unavailable(why: string): StreamHouseError {
  return new StreamHouseError({
    code: "METADATA_UNAVAILABLE",
    kind: "unavailable",
    outcome: "none",
    message: `what other agents committed cannot be looked up: ${why}; ask another agent, or try again`,
  });
}
