/**
 * The agent's run and its leases: registered, renewed by one write, counted as valid from before the renewal was sent. An
 * agent that could not renew in time fences itself; the store's own check is what guarantees. A lost run is followed
 * by a new one, with new epochs. Called by the agent (life), the gate (who holds what), the flusher (`FlushLease`).
 */
import type { Clock, Timer } from "../core/clock.ts";
import { asStreamHouseError } from "../core/errors.ts";
import { createUlid, type RandomBytes } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import { createTicker, type Ticker } from "../core/ticker.ts";
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type { AgentInstruments } from "./agent-instruments.ts";
import type { FlushLease } from "./flush-lease.ts";
import type { Holdings } from "./holdings.ts";
import type { ResolvedAgentOptions } from "./options.ts";
import type { Hold } from "./pending-batch.ts";
import type { Reachability } from "./reachability.ts";

export interface LeaseManagerComponents {
  readonly metadata: MetadataStore;
  readonly holdings: Holdings;
  readonly instruments: AgentInstruments;
  readonly reachability: Reachability;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
}

/** What the manager tells the agent. */
export interface LeaseEvents {
  /** A run was registered; nothing is held in it yet. */
  runBegan(runId: string): void;
  /** These leases are gone; their phase says why. */
  lost(holds: ReadonlySet<Hold>): void;
}

export class LeaseManager implements FlushLease {
  readonly #parts: LeaseManagerComponents;
  readonly #options: ResolvedAgentOptions;
  readonly #events: LeaseEvents;
  readonly #agentId: string;
  #runId = "";
  /** A run of ours that is over for us and may not be for the store. */
  #overRunId = "";
  #lostRun = false;
  #nextRunId: string;
  #address = "";
  #validUntil = Number.NEGATIVE_INFINITY;
  #fence: Timer | undefined;
  #renewals: Ticker | undefined;
  #assignments: Ticker | undefined;
  #stopped = false;

  constructor(
    components: LeaseManagerComponents,
    options: ResolvedAgentOptions,
    identity: { readonly agentId: string; readonly runId: string },
    events: LeaseEvents,
  ) {
    this.#parts = components;
    this.#options = options;
    this.#agentId = identity.agentId;
    this.#nextRunId = identity.runId;
    this.#events = events;
  }

  /** Empty while there is no run. */
  get runId(): string {
    return this.#runId;
  }

  isValid(): boolean {
    return this.#runId !== "" && this.#parts.clock.monotonic() < this.#validUntil;
  }

  /** Leases that this agent may use at this moment. */
  activeLeaseCount(): number {
    return this.isValid() ? this.#parts.holdings.size : 0;
  }

