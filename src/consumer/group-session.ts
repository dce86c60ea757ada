/**
 * Membership in a group: joins, beats, learns the assignment from the agents' answers, leaves. The server drives, as in Kafka's
 * KIP-848. Beats go on while an assignment is being taken over, however long the application's listeners take; any agent answers them.
 * It decides nothing about offsets: `assignment.ts` acts on what it learns. Called by `membership.ts`.
 */
import { sleep, type Timer } from "../core/clock.ts";
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { backoffMs } from "../core/retry.ts";
import type { AssignedPartition, HeartbeatResponse } from "../rpc/gen/streamhouse/v1/group.ts";
import { askAny, BACKOFF, type CallComponents, isFenced, type Persistence } from "./calls.ts";

/** Who fetches and commits. */
export interface Identity {
  readonly memberId: string;
  readonly memberEpoch: number;
}

export interface SessionEvents {
  /** A heartbeat was answered: the session lasts until then at least, by the monotonic clock. */
  renewed(until: number): void;
  /** The newest assignment, at once. `learnedAt`: by the monotonic clock. */
  granted(partitions: readonly AssignedPartition[], learnedAt: number): void;
  /** Takes the whole assignment over, one at a time. */
  assigned(partitions: readonly AssignedPartition[]): Promise<void>;
  /** The group does not know this member any more, or knows better: nothing is owned any more, as of now. */
  fenced(): void;
  /** What the group must give to nobody else. */
  claims(): readonly AssignedPartition[];
  /** Something that trying again will not help; the reader is to know. */
  failed(error: StreamHouseError): void;
  /** The stay is over because of that: `start` begins another. */
  ended(): void;
}

export interface SessionComponents extends CallComponents {
  readonly logger: Logger;
  readonly clientId: string;
  /** Another one for each stay, so that nothing of an earlier one that arrives late can touch a later one. */
  readonly createMemberId: () => string;
}

export interface SessionSettings {
  readonly group: string;
  /** Empty: a dynamic member. */
  readonly instanceId: string;
  readonly topics: readonly string[];
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
}

/** An agent that does not answer a heartbeat for this part of the session is left for another: there is time for two more. */
const CALL_PART = 1 / 3;

/** Between two tries to join while the place of a static member that was killed is still its own. */
const PLACE_TRIES = 10;

export class GroupSession {
  readonly #parts: SessionComponents;
  readonly #settings: SessionSettings;
  readonly #events: SessionEvents;
  readonly #stop = new AbortController();
  /** Aborts when this stay in the group ends. */
  #stay = new AbortController();
  #memberId: string;
  #epoch = 0;
  #intervalMs = 0;
  #failures = 0;
  #timer: Timer | undefined;
  #beating: Promise<void> | undefined;
  #leaving: Promise<void> | undefined;
  /** Something happened during a beat: beat once more right after it. */
  #again = false;
  /** The newest assignment that nobody has begun to take over. */
  #target: readonly AssignedPartition[] | undefined;
  #taking: Promise<void> | undefined;

  constructor(parts: SessionComponents, settings: SessionSettings, events: SessionEvents) {
    this.#parts = parts;
    this.#settings = settings;
    this.#events = events;
    this.#memberId = parts.createMemberId();
  }

