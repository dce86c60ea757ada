/**
 * A consumer's membership in its group: the session with the agents, how long it lasts by the consumer's own clock, and whether the
 * application still comes to read. Whatever ends it, its partitions are lost at once, and before anything more is handed out or committed.
 * Called by `consumer-rooms.ts`; a consumer with manual assignment has none.
 */
import { createUuid } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import type { Assignment } from "./assignment.ts";
import type { CallComponents, Persistence } from "./calls.ts";
import { GroupSession, type Identity } from "./group-session.ts";
import type { ConsumerInstruments } from "./instruments.ts";
import { MemberTerm } from "./member-term.ts";
import type { ResolvedConsumerOptions } from "./options.ts";
import { PollGuard } from "./poll-guard.ts";

export interface MembershipComponents {
  readonly calls: CallComponents;
  readonly logger: Logger;
  readonly clientId: string;
  readonly assignment: Assignment;
  readonly instruments: Pick<ConsumerInstruments, "membershipLost">;
  /** To be told to whoever reads next. */
  readonly fail: (error: unknown) => void;
  /** The stay in the group is over: the next read must begin another. */
  readonly onEnded: () => void;
  /** While `consumer.run` goes on: when its oldest call of a handler began, or now. */
  readonly runningSince: () => number | undefined;
  /** For what the application waits for while the consumer runs. */
  readonly patience: () => Persistence;
}

export class Membership {
  readonly #parts: MembershipComponents;
  readonly #group: string;
  readonly #options: ResolvedConsumerOptions;
  readonly #session: GroupSession;
  readonly #term: MemberTerm;
  readonly #guard: PollGuard;
  #isStopped = false;

  constructor(parts: MembershipComponents, group: string, options: ResolvedConsumerOptions) {
    this.#parts = parts;
    this.#group = group;
    this.#options = options;
    const { clock } = parts.calls;
    this.#term = new MemberTerm({
      clock,
      onEnd: () => this.#expired(),
      onAsked: (at) => this.#guard.seen(at),
    });
    const { runningSince } = parts;
    const onLate = () => this.#gone();
    this.#guard = new PollGuard({ clock, runningSince, onLate }, options.maxPollIntervalMs);
    this.#session = this.#createSession();
  }

  get identity(): Identity {
    return this.#session.identity;
  }

  /** Joins and takes the first assignment over. @throws StreamHouseError what the agents said when patience was over */
  async start(persistence: Persistence): Promise<void> {
    await this.#session.start(persistence);
    // The application may have closed the consumer when it was told of its partitions.
    if (!this.#isStopped) this.#guard.start();
  }

  /** Beats now: something changed, or was refused. */
  poke(): void {
    this.#session.poke();
  }

  /** Whether this consumer may act as a member now. Where it may not, it has lost its partitions when this answers. */
  holds(): boolean {
    return this.#term.holds();
  }

  /** The same, asked for each record. */
  holdsForNext(): boolean {
    return this.#term.holdsForNext();
  }

  /** Runs a read: the application is alive while it waits. */
  reading<T>(read: () => Promise<T>): Promise<T> {
    return this.#guard.reading(read);
  }

  /** Ends the beats. Until `leave` the partitions are still this member's, for as long as the term lasts. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#guard.stop();
    await this.#session.stop();
  }

  /** After `stop()`. A static member keeps its place for whoever joins with its instance id. */
  async leave(persistence: Persistence): Promise<void> {
    this.#term.clear();
    await this.#session.leave(persistence, {
      keepPlace: this.#options.groupInstanceId !== undefined,
    });
  }

  #createSession(): GroupSession {
    const { assignment, calls, clientId, fail, logger, onEnded, patience } = this.#parts;
    const { topics, sessionTimeoutMs, rebalanceTimeoutMs, groupInstanceId = "" } = this.#options;
    const createMemberId = () => createUuid(calls.random);
    return new GroupSession(
      { ...calls, logger, clientId, createMemberId },
      {
        ...{ group: this.#group, instanceId: groupInstanceId, topics },
        ...{ sessionTimeoutMs, rebalanceTimeoutMs },
      },
      {
        renewed: (until) => this.#term.extend(until),
        granted: (partitions, learnedAt) => assignment.grant(partitions, learnedAt),
        assigned: (partitions) => assignment.take(partitions, patience()),
        claims: () => assignment.claims(),
        fenced: () => this.#fenced(),
        failed: fail,
        ended: () => {
          this.#guard.stop();
          onEnded();
        },
      },
    );
  }

  /** No heartbeat was answered for a whole session, or this process did not run for so long. */
  #expired(): void {
    const { assignment, instruments, logger } = this.#parts;
    const { sessionTimeoutMs } = this.#options;
    logger.warn(
      "the session ended without an answer: the partitions are another's now; joining again",
      {
        ...{ group: this.#group, memberId: this.identity.memberId, sessionTimeoutMs },
      },
    );
    instruments.membershipLost("session_timeout");
    assignment.lose();
    this.#session.forget();
  }

  #fenced(): void {
    const { assignment, instruments, logger } = this.#parts;
    if (this.#term.clear()) {
      const { memberId } = this.identity;
      const what = "the group has gone on without this member; joining again";
      logger.warn(what, { group: this.#group, memberId });
      instruments.membershipLost("fenced");
    }
    assignment.lose();
  }

  /** The application has not come to read for too long: others are to have its partitions. */
  #gone(): void {
    const { assignment, instruments, logger, onEnded, patience } = this.#parts;
    const { maxPollIntervalMs } = this.#options;
    logger.warn(
      "the application did not read on in time: leaving the group, until it reads again; process faster or raise maxPollIntervalMs",
      { group: this.#group, memberId: this.identity.memberId, maxPollIntervalMs },
    );
    instruments.membershipLost("max_poll_interval");
    this.#term.clear();
    onEnded();
    assignment.lose();
    this.#session.depart(patience());
  }
}