  /** Registers the run; leases come with the first `assign()`. @throws StreamHouseError `METADATA_UNAVAILABLE` */
  async start(address: string): Promise<void> {
    this.#address = address;
    await this.#beginRun();
    this.#renewals = createTicker(this.#parts.clock, {
      intervalMs: this.#options.leaseRenewMs,
      run: () => this.#renew(),
      onError: (error) => this.#warn("renewing the leases failed", error),
    });
    this.#assignments = createTicker(this.#parts.clock, {
      intervalMs: this.#options.leaseRenewMs,
      run: () => this.#parts.holdings.balance(this.#runId),
      onError: (error) => this.#warn("taking leases failed", error),
    });
  }

  /** Looks now at what this agent should hold, and takes it. Never rejects. */
  assign(): Promise<void> {
    return this.#assignments?.poke() ?? Promise.resolve();
  }

  /** Gives every lease back. For a drained agent: what is pending must be settled. */
  async release(): Promise<void> {
    await this.#assignments?.stop();
    if (this.#runId !== "") await this.#parts.holdings.releaseAll(this.#runId);
  }

  /** Ends the run. Nothing runs afterwards. @throws StreamHouseError `METADATA_UNAVAILABLE` */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#fence?.cancel();
    await Promise.all([this.#renewals?.stop(), this.#assignments?.stop()]);
    const runId = this.#runId || this.#overRunId;
    this.#loseRun("the agent stopped");
    if (runId !== "") await this.#parts.metadata.endRun(runId);
  }

  refused(
    runId: string,
    partitions: readonly (TopicPartition & { readonly reason: "fenced" | "deleted" })[],
  ): void {
    // What an old run may not do says nothing of the leases of this one.
    if (runId !== this.#runId) return;
    const reasons = new Map(
      partitions.map((it) => [partitionKey(it.topicId, it.partition), it.reason]),
    );
    const phases = { fenced: "lost", deleted: "deleted" } as const;
    this.#drop((hold) => {
      const reason = reasons.get(hold.key);
      return reason && phases[reason];
    });
    this.#parts.logger.warn(
      "metadata refused to commit: the leases are another agent's, or expired",
      {
        partitions: partitions.length,
      },
    );
    // Is it the run that is over, or only some leases?
    void this.#renewals?.poke();
  }

  runInDoubt(runId: string, reason: string): void {
    if (runId !== this.#runId || this.#stopped) return;
    this.#loseRun(reason);
    void this.#renewals?.poke();
  }

  /** Their topics were deleted. */
  topicsGone(topicIds: ReadonlySet<string>): void {
    this.#drop((hold) => (topicIds.has(hold.topicId) ? "deleted" : undefined));
  }

  async #renew(): Promise<void> {
    const { clock, instruments, metadata, reachability } = this.#parts;
    if (this.#runId === "") {
      await this.#beginRun();
      void this.assign();
      return;
    }
    const runId = this.#runId;
    const sentAt = clock.monotonic();
    let renewed: boolean;
    try {
      renewed = await reachability.watch(metadata.renewRun(runId, this.#options.leaseTtlMs));
    } catch (error) {
      instruments.renewalsFailed.add(1);
      throw error;
    }
    if (runId !== this.#runId) return;
    if (renewed) {
      instruments.renewalsOk.add(1);
      this.#extend(sentAt);
      return;
    }
    instruments.renewalsLost.add(1);
    this.#loseRun("another agent took over");
    await this.#beginRun();
    void this.assign();
  }

  async #beginRun(): Promise<void> {
    const { clock, logger, metadata, random, reachability } = this.#parts;
    if (this.#overRunId !== "") {
      await reachability.watch(metadata.endRun(this.#overRunId));
      this.#overRunId = "";
    }
    const runId = this.#nextRunId || createUlid(clock.now(), random);
    const sentAt = clock.monotonic();
    await reachability.watch(
      metadata.startRun({
        runId,
        agentId: this.#agentId,
        address: this.#address,
        ttlMs: this.#options.leaseTtlMs,
        predecessorsDead: this.#options.predecessorsDead,
      }),
    );
    this.#nextRunId = "";
    this.#runId = runId;
    // The warning that a run is over must not be the last word on it.
    if (this.#lostRun) logger.info("a new run has begun", { runId });
    this.#lostRun = false;
    this.#events.runBegan(runId);
    this.#extend(sentAt);
  }

  #extend(sentAt: number): void {
    const { clock } = this.#parts;
    this.#validUntil = sentAt + this.#options.leaseTtlMs;
    this.#fence?.cancel();
    const left = Math.max(0, this.#validUntil - clock.monotonic());
    this.#fence = clock.schedule(left, () => this.#fenceIfLate(), { background: true });
  }

  /** The lease was not renewed in time: another agent may hold it by now, so this one must not act on it. */
  #fenceIfLate(): void {
    if (this.#runId === "" || this.isValid()) return;
    this.#loseRun(`no renewal succeeded within ${this.#options.leaseTtlMs} ms`);
    void this.#renewals?.poke();
  }

  #loseRun(reason: string): void {
    if (this.#runId === "") return;
    if (!this.#stopped) this.#parts.logger.warn("the agent's run is over", { reason });
    this.#lostRun = true;
    this.#overRunId = this.#runId;
    this.#runId = "";
    this.#validUntil = Number.NEGATIVE_INFINITY;
    this.#fence?.cancel();
    this.#drop(() => "lost");
  }

  #drop(phaseOf: (hold: Hold) => "lost" | "deleted" | undefined): void {
    const gone = new Set<Hold>();
    for (const hold of this.#parts.holdings) {
      const phase = phaseOf(hold);
      if (phase === undefined) continue;
      hold.phase = phase;
      gone.add(hold);
    }
    if (gone.size === 0) return;
    for (const hold of gone) this.#parts.holdings.remove(hold);
    this.#events.lost(gone);
  }

  #warn(message: string, error: unknown): void {
    const { code, message: why } = asStreamHouseError(error, message);
    this.#parts.logger.warn(message, { code, error: why });
  }
}
