/**
 * The agent: takes what producers send, makes it durable, serves it to consumers; holds nothing but leases. This
 * room is its life (start, drain, stop) and composes the others; it knows nothing of gRPC or HTTP. Called by
 * `serve/`, tests, and programs that embed an agent.
 */
import type { Clock } from "../core/clock.ts";
import { asStreamHouseError, closed, invalid, StreamHouseError } from "../core/errors.ts";
import { createUlid, createUuid } from "../core/ids.ts";
import { createTicker, type Ticker } from "../core/ticker.ts";
import type { AgentApi } from "../rpc/agent-api.ts";
import { createTelemetry, type Telemetry } from "../telemetry/telemetry.ts";
import type { AccessControl } from "./access.ts";
import { type AgentComponents, type AgentRooms, buildRooms } from "./agent-rooms.ts";
import { type AgentOptions, type ResolvedAgentOptions, resolveAgentOptions } from "./options.ts";

export type { AgentComponents } from "./agent-rooms.ts";

/**
 * `starting` not ready yet · `standby` runs and holds no lease · `serving` holds leases · `draining` finishes what was
 * accepted and accepts no more · `stopped`.
 */
export type AgentPhase = "starting" | "standby" | "serving" | "draining" | "stopped";

/** For readiness checks. */
export interface AgentStatus {
  readonly phase: AgentPhase;
  readonly activeLeases: number;
  /** It could not renew its run in time, or another agent ended it, and no new one has begun: it can hold no lease. */
  readonly fenced: boolean;
  /** How long every call to metadata has failed; 0 if the last one succeeded. */
  readonly metadataDownForMs: number;
  /** The same for the object store. */
  readonly storeDownForMs: number;
}

/** Owns partitions by lease, makes records durable and serves them. It knows no network: `createGrpcServer` puts one in front. */
export interface Agent {
  /** The same for every run, if the application names it; otherwise made with the agent. */
  readonly agentId: string;
  /** The current run; another after a run was lost. */
  readonly runId: string;
  /** The whole of the agent's service; also what its gRPC server calls. */
  readonly api: AgentApi;
  /** The same service for callers that show an API key: what a gRPC server is given where keys are on. */
  readonly access: AccessControl;
  /** `activeLeaseCount()`: the partitions whose lease this agent holds now. */
  readonly leaseManager: { activeLeaseCount(): number };
  /** The agent's instruments and tracer, shared with its gRPC server. Closed by `stop()`. */
  readonly telemetry: Telemetry;
  /** Whether it holds the lease of any partition, by its own clock. */
  hasActiveLeases(): boolean;
  /** What `/ready` tells: the phase, leases, and what cannot be reached. */
  status(): AgentStatus;
  /** The address that clients are told. Only before `start()`: the real port is known after listen. */
  setAddress(address: string): void;
  /**
   * Registers the run, loads the index and takes leases. Calls of `api` fail with `AGENT_DRAINING` until then.
   * @throws StreamHouseError `METADATA_UNAVAILABLE`, `STORE_UNAVAILABLE` (a remote store is tried), `CLOSED` after `stop()`
   */
  start(options?: { readonly address?: string | undefined }): Promise<void>;
  /** Accepts no more produce calls, commits what was accepted (bounded by `drainTimeoutMs`), then releases the leases. Reads go on. */
  drain(): Promise<void>;
  /** Drains, ends waiting calls and the run. After it nothing of the agent runs. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Makes an agent over the given stores; nothing runs before `start()`.
 * @throws StreamHouseError `INVALID_ARGUMENT` naming the setting
 */
export function createAgent(components: AgentComponents, options: AgentOptions = {}): Agent {
  return new EmbeddedAgent(components, resolveAgentOptions(options, components.store.kind));
}

type Life = "new" | "starting" | "running" | "draining" | "stopped";

class EmbeddedAgent implements Agent {
  readonly agentId: string;
  readonly api: AgentApi;
  readonly access: AccessControl;
  readonly telemetry: Telemetry;
  readonly #components: AgentComponents;
  readonly #options: ResolvedAgentOptions;
  readonly #rooms: AgentRooms;
  #life: Life = "new";
  #address: string;
  #starting: Promise<void> | undefined;
  #draining: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #tickers: readonly Ticker[] = [];
  #stopObserving: () => void = () => {};