  get identity(): Identity {
    return { memberId: this.#memberId, memberEpoch: this.#epoch };
  }

  /** Joins and takes the first assignment over. @throws StreamHouseError what the agents said when patience was over */
  async start(persistence: Persistence): Promise<void> {
    await this.#leaving;
    if (this.#stop.signal.aborted) return;
    this.#stay = new AbortController();
    await this.#join(persistence);
    this.#schedule(this.#intervalMs);
    await this.#taking;
  }

  /** Beats now: something changed, or was refused. */
  poke(): void {
    this.#again = true;
    if (this.#beating === undefined && this.#timer !== undefined) this.#schedule(0);
  }

  /** The session ended by our own clock: what was learned before is void. */
  forget(): void {
    this.#target = undefined;
    this.poke();
  }

  /** Ends the beats; resolves when none is under way. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#endStay();
    await this.#beating;
    await this.#leaving;
  }

  /** Ends this stay and leaves the group, in the background. `start` begins another, as another member. */
  depart(persistence: Persistence): void {
    if (this.#stop.signal.aborted) return;
    this.#endStay();
    const departed = async () => {
      await this.#beating;
      await this.leave(persistence, { keepPlace: false });
      this.#memberId = this.#parts.createMemberId();
    };
    this.#leaving = departed();
  }

  /** After the beats have ended. Never throws: if it fails, the session ends by itself. */
  async leave(persistence: Persistence, how: { readonly keepPlace: boolean }): Promise<void> {
    if (this.#epoch === 0) return;
    const { group } = this.#settings;
    const request = { group, ...this.identity, ...how };
    this.#epoch = 0;
    try {
      await askAny(this.#parts, ({ api }, call) => api.leave(request, call), persistence);
    } catch (error) {
      this.#parts.logger.warn("could not leave the group", { group, error: String(error) });
    }
  }

  #endStay(): void {
    this.#stay.abort();
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#target = undefined;
  }

  /** A static member that was killed keeps its place until its session ends: who follows it waits as long. */
  async #join(persistence: Persistence): Promise<void> {
    const { clock, logger } = this.#parts;
    const { group, instanceId, sessionTimeoutMs } = this.#settings;
    const until = clock.monotonic() + sessionTimeoutMs * (1 + 1 / PLACE_TRIES);
    for (let isFirst = true; ; isFirst = false) {
      try {
        await this.#beat(persistence);
        return;
      } catch (error) {
        const isTaken = StreamHouseError.is(error) && error.code === "INSTANCE_ID_IN_USE";
        if (!isTaken || clock.monotonic() >= until) throw error;
        if (isFirst) {
          logger.warn("another member has this instance id; waiting for its session to end", {
            ...{ group, instanceId, waitMs: sessionTimeoutMs },
          });
        }
        await sleep(clock, sessionTimeoutMs / PLACE_TRIES, persistence.signal).catch(() => {
          throw error;
        });
      }
    }
  }

  #schedule(delayMs: number): void {
    if (this.#stay.signal.aborted || this.#stop.signal.aborted) return;
    this.#timer?.cancel();
    const beat = () => {
      this.#beating = this.#beatInBackground().finally(() => {
        this.#beating = undefined;
      });
    };
    this.#timer = this.#parts.clock.schedule(delayMs, beat, { background: true });
  }

  async #beatInBackground(): Promise<void> {
    const { logger, random } = this.#parts;
    const { signal } = this.#stay;
    this.#again = false;
    try {
      await this.#beat({});
      this.#failures = 0;
      this.#schedule(this.#again ? 0 : this.#intervalMs);
    } catch (thrown) {
      if (signal.aborted) return;
      const error = asStreamHouseError(thrown, "a heartbeat");
      logger.warn("a heartbeat failed", { group: this.#settings.group, error: error.message });
      if (error.code === "INSTANCE_ID_IN_USE") {
        // Somebody has our place. To fight for it again and again would help nobody: the reader is told, and may try again.
        this.#endStay();
        this.#events.ended();
        this.#events.failed(error);
        return;
      }
      // Sooner than usual, so that a short outage does not end the session.
      this.#failures++;
      this.#schedule(backoffMs(BACKOFF, this.#failures, random));
    }
  }

  async #beat(persistence: Persistence): Promise<void> {
    const { signal } = this.#stay;
    let answer: Answer;
    try {
      answer = await this.#ask(persistence);
    } catch (error) {
      if (!isFenced(error) || signal.aborted) throw error;
      // Our session ended, or somebody took our place: what we owned may be another's now. Join anew.
      this.#epoch = 0;
      this.#target = undefined;
      this.#events.fenced();
      answer = await this.#ask(persistence);
    }
    if (signal.aborted) {
      // Left meanwhile: whoever leaves must know that it is a member.
      this.#epoch = answer.memberEpoch;
      return;
    }
    const until = answer.sentAt + this.#settings.sessionTimeoutMs;
    const isLate = this.#parts.clock.monotonic() >= until;
    this.#epoch = answer.memberEpoch;
    this.#intervalMs = isLate ? 0 : answer.heartbeatIntervalMs;
    // An answer that took a whole session says nothing of now.
    if (isLate) return;
    this.#events.renewed(until);
    this.#events.granted(answer.assigned, this.#toldAt(answer));
    this.#target = answer.assigned;
    this.#taking ??= this.#take().finally(() => {
      this.#taking = undefined;
    });
  }

  /** Since when the time to let go of something has been running: an answer that told of it before may have been lost. */
  #toldAt({ sentAt, letGoWithinMs }: Answer): number {
    const { rebalanceTimeoutMs } = this.#settings;
    return letGoWithinMs > 0 ? sentAt - Math.max(0, rebalanceTimeoutMs - letGoWithinMs) : sentAt;
  }

  #ask(persistence: Persistence): Promise<Answer> {
    const { group, instanceId, topics, sessionTimeoutMs, rebalanceTimeoutMs } = this.#settings;
    const signal = persistence.signal ?? this.#stay.signal;
    return askAny(
      this.#parts,
      async ({ api }, call) => {
        const sentAt = this.#parts.clock.monotonic();
        const request = {
          ...{ group, instanceId, ...this.identity, sessionTimeoutMs, rebalanceTimeoutMs },
          ...{ topics: [...topics], clientId: this.#parts.clientId },
          owned: [...this.#events.claims()],
        };
        const answer = await api.heartbeat(request, { ...call, signal });
        return { ...answer, sentAt };
      },
      { ...persistence, signal, callTimeoutMs: sessionTimeoutMs * CALL_PART },
    );
  }

  /** Takes assignments over until there is no newer one. What could not be begun now comes again with the next beat. */
  async #take(): Promise<void> {
    while (this.#target !== undefined && !this.#stop.signal.aborted) {
      const target = this.#target;
      this.#target = undefined;
      try {
        await this.#events.assigned(target);
      } catch (thrown) {
        const error = asStreamHouseError(thrown, "taking an assignment over");
        this.#parts.logger.warn("an assignment could not be taken over yet", {
          group: this.#settings.group,
          error: error.message,
        });
        if (!error.retriable && error.kind !== "closed") this.#events.failed(error);
      }
    }
  }
}

interface Answer extends HeartbeatResponse {
  /** By the monotonic clock, before the heartbeat was sent. */
  readonly sentAt: number;
}
