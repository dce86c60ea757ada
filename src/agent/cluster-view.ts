/**
 * What this agent knows of the others: who lives, who should hold which partition and who does. Read anew in every round, told to
 * clients in between. It decides nothing by this agent's clock. Called by the balancer; read by the gate, for its refusals.
 */
import type { Logger } from "../core/logger.ts";
import { partitionKey, type TopicPartition } from "../core/topic.ts";
import type { AgentRun, MetadataStore } from "../metadata/metadata-store.ts";
import { createAssigner, isLater, type OwnerOf } from "./assigner.ts";
import type { Reachability } from "./reachability.ts";

export interface ClusterViewComponents {
  readonly metadata: MetadataStore;
  readonly reachability: Reachability;
  readonly logger: Logger;
}

/** Where a partition is, or will be in a moment. */
export interface Whereabouts {
  /** `host:port`; empty if it is not known. */
  readonly address: string;
  /** It comes to this agent and is not here yet. */
  readonly comesHere: boolean;
}

export class ClusterView {
  readonly #parts: ClusterViewComponents;
  #self: AgentRun | undefined;
  #live: ReadonlyMap<string, AgentRun> = new Map();
  #ownerOf: OwnerOf = () => undefined;
  /** Runs by partition, of the leases that others hold. */
  #holders: ReadonlyMap<string, string> = new Map();
  #own: readonly TopicPartition[] = [];
  #hasHeirs = false;
  /** The living, as they were last looked at. */
  #roll = "";
  #twinOf = "";

  constructor(components: ClusterViewComponents) {
    this.#parts = components;
  }

  /** Others live that could take over what this agent holds. */
  get hasHeirs(): boolean {
    return this.#hasHeirs;
  }

  /**
   * Reads runs and leases. False: the run is not among the living ones, so it can hold nothing and give nothing.
   * @throws StreamHouseError `METADATA_UNAVAILABLE`
   */
  async look(runId: string, retiring: boolean): Promise<boolean> {
    const { metadata, reachability } = this.#parts;
    const runs = await reachability.watch(metadata.listRuns());
    const live = new Map(runs.filter((it) => it.isLive).map((it) => [it.runId, it]));
    const self = live.get(runId);
    this.#self = self;
    this.#live = live;
    this.#roll = rollOf(runs);
    const candidates = [...live.values()].filter(
      (it) => !it.isRetiring && !(retiring && it.runId === runId),
    );
    this.#ownerOf = createAssigner(candidates);
    this.#hasHeirs = candidates.some((it) => it.runId !== runId);
    // Alone nobody else holds anything, and the store knows better than a list who may take what.
    const alone = live.size - (self === undefined ? 0 : 1) === 0;
    const leases = alone ? [] : await reachability.watch(metadata.listLeases());
    this.#own = leases.filter((it) => it.runId === runId);
    const others = leases.filter((it) => it.runId !== runId && live.has(it.runId));
    this.#holders = new Map(others.map((it) => [partitionKey(it.topicId, it.partition), it.runId]));
    if (self !== undefined) this.#warnOfTwin(self, candidates);
    return self !== undefined;
  }

  /** Whether somebody came, went or died since the last look: a small question, for asking often. */
  async hasChanged(): Promise<boolean> {
    const { metadata, reachability } = this.#parts;
    return rollOf(await reachability.watch(metadata.listRuns())) !== this.#roll;
  }

  /** Somebody else of the living is in the cluster. */
  get hasOthers(): boolean {
    return this.#live.size > (this.#self === undefined ? 0 : 1);
  }

  /** What the run held, by metadata, when it was read; nothing while nobody else lives who could want it. */
  get own(): readonly TopicPartition[] {
    return this.#own;
  }

  /** The run that should hold it. */
  ownerOf(it: TopicPartition): string | undefined {
    return this.#ownerOf(it);
  }

  /** No other live run held it when it was read. */
  isFree(it: TopicPartition): boolean {
    return !this.#holders.has(partitionKey(it.topicId, it.partition));
  }

  /**
   * Where to turn for a partition that is not held here. One on its way to another agent is there already, as far as clients are
   * told: they wait at its next holder, and not between two agents that send them to one another.
   */
  whereIs(it: TopicPartition): Whereabouts {
    const owner = this.#ownerOf(it);
    if (owner !== undefined && owner === this.#self?.runId && this.#self.address !== "") {
      return { address: this.#self.address, comesHere: true };
    }
    const holder = this.#holders.get(partitionKey(it.topicId, it.partition)) ?? owner ?? "";
    return { address: this.#live.get(holder)?.address ?? "", comesHere: false };
  }

  /** Two agents with one id are no danger, but one of them is idle, and hardly on purpose. */
  #warnOfTwin(self: AgentRun, candidates: readonly AgentRun[]): void {
    const twin = candidates.find((it) => it.agentId === self.agentId && it.runId !== self.runId);
    if (twin?.runId === this.#twinOf || twin === undefined) {
      this.#twinOf = twin?.runId ?? "";
      return;
    }
    this.#twinOf = twin.runId;
    const { agentId } = self;
    const which = isLater(twin, self) ? "the other one, which started later," : "this one";
    this.#parts.logger.warn(
      `another live agent has the same agent id: ${which} gets the partitions of both; give each an id of its own`,
      { agentId, address: twin.address, runId: twin.runId },
    );
  }
}

function rollOf(runs: readonly AgentRun[]): string {
  return runs
    .filter((it) => it.isLive)
    .map((it) => `${it.runId}${it.isRetiring ? "-" : ""}`)
    .sort()
    .join(" ");
}
