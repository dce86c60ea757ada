/**
 * What a client knows of the cluster: topics, and which agent holds which partition. Learned from the agents' answers and cached; a
 * producer or consumer says with `note()` what a call told it. It never retries the caller's own requests.
 */
import { type Clock, sleep } from "../core/clock.ts";
import { closed, StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import { limits } from "../core/limits.ts";
import type { Logger } from "../core/logger.ts";
import type { Topic } from "../core/topic.ts";
import type { AgentApi, CallContext } from "../rpc/agent-api.ts";
import type { DescribeTopicResponse } from "../rpc/gen/streamhouse/v1/admin.ts";
import { abortable } from "./abortable.ts";
import { AgentDirectory, isAway, isWorthAskingElsewhere } from "./agent-directory.ts";
import { topicOf } from "./topic-message.ts";
import type { AgentConnection, Transport } from "./transport.ts";

export interface Cluster {
  /**
   * A topic by name, from the cache (default) or fresh.
   * @throws StreamHouseError `TOPIC_NOT_FOUND`, `AGENT_UNREACHABLE` (naming the addresses tried)
   */
  topic(
    name: string,
    options?: { readonly fresh?: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<Topic>;
  /** The agent that holds the partition's lease; any agent if that is not known. */
  holder(topicId: string, partition: number, signal?: AbortSignal): Promise<AgentConnection>;
  /** Some agent that answers. */
  any(signal?: AbortSignal): Promise<AgentConnection>;
  /** Every agent that the cluster names, as it was at most ten seconds ago; the one that answers if they have no addresses. */
  all(signal?: AbortSignal): Promise<readonly AgentConnection[]>;
  /**
   * Tells what a call said, so that the next `holder()` or `topic()` asks again or goes elsewhere. For a partition whose holder
   * is not known, it is about the agent that `any()` answered. `from`: who said it, where that is known.
   */
  note(topicId: string, partition: number, error: unknown, from?: AgentConnection): void;
  /** Closes the transport too. */
  close(): Promise<void>;
}

export interface ClusterComponents {
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
}

export interface ClusterOptions {
  /** How long a topic and its lease holders are believed without asking again, ms. Default 30,000. */
  readonly maxAgeMs?: number | undefined;
  /** Time limit of each question to an agent, ms; connecting counts. Default 5,000. */
  readonly timeoutMs?: number | undefined;
}

/** The cluster behind a transport. Asks nothing before it is asked. */
export function createCluster(
  transport: Transport,
  components: ClusterComponents,
  options: ClusterOptions = {},
): Cluster {
  return new CachedCluster(transport, components, {
    maxAgeMs: options.maxAgeMs ?? 30_000,
    timeoutMs: options.timeoutMs ?? 5_000,
  });
}

/** A topic as last described, with its holders by partition (empty: nobody, or an embedded agent without an address). */
interface KnownTopic {
  readonly topic: Topic;
  readonly holders: Map<number, string>;
  readonly askedAt: number;
}

/** How long a list of the agents is believed. */
const AGENTS_MS = 10_000;

/** Between two questions for the holders of one topic, at most; half of it at least. */
const CHURN_PAUSE_MS = 100;

/** Questions that are asked again elsewhere when the agent went away. */
const ATTEMPTS = 3;

class CachedCluster implements Cluster {
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #random: RandomBytes;
  readonly #logger: Logger;
  readonly #directory: AgentDirectory;
  readonly #options: Required<Readonly<{ maxAgeMs: number; timeoutMs: number }>>;
  readonly #byId = new Map<string, KnownTopic>();
  readonly #idByName = new Map<string, string>();
  /** One question at a time for each topic, by `name` or `id`. */
  readonly #asking = new Map<string, Promise<KnownTopic>>();
  #closed = false;

  constructor(
    transport: Transport,
    components: ClusterComponents,
    options: { readonly maxAgeMs: number; readonly timeoutMs: number },
  ) {
    this.#transport = transport;
    this.#clock = components.clock;
    this.#logger = components.logger;
    this.#options = options;
    this.#random = components.random;
    const { clock, random } = components;
    const { maxAgeMs: stayMs, timeoutMs } = options;
    this.#directory = new AgentDirectory({ transport, clock, random }, { timeoutMs, stayMs });
  }

  async topic(
    name: string,
    options: { readonly fresh?: boolean; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Topic> {
    const known = this.#knownByName(name);
    if (known !== undefined && options.fresh !== true && this.#isFresh(known)) return known.topic;
    const asked = this.#ask({ name, topicId: "" }, options.signal);
    // A caller that can do with the cache is not stopped because nobody could be asked just now.
    const believed = options.fresh === true ? undefined : known;
    return (await this.#orBelieved(asked, believed)).topic;
  }

  async holder(topicId: string, partition: number, signal?: AbortSignal): Promise<AgentConnection> {
    const known = this.#byId.get(topicId);
    const address = known?.holders.get(partition);
    if (known !== undefined && address !== undefined && this.#isFresh(known)) {
      return this.#connection(address, signal);
    }
    const pauseMs = known === undefined ? 0 : this.#pauseMs(known);
    const now = await this.#orBelieved(this.#ask({ name: "", topicId }, signal, pauseMs), known);
    return this.#connection(now.holders.get(partition) ?? "", signal);
  }

  async any(signal?: AbortSignal): Promise<AgentConnection> {
    this.#checkOpen();
    return abortable(this.#directory.answering(), signal, "looking for an agent");
  }

  async all(signal?: AbortSignal): Promise<readonly AgentConnection[]> {
    this.#checkOpen();
    const asked = this.#directory.addresses(AGENTS_MS);
    const addresses = await abortable(asked, signal, "looking for agents");
    if (addresses.length === 0) return [await this.any(signal)];
    return addresses.map((address) => this.#transport.connection(address));
  }

  note(topicId: string, partition: number, error: unknown, from?: AgentConnection): void {
    if (!StreamHouseError.is(error)) return;
    const known = this.#byId.get(topicId);
    if (isAway(error) || (topicId === "" && isWorthAskingElsewhere(error))) {
      // Another failure may have been noted before: then who holds it by now is not who answered.
      const address = from?.address ?? known?.holders.get(partition);
      this.#forgetAgent(
        address === undefined || address === "" ? this.#directory.preferred : address,
      );
      if (from === undefined) known?.holders.delete(partition);
      return;
    }
    switch (error.code) {
      case "NOT_LEASE_HOLDER":
        this.#directory.heard(error.holderAddress ?? "");
        if (error.holderAddress === undefined) known?.holders.delete(partition);
        else known?.holders.set(partition, error.holderAddress);
        return;
      case "LEASE_LOST":
        known?.holders.delete(partition);
        return;
      case "DEADLINE_EXCEEDED":
        // An agent that hangs with its connections open: another one has the partition soon, and is not to be found out by age alone.
        if (from === undefined || known?.holders.get(partition) === from.address) {
          known?.holders.delete(partition);
        }
        return;
      case "TOPIC_NOT_FOUND":
      case "PARTITION_OUT_OF_RANGE":
        this.#forgetTopic(topicId);
        return;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#transport.close();
  }

  #checkOpen(): void {
    if (this.#closed) throw closed("this cluster client");
  }

  #isFresh(known: KnownTopic): boolean {
    return this.#clock.monotonic() - known.askedAt < this.#options.maxAgeMs;
  }

  /** While partitions move, one answer after the other is out of date: clients do not ask as fast as they are told so. */
  #pauseMs(known: KnownTopic): number {
    const chance = (this.#random(new Uint8Array(1))[0] ?? 0) / 255;
    const pause = CHURN_PAUSE_MS * (0.5 + chance / 2);
    return Math.max(0, known.askedAt + pause - this.#clock.monotonic());
  }

  #knownByName(name: string): KnownTopic | undefined {
    const id = this.#idByName.get(name);
    return id === undefined ? undefined : this.#byId.get(id);
  }

  async #connection(address: string, signal: AbortSignal | undefined): Promise<AgentConnection> {
    this.#checkOpen();
    return address === "" ? this.any(signal) : this.#transport.connection(address);
  }

  async #orBelieved(
    asked: Promise<KnownTopic>,
    known: KnownTopic | undefined,
  ): Promise<KnownTopic> {
    if (known === undefined) return asked;
    try {
      return await asked;
    } catch (error) {
      if (!StreamHouseError.is(error) || error.kind !== "unavailable") throw error;
      this.#logger.warn("could not refresh a topic; going on with what was known", {
        topic: known.topic.name,
        error: error.message,
      });
      return known;
    }
  }

  #ask(
    which: { readonly name: string; readonly topicId: string },
    signal: AbortSignal | undefined,
    pauseMs = 0,
  ): Promise<KnownTopic> {
    const key = which.name === "" ? `id ${which.topicId}` : `name ${which.name}`;
    let asking = this.#asking.get(key);
    if (asking === undefined) {
      // The question is shared, so no single caller's signal ends it: it has its own time limit.
      const paused = pauseMs > 0 ? sleep(this.#clock, pauseMs) : Promise.resolve();
      asking = paused.then(() => this.#describe(which)).finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    return abortable(asking, signal, `looking up topic ${which.name || which.topicId}`);
  }

  async #describe(which: { readonly name: string; readonly topicId: string }): Promise<KnownTopic> {
    try {
      const answer = await this.#question((api, call) => api.describeTopic(which, call));
      return this.#remember(answer);
    } catch (error) {
      if (StreamHouseError.is(error) && error.code === "TOPIC_NOT_FOUND") {
        this.#forgetTopic(which.topicId || this.#idByName.get(which.name) || "");
      }
      throw error;
    }
  }

  /** Asks some agent, and the next one if that one went away. */
  async #question<T>(ask: (api: AgentApi, call: CallContext) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const agent = await this.any();
      try {
        return await ask(agent.api, { timeoutMs: this.#options.timeoutMs });
      } catch (error) {
        const last = attempt >= ATTEMPTS || !StreamHouseError.is(error);
        if (last || !isWorthAskingElsewhere(error)) throw error;
        this.#forgetAgent(agent.address);
      }
    }
  }

  #remember(answer: DescribeTopicResponse): KnownTopic {
    const topic = topicOf(answer.topic);
    const holders = new Map(answer.partitions.map((it) => [it.partition, it.holderAddress]));
    for (const address of holders.values()) this.#directory.heard(address);
    const known: KnownTopic = { topic, holders, askedAt: this.#clock.monotonic() };
    const before = this.#idByName.get(topic.name);
    if (before !== undefined && before !== topic.id) this.#forgetTopic(before);
    if (this.#byId.size >= limits.topicsMax) this.#forgetAll();
    this.#byId.set(topic.id, known);
    this.#idByName.set(topic.name, topic.id);
    return known;
  }

  #forgetTopic(topicId: string): void {
    const known = this.#byId.get(topicId);
    if (known === undefined) return;
    this.#byId.delete(topicId);
    if (this.#idByName.get(known.topic.name) === topicId) this.#idByName.delete(known.topic.name);
  }

  #forgetAll(): void {
    this.#byId.clear();
    this.#idByName.clear();
  }

  #forgetAgent(address: string | undefined): void {
    if (address === undefined) return;
    this.#directory.avoid(address);
    for (const { holders } of this.#byId.values()) {
      for (const [partition, holder] of holders) {
        if (holder === address) holders.delete(partition);
      }
    }
  }
}