  constructor(components: AgentComponents, options: ResolvedAgentOptions) {
    const { clock, random } = components;
    this.#components = components;
    this.#options = options;
    this.#address = options.address;
    this.agentId = options.agentId ?? createUuid(random);
    this.telemetry = createTelemetry(components.telemetry, { name: "agent" });
    this.#rooms = buildRooms(components, options, {
      agentId: this.agentId,
      runId: options.runId ?? createUlid(clock.now(), random),
      telemetry: this.telemetry,
      refusal: () => this.#refusal(),
      sweep: () => void this.#retentionTicker?.poke(),
    });
    this.api = this.#rooms.api;
    this.access = this.#rooms.access;
  }

  get runId(): string {
    return this.#rooms.leases.runId;
  }

  get leaseManager(): { activeLeaseCount(): number } {
    return this.#rooms.leases;
  }

  hasActiveLeases(): boolean {
    return this.#rooms.leases.activeLeaseCount() > 0;
  }

  status(): AgentStatus {
    const { leases, metadataReachability, storeProbe } = this.#rooms;
    const activeLeases = leases.activeLeaseCount();
    return {
      phase: this.#phase(activeLeases),
      activeLeases,
      fenced: this.#life === "running" && !leases.isValid(),
      metadataDownForMs: metadataReachability.downForMs,
      storeDownForMs: storeProbe.downForMs,
    };
  }

  setAddress(address: string): void {
    if (this.#life !== "new") {
      throw invalid("INVALID_ARGUMENT", "the agent's address cannot change after its start");
    }
    this.#address = address;
  }

  start(options: { readonly address?: string | undefined } = {}): Promise<void> {
    if (this.#stopping !== undefined) return Promise.reject(closed("this agent"));
    this.#starting ??= this.#start(options.address ?? this.#address);
    return this.#starting;
  }

  drain(): Promise<void> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  #phase(activeLeases: number): AgentPhase {
    if (this.#life === "running") return activeLeases > 0 ? "serving" : "standby";
    return this.#life === "new" ? "starting" : this.#life;
  }

  /** Why calls are refused. A draining agent still serves reads; its gate refuses what is new. */
  #refusal(): StreamHouseError | undefined {
    if (this.#life === "running" || this.#life === "draining") return undefined;
    return draining(this.#life === "stopped" ? "the agent has stopped" : "the agent is starting");
  }

  async #start(address: string): Promise<void> {
    const { gate, index, leases, storeProbe, topics } = this.#rooms;
    this.#life = "starting";
    try {
      await topics.refresh();
      // Before others see the run and hand partitions over to it: reading a long index would keep producers waiting.
      await index.refresh();
      // Nor is anything handed over to an agent that could not write it.
      await storeProbe.check();
      await leases.start(address);
    } catch (error) {
      this.#life = "stopped";
      gate.close(draining("the agent could not start"));
      await leases.stop().catch(() => {});
      this.telemetry.close();
      throw asStreamHouseError(error, "starting the agent");
    }
    // Stopped meanwhile: `stop()` waits for this and does the rest.
    if (this.#stopping !== undefined) return;
    this.#life = "running";
    await leases.assign();
    this.#rooms.follower.start();
    this.#stopObserving = this.telemetry.metrics.onCollect(() => this.#rooms.observe());
    this.#tickers = this.#startTickers();
    const { logger } = this.#components;
    logger.info("the agent serves", { agentId: this.agentId, runId: this.runId, address });
  }

  get #retentionTicker(): Ticker | undefined {
    return this.#tickers[0];
  }

  #startTickers(): readonly Ticker[] {
    const { clock, logger } = this.#components;
    const { groups, lag, merger, retention, sweeper, storeProbe } = this.#rooms;
    const every = (intervalMs: number, what: string, run: () => Promise<void>, immediate = false) =>
      createTicker(clock, {
        intervalMs,
        run,
        immediate,
        onError: (error) => {
          const { code, message } = asStreamHouseError(error, what);
          logger.warn(`${what} failed; it is tried again`, { code, error: message });
        },
      });
    const tickers = [
      every(this.#options.retentionCheckMs, "retention", () => retention.run()),
      every(this.#options.leaseRenewMs, "looking for the store", () => storeProbe.look()),
    ];
    const { merge, mergeCheckMs, offsetsCheckMs, sweepCheckMs } = this.#options;
    if (merge) tickers.push(every(mergeCheckMs, "merging", () => merger.run()));
    tickers.push(every(sweepCheckMs, "sweeping orphans", () => sweeper.run()));
    tickers.push(every(offsetsCheckMs, "forgetting unused groups", () => groups.expire()));
    // Only gauges are refreshed: who asks for lag is answered from a snapshot of his own.
    if (this.telemetry.families.includes("streamhouse")) {
      const refreshMs = this.#options.lagRefreshMs / 2;
      tickers.push(every(refreshMs, "refreshing lag", () => lag.refresh(), true));
    }
    return tickers;
  }

  async #drain(): Promise<void> {
    await this.#starting?.catch(() => {});
    if (this.#life !== "running") return;
    const { flusher, leases } = this.#rooms;
    this.#life = "draining";
    const { clock, logger } = this.#components;
    this.#rooms.merger.stop();
    await this.#retire();
    if (!(await within(clock, this.#options.drainTimeoutMs, flusher.drain()))) {
      logger.error("draining took too long: what is left fails", {
        timeoutMs: this.#options.drainTimeoutMs,
      });
      void flusher.stop(draining("the agent stopped before the batch was written"));
    }
    // Last: until here nobody else may write what this agent has accepted.
    const released = leases.release().catch((error: unknown) => {
      const { message } = asStreamHouseError(error, "releasing leases");
      logger.warn("leases were not released; they expire by themselves", { error: message });
    });
    await within(clock, STOP_MS, released);
  }

  /**
   * Others take over first, each partition as soon as its batches are settled, and clients are sent there; where nobody can, everything
   * new is refused.
   */
  async #retire(): Promise<void> {
    const { gate, leases } = this.#rooms;
    const refusal = draining("the agent is draining");
    if (!leases.hasHeirs) gate.close(refusal);
    const moved = leases.retire().then((handsOver) => {
      if (!handsOver) gate.close(refusal);
    });
    if (!(await within(this.#components.clock, RETIRE_MS, moved))) gate.close(refusal);
  }

  async #stop(): Promise<void> {
    await this.#starting?.catch(() => {});
    await this.drain();
    const { clock, logger } = this.#components;
    const { flusher, gate, leases, waiting } = this.#rooms;
    this.#life = "stopped";
    const error = draining("the agent has stopped");
    gate.close(error);
    waiting.close(error);
    this.#rooms.follower.stop();
    this.#rooms.merger.stop();
    this.#rooms.sweeper.stop();
    const ended = Promise.all([
      ...this.#tickers.map((it) => it.stop()),
      flusher.stop(error),
      leases.stop().catch((thrown: unknown) => {
        const { message } = asStreamHouseError(thrown, "ending the run");
        logger.warn("the run was not ended; its leases expire by themselves", { error: message });
      }),
    ]);
    // A store or a database that never answers must not keep a process from ending.
    if (!(await within(clock, STOP_MS, ended))) logger.error("a store did not answer at the stop");
    gate.stop();
    // Until here a collection finds that nothing is held any more.
    this.#stopObserving();
    this.telemetry.close();
  }
}

/** Longest wait for calls that are under way when the agent drains or stops. */
const STOP_MS = 5_000;

/** Longest wait for metadata to be told that the agent stops, and to say who takes over. */
const RETIRE_MS = 2_000;

/** Whether the work was done in time. */
async function within(clock: Clock, ms: number, work: Promise<unknown>): Promise<boolean> {
  const late = Promise.withResolvers<boolean>();
  const timer = clock.schedule(ms, () => late.resolve(false));
  try {
    return await Promise.race([work.then(() => true), late.promise]);
  } finally {
    timer.cancel();
  }
}

function draining(why: string): StreamHouseError {
  return new StreamHouseError({
    code: "AGENT_DRAINING",
    kind: "unavailable",
    message: `${why}: ask another agent, or try again`,
  });
}
