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
import type { Balancer } from "./balancer.ts";
import type { ClusterView } from "./cluster-view.ts";
import type { FlushLease } from "./flush-lease.ts";
import type { Holdings } from "./holdings.ts";
import type { LoadMeter } from "./load-meter.ts";
import type { ResolvedAgentOptions } from "./options.ts";
import type { Hold } from "./pending-batch.ts";
import type { Reachability } from "./reachability.ts";

export interface LeaseManagerComponents {
  readonly metadata: MetadataStore;
  readonly holdings: Holdings;
  readonly balancer: Balancer;
  readonly view: ClusterView;
  readonly load: LoadMeter;
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

/** Renewals that may be unanswered at once: a slow database is asked on, a silent one is not buried. */
const RENEWALS_OPEN_MAX = 3;

/** The living are counted this often in a renewal interval, so that a dead agent is noticed soon after its time has run out. */
const ROLL_CALLS = 6;

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
  #tickers: readonly Ticker[] = [];
  #renewals: Ticker | undefined;
  #assignments: Ticker | undefined;
  /** Renewals without an answer yet, and the run that each is of. */
  readonly #renewing = new Map<Promise<void>, string>();
  #beginning: Promise<void> | undefined;
  #unwatch: () => void = () => {};
  #retiring = false;
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
    await this.#begin();
    const { clock, metadata } = this.#parts;
    const { leaseRenewMs } = this.#options;
    const every = (intervalMs: number, what: string, run: () => void | Promise<void>): Ticker =>
      createTicker(clock, { intervalMs, run, onError: (error) => this.#warn(what, error) });
    // Renewals are sent on time, whether or not the last one is answered.
    this.#renewals = every(leaseRenewMs, "renewing the leases failed", () => this.#renew());
    this.#assignments = every(leaseRenewMs, "taking leases failed", () => this.#balance());
    const rollCall = every(Math.ceil(leaseRenewMs / ROLL_CALLS), "looking for agents failed", () =>
      this.#callRoll(),
    );
    this.#tickers = [this.#renewals, this.#assignments, rollCall];
    this.#unwatch = metadata.watch((hint) => {
      if (hint === "assignment") void this.assign();
    });
  }

  /** Looks now at what this agent should hold, and takes it. Never rejects. */
  assign(): Promise<void> {
    return this.#assignments?.poke() ?? Promise.resolve();
  }

  /**
   * This agent is to hold nothing any more: tells the others, and begins to hand over to them. True: every partition is on its way
   * to somebody else, and clients are told to whom. Never rejects.
   */
  async retire(): Promise<boolean> {
    this.#retiring = true;
    const { holdings, metadata, view } = this.#parts;
    if (this.#runId === "") return false;
    try {
      await metadata.retireRun(this.#runId);
    } catch (error) {
      this.#warn("the other agents could not be told that this one stops", error);
      return false;
    }
    await this.assign();
    return view.hasHeirs && [...holdings].every((hold) => hold.phase !== "held");
  }

  /** Others live that could take over, as far as is known. */
  get hasHeirs(): boolean {
    return this.#parts.view.hasHeirs;
  }

  /** Gives every lease back. For a drained agent: what is pending must be settled. */
  async release(): Promise<void> {
    await this.#assignments?.stop();
    if (this.#runId !== "") await this.#parts.balancer.releaseAll(this.#runId);
  }

  /** Ends the run. Nothing runs afterwards. @throws StreamHouseError `METADATA_UNAVAILABLE` */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#unwatch();
    this.#fence?.cancel();
    const ended = this.#tickers.map((it) => it.stop());
    await this.#beginning?.catch(() => {});
    const runId = this.#runId || this.#overRunId;
    this.#loseRun("the agent stopped");
    const ending = runId === "" ? undefined : this.#parts.metadata.endRun(runId);
    // A renewal that is never answered must not keep the run from being ended.
    await Promise.all([ending, ...ended, Promise.allSettled(this.#renewing.keys())]);
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

  async #balance(): Promise<void> {
    const runId = this.#runId;
    const isLive = await this.#parts.balancer.round({ runId, retiring: this.#retiring });
    // Ended by somebody, or out of time by the store's clock: a renewal finds out.
    if (!isLive && runId !== "" && runId === this.#runId) void this.#renewals?.poke();
  }

  async #callRoll(): Promise<void> {
    const { view } = this.#parts;
    if (this.#runId !== "" && view.hasOthers && (await view.hasChanged())) void this.assign();
  }

  /** Does not wait for the answer, unless a new run is to begin. */
  async #renew(): Promise<void> {
    if (this.#runId === "") return this.#beginAgain();
    const runId = this.#runId;
    const open = [...this.#renewing.values()].filter((it) => it === runId).length;
    if (open >= RENEWALS_OPEN_MAX) return;
    const renewing = this.#renewOnce(runId).catch((error: unknown) => {
      this.#warn("renewing the leases failed", error);
    });
    this.#renewing.set(renewing, runId);
    void renewing.finally(() => this.#renewing.delete(renewing));
  }

  async #renewOnce(runId: string): Promise<void> {
    const { clock, instruments, load, metadata, reachability } = this.#parts;
    const sentAt = clock.monotonic();
    const { leaseTtlMs } = this.#options;
    let renewed: boolean;
    try {
      renewed = await reachability.watch(metadata.renewRun(runId, leaseTtlMs, load.read()));
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
    await this.#beginAgain();
  }

  async #beginAgain(): Promise<void> {
    // Who is about to stop begins nothing.
    if (this.#retiring || this.#stopped) return;
    await this.#begin();
    void this.assign();
  }

  #begin(): Promise<void> {
    this.#beginning ??= this.#beginRun().finally(() => {
      this.#beginning = undefined;
    });
    return this.#beginning;
  }

  async #beginRun(): Promise<void> {
    const { clock, logger, metadata, random, reachability } = this.#parts;
    if (this.#runId !== "") return;
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
        // Only of the first run: who came since is no predecessor.
        predecessorsDead: this.#options.predecessorsDead && this.#nextRunId !== "",
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

  /** Answers may overtake one another: an earlier one takes nothing back. */
  #extend(sentAt: number): void {
    const { clock } = this.#parts;
    const validUntil = sentAt + this.#options.leaseTtlMs;
    if (validUntil <= this.#validUntil) return;
    this.#validUntil = validUntil;
    this.#fence?.cancel();
    const left = Math.max(0, validUntil - clock.monotonic());
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
