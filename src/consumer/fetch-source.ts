/**
 * Which agent to fetch a partition from. By default its holder, which knows first of what is new and has it in memory; while that one is
 * away any other serves what is committed, and after a while the holder is tried again. Or always another one, so that many readers
 * spread over the agents. Where a partition is read makes no difference to what is read. Called by the fetch loop.
 */
import type { Cluster } from "../client/cluster.ts";
import type { AgentConnection } from "../client/transport.ts";
import type { Clock } from "../core/clock.ts";
import { StreamHouseError } from "../core/errors.ts";
import type { TopicPartition } from "../core/topic.ts";
import type { ReadFrom } from "./options.ts";

export interface FetchSourceComponents {
  readonly cluster: Cluster;
  readonly clock: Clock;
  /** Spreads consumers over agents: the same for the life of a consumer. */
  readonly seed: string;
}

/** An agent, and until when it is believed to be the right one (monotonic). */
export interface Source {
  readonly connection: AgentConnection;
  readonly until: number;
}

/** How long an agent is believed to be the one to ask, ms. */
const BELIEVED_MS = 30_000;

/** How long another agent than the holder is asked before the holder is tried again, ms. */
const STAND_IN_MS = 2_000;

/** How long an agent that failed is left alone: at first, and at most when it fails again and again, ms. */
const AWAY_MS = { first: 1_000, max: 15_000 } as const;

/** Agents remembered as away: more than any cluster has. */
const AWAY_MAX = 10_000;

interface Away {
  readonly until: number;
  readonly failures: number;
}

export class FetchSource {
  readonly #parts: FetchSourceComponents;
  readonly #readFrom: ReadFrom;
  /** Agents that failed last time, by address. */
  readonly #away = new Map<string, Away>();

  constructor(parts: FetchSourceComponents, { readFrom }: { readonly readFrom: ReadFrom }) {
    this.#parts = parts;
    this.#readFrom = readFrom;
  }

  /** @throws StreamHouseError `AGENT_UNREACHABLE` if no agent answers */
  async locate(partition: TopicPartition, signal: AbortSignal): Promise<Source> {
    const { clock, cluster } = this.#parts;
    if (this.#readFrom === "any") {
      const connection = (await this.#standIn(signal)) ?? (await cluster.any(signal));
      return { connection, until: clock.monotonic() + BELIEVED_MS };
    }
    const holder = await cluster.holder(partition.topicId, partition.partition, signal);
    const until = clock.monotonic() + BELIEVED_MS;
    if (!this.#isAway(holder.address)) return { connection: holder, until };
    const other = await this.#standIn(signal);
    if (other === undefined) return { connection: holder, until };
    return { connection: other, until: clock.monotonic() + STAND_IN_MS };
  }

  /** The agent could not be reached, or could not reach what it needs: others are asked for a while. */
  failed({ address }: AgentConnection, error: StreamHouseError): void {
    if (!isAbout(error)) return;
    const failures = (this.#away.get(address)?.failures ?? 0) + 1;
    const pause = Math.min(AWAY_MS.max, AWAY_MS.first * 2 ** Math.min(10, failures - 1));
    this.#away.delete(address);
    this.#away.set(address, { until: this.#parts.clock.monotonic() + pause, failures });
    if (this.#away.size > AWAY_MAX) {
      for (const oldest of this.#away.keys()) {
        this.#away.delete(oldest);
        break;
      }
    }
  }

  answered({ address }: AgentConnection): void {
    this.#away.delete(address);
  }

  /** An agent said that another one holds the partition. True: that one is to be asked next. */
  moves(from: AgentConnection, partition: TopicPartition, holderAddress: string): boolean {
    if (this.#readFrom === "any" || holderAddress === "" || holderAddress === from.address) {
      return false;
    }
    if (this.#isAway(holderAddress)) return false;
    this.#parts.cluster.note(partition.topicId, partition.partition, heldBy(holderAddress));
    return true;
  }

  #isAway(address: string): boolean {
    return (this.#away.get(address)?.until ?? 0) > this.#parts.clock.monotonic();
  }

  /** One that is not away: for each consumer another, and the same again as long as it is there. Undefined: there is none. */
  async #standIn(signal: AbortSignal): Promise<AgentConnection | undefined> {
    const agents = await this.#parts.cluster.all(signal);
    const ranked = agents
      .filter((it) => !this.#isAway(it.address))
      .map((it) => ({ it, rank: hash(`${it.address} ${this.#parts.seed}`) }))
      .sort((a, b) => a.rank - b.rank);
    return ranked[0]?.it;
  }
}

/** Whether another agent may do better. */
function isAbout(error: StreamHouseError): boolean {
  switch (error.code) {
    case "AGENT_UNREACHABLE":
    case "AGENT_DRAINING":
    case "DEADLINE_EXCEEDED":
    case "METADATA_UNAVAILABLE":
    case "STORE_UNAVAILABLE":
      return true;
    default:
      return error.kind === "closed";
  }
}

function heldBy(holderAddress: string): StreamHouseError {
  return new StreamHouseError({
    code: "NOT_LEASE_HOLDER",
    kind: "unavailable",
    holderAddress,
    message: `the partition's lease is held at ${holderAddress}`,
  });
}

/** FNV-1a: spreads, and is the same everywhere. http://www.isthe.com/chongo/tech/comp/fnv/ */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  }
  return value;
}
