/**
 * Membership in a group: joins, beats, learns the assignment from the agent's answers, leaves. The server drives, as in Kafka's
 * KIP-848. It decides nothing about offsets; `assignment.ts` acts on what it learns.
 */
import type { Timer } from "../core/clock.ts";
import { asStreamHouseError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { AssignedPartition } from "../rpc/gen/streamhouse/v1/group.ts";
import { askAny, type CallComponents, isFenced } from "./calls.ts";

/** Who fetches and commits; empty member for a consumer without membership. */
export interface Identity {
  readonly memberId: string;
  readonly memberEpoch: number;
}

export interface SessionEvents {
  /** The whole assignment as of now. Called one at a time. */
  assigned(partitions: readonly AssignedPartition[]): Promise<void>;
  /** The membership is over: nothing is owned any more. */
  lost(): Promise<void>;
  owned(): readonly AssignedPartition[];
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

/** After a failed beat the next one comes this soon, so that a short outage does not end the session. */
const RETRY_MS = 500;
const LEAVE_PATIENCE_MS = 2_000;

export class GroupSession {
  readonly #parts: SessionComponents;
  readonly #settings: SessionSettings;
  readonly #events: SessionEvents;
  readonly #stop = new AbortController();
  #epoch = 0;
  #timer: Timer | undefined;
  #beating: Promise<void> | undefined;
  #again = false;

  constructor(parts: SessionComponents, settings: SessionSettings, events: SessionEvents) {
    this.#parts = parts;
    this.#settings = settings;
    this.#events = events;
  }

  get identity(): Identity {
    return { memberId: this.#settings.memberId, memberEpoch: this.#epoch };
  }

  /** Joins. @throws StreamHouseError what the first heartbeat, or taking its assignment over, said */
  async start(): Promise<void> {
    await this.#beat();
    this.#schedule(this.#interval);
  }

  /** Beats now: something changed, or was refused. */
  poke(): void {
    this.#again = true;
    if (this.#beating === undefined) this.#schedule(0);
  }

  /** Ends the beats and leaves, so that the partitions are free at once. Never throws. */
  async leave(): Promise<void> {
    this.#stop.abort();
    this.#timer?.cancel();
    await this.#beating?.catch(() => {});
    if (this.#epoch === 0) return;
    const { group, memberId } = this.#settings;
    const request = { group, memberId, memberEpoch: this.#epoch };
    try {
      await askAny(this.#parts, ({ api }, call) => api.leave(request, call), {
        patienceMs: LEAVE_PATIENCE_MS,
      });
    } catch (error) {
      // The session ends by itself then.
      this.#parts.logger.warn("could not leave the group", { group, error: String(error) });
    }
  }

  #interval = 0;

  #schedule(delayMs: number): void {
    if (this.#stop.signal.aborted) return;
    this.#timer?.cancel();
    this.#timer = this.#parts.clock.schedule(delayMs, () => void this.#beatInBackground(), {
      background: true,
    });
  }

  async #beatInBackground(): Promise<void> {
    this.#again = false;
    let next = RETRY_MS;
    try {
      this.#beating = this.#beat();
      await this.#beating;
      next = this.#interval;
    } catch (thrown) {
      const error = asStreamHouseError(thrown, "a heartbeat");
      if (!this.#stop.signal.aborted) {
        this.#parts.logger.warn("a heartbeat failed", {
          group: this.#settings.group,
          error: error.message,
        });
      }
    } finally {
      this.#beating = undefined;
    }
    this.#schedule(this.#again ? RETRY_MS : next);
  }

  async #beat(): Promise<void> {
    const { group, memberId, topics, sessionTimeoutMs } = this.#settings;
    const beat = () =>
      askAny(
        this.#parts,
        ({ api }, call) =>
          api.heartbeat(
            {
              group,
              memberId,
              memberEpoch: this.#epoch,
              topics: [...topics],
              sessionTimeoutMs,
              owned: [...this.#events.owned()],
              clientId: this.#parts.clientId,
            },
            call,
          ),
        { signal: this.#stop.signal },
      );
    let answer: Awaited<ReturnType<typeof beat>>;
    try {
      answer = await beat();
    } catch (error) {
      if (!isFenced(error)) throw error;
      // Our session ended, or somebody took our place: what we owned may be another's now. Join anew.
      this.#epoch = 0;
      await this.#events.lost();
      answer = await beat();
    }
    this.#epoch = answer.memberEpoch;
    this.#interval = answer.heartbeatIntervalMs;
    if (!this.#stop.signal.aborted) await this.#events.assigned(answer.assigned);
  }
}
