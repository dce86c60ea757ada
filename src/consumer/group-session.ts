/**
 * Membership in a group: joins, beats, learns the assignment from the agents' answers, leaves. The server drives, as in Kafka's
 * KIP-848. Beats go on while an assignment is being taken over, however long the application's listeners take. It decides
 * nothing about offsets: `assignment.ts` acts on what it learns. Called by `consumer-rooms.ts`.
 */
import type { Timer } from "../core/clock.ts";
import { asStreamHouseError, type StreamHouseError } from "../core/errors.ts";
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
  /** Takes the whole assignment over, one at a time. Answers whether partitions were let go, which the group waits for. */
  assigned(partitions: readonly AssignedPartition[]): Promise<boolean>;
  /** The membership is over: nothing is owned any more, as of now. */
  lost(): void;
  owned(): readonly AssignedPartition[];
  /** An assignment could not be taken over, and trying again will not help. */
  failed(error: StreamHouseError): void;
}

export interface SessionComponents extends CallComponents {
  readonly logger: Logger;
  readonly clientId: string;
}

export interface SessionSettings {
  readonly group: string;
  readonly memberId: string;
  readonly topics: readonly string[];
  readonly sessionTimeoutMs: number;
}

export class GroupSession {
  readonly #parts: SessionComponents;
  readonly #settings: SessionSettings;
  readonly #events: SessionEvents;
  readonly #stop = new AbortController();
  #epoch = 0;
  #intervalMs = 0;
  #failures = 0;
  #timer: Timer | undefined;
  #beating: Promise<void> | undefined;
  /** Something happened during a beat: beat once more right after it. */
  #again = false;
  /** The newest assignment that nobody has begun to take over. */
  #target: readonly AssignedPartition[] | undefined;
  #taking: Promise<void> | undefined;

  constructor(parts: SessionComponents, settings: SessionSettings, events: SessionEvents) {
    this.#parts = parts;
    this.#settings = settings;
    this.#events = events;
  }

  get identity(): Identity {
    return { memberId: this.#settings.memberId, memberEpoch: this.#epoch };
  }

  /** Joins and takes the first assignment over. @throws StreamHouseError what the agents said when patience was over */
  async start(persistence: Persistence): Promise<void> {
    await this.#beat(persistence);
    this.#schedule(this.#intervalMs);
    await this.#taking;
  }

  /** Beats now: something changed, or was refused. */
  poke(): void {
    this.#again = true;
    if (this.#beating === undefined && this.#timer !== undefined) this.#schedule(0);
  }

  /** Ends the beats; resolves when none is under way. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.#beating;
  }

  /** After `stop()`: leaves, so that the partitions are free at once. Never throws: if it fails, the session ends by itself. */
  async leave(persistence: Persistence): Promise<void> {
    if (this.#epoch === 0) return;
    const { group, memberId } = this.#settings;
    const request = { group, memberId, memberEpoch: this.#epoch, keepPlace: false };
    this.#epoch = 0;
    try {
      await askAny(this.#parts, ({ api }, call) => api.leave(request, call), persistence);
    } catch (error) {
      this.#parts.logger.warn("could not leave the group", { group, error: String(error) });
    }
  }

  #schedule(delayMs: number): void {
    if (this.#stop.signal.aborted) return;
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
    this.#again = false;
    try {
      await this.#beat({});
      this.#failures = 0;
      this.#schedule(this.#again ? 0 : this.#intervalMs);
    } catch (thrown) {
      if (this.#stop.signal.aborted) return;
      const { message } = asStreamHouseError(thrown, "a heartbeat");
      logger.warn("a heartbeat failed", { group: this.#settings.group, error: message });
      // Sooner than usual, so that a short outage does not end the session.
      this.#failures++;
      this.#schedule(backoffMs(BACKOFF, this.#failures, random));
    }
  }

  async #beat(persistence: Persistence): Promise<void> {
    let answer: HeartbeatResponse;
    try {
      answer = await this.#ask(persistence);
    } catch (error) {
      if (!isFenced(error)) throw error;
      // Our session ended, or somebody took our place: what we owned may be another's now. Join anew.
      this.#epoch = 0;
      this.#target = undefined;
      this.#events.lost();
      answer = await this.#ask(persistence);
    }
    if (this.#stop.signal.aborted) return;
    this.#epoch = answer.memberEpoch;
    this.#intervalMs = answer.heartbeatIntervalMs;
    this.#target = answer.assigned;
    this.#taking ??= this.#take().finally(() => {
      this.#taking = undefined;
    });
  }

  #ask(persistence: Persistence): Promise<HeartbeatResponse> {
    const { group, memberId, topics, sessionTimeoutMs } = this.#settings;
    const signal = persistence.signal ?? this.#stop.signal;
    return askAny(
      this.#parts,
      ({ api }, call) => {
        const owned = [...this.#events.owned()];
        const own = {
          ...{ group, memberId, memberEpoch: this.#epoch, sessionTimeoutMs, owned },
          ...{ instanceId: "", rebalanceTimeoutMs: 0 },
        };
        return api.heartbeat(
          { ...own, topics: [...topics], clientId: this.#parts.clientId },
          { ...call, signal },
        );
      },
      { ...persistence, signal },
    );
  }

  /** Takes assignments over until there is no newer one. What could not be begun now comes again with the next beat. */
  async #take(): Promise<void> {
    while (this.#target !== undefined && !this.#stop.signal.aborted) {
      const target = this.#target;
      this.#target = undefined;
      try {
        if (await this.#events.assigned(target)) this.poke();
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
