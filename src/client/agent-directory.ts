/**
 * Finds an agent that answers: among the addresses to begin with, and those that the agents named. It does not stay with one for
 * long, so that questions spread over agents that come later. Used by the cluster client only; producers and consumers ask that one.
 */
import type { Clock } from "../core/clock.ts";
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import type { AgentConnection, Transport } from "./transport.ts";

/** The agent cannot be worked with now; another may. */
export function isAway(error: StreamHouseError): boolean {
  return error.code === "AGENT_UNREACHABLE" || error.code === "AGENT_DRAINING";
}

export interface AgentDirectoryComponents {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: RandomBytes;
}

/**
 * Another agent may answer what this one could not: one that is cut from metadata, or that hangs, must not keep a client that any other
 * would serve.
 */
export function isWorthAskingElsewhere(error: StreamHouseError): boolean {
  return (
    isAway(error) || error.code === "METADATA_UNAVAILABLE" || error.code === "DEADLINE_EXCEEDED"
  );
}

export class AgentDirectory {
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #random: RandomBytes;
  readonly #timeoutMs: number;
  readonly #stayMs: number;
  /** Addresses that agents named; replaced at each answer, so it is no longer than the cluster. */
  #named: readonly string[] = [];
  #namedAt = Number.NEGATIVE_INFINITY;
  /** Holders that agents named since: agents may all have been replaced by the time the next list is asked for. */
  readonly #heard = new Set<string>();
  /** Addresses that failed since the last answer: tried last. */
  readonly #avoided = new Set<string>();
  #preferred: string | undefined;
  #preferredUntil = Number.NEGATIVE_INFINITY;
  #looking: Promise<AgentConnection> | undefined;

  /** `stayMs`: after so long another agent may be asked. */
  constructor(
    components: AgentDirectoryComponents,
    options: { readonly timeoutMs: number; readonly stayMs: number },
  ) {
    this.#transport = components.transport;
    this.#clock = components.clock;
    this.#random = components.random;
    this.#timeoutMs = options.timeoutMs;
    this.#stayMs = options.stayMs;
  }

  /** The agent that answered last. */
  get preferred(): string | undefined {
    return this.#preferred;
  }

  /** Some agent says that an agent is there. */
  heard(address: string): void {
    if (address !== "") this.#heard.add(address);
  }

  /** The address does not answer: look for another before it is tried again. */
  avoid(address: string): void {
    this.#avoided.add(address);
    if (this.#preferred === address) this.#preferred = undefined;
  }

  /**
   * An agent that answers; for a while the one that did so last, without asking again, until `avoid()` says otherwise.
   * @throws StreamHouseError `AGENT_UNREACHABLE` naming every address tried and what came of it
   */
  async answering(): Promise<AgentConnection> {
    const preferred = this.#preferred;
    if (preferred !== undefined && this.#clock.monotonic() < this.#preferredUntil) {
      return this.#transport.connection(preferred);
    }
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** The live agents' addresses, as they were named at most so long ago; empty if they have none. @throws as `answering` */
  async addresses(maxAgeMs: number): Promise<readonly string[]> {
    if (this.#clock.monotonic() - this.#namedAt >= maxAgeMs) {
      this.#preferredUntil = Number.NEGATIVE_INFINITY;
      await this.answering();
    }
    return this.#named;
  }

  /** Those that are wanted in an order of chance, so that many clients spread over the agents; then those that failed. */
  #candidates(): string[] {
    const first = this.#transport.bootstrap;
    const all = [...new Set([...first, ...this.#named, ...this.#heard])];
    const shift = (this.#random(new Uint8Array(1))[0] ?? 0) % all.length;
    const turned = [...all.slice(shift), ...all.slice(0, shift)];
    const wanted = turned.filter((it) => !this.#avoided.has(it));
    return [...wanted, ...turned.filter((it) => this.#avoided.has(it))];
  }

  async #look(): Promise<AgentConnection> {
    const failures: { readonly address: string; readonly error: StreamHouseError }[] = [];
    for (const address of this.#candidates()) {
      const connection = this.#transport.connection(address);
      try {
        const call = { timeoutMs: this.#timeoutMs };
        const answer = await connection.api.describeCluster({ agentsOnly: true }, call);
        const there = answer.agents.filter((it) => it.live && !it.retiring && it.address !== "");
        this.#named = there.map((it) => it.address);
        this.#namedAt = this.#clock.monotonic();
        this.#heard.clear();
        this.#transport.keep?.(new Set(answer.agents.map((it) => it.address)));
      } catch (thrown) {
        const error = asStreamHouseError(thrown, "describeCluster");
        // Agents of one cluster know the same keys.
        if (error.code === "UNAUTHENTICATED") throw error;
        if (!answers(error)) {
          failures.push({ address, error });
          continue;
        }
      }
      this.#prefer(address);
      return connection;
    }
    throw unreachable(failures);
  }

  #prefer(address: string): void {
    this.#preferred = address;
    // Not all clients of a cluster move on at the same time.
    const chance = (this.#random(new Uint8Array(1))[0] ?? 0) / 255;
    this.#preferredUntil = this.#clock.monotonic() + this.#stayMs * (0.5 + chance / 2);
    this.#avoided.clear();
  }
}

/** The error is an agent's own: it is there, whatever ails it. */
function answers(error: StreamHouseError): boolean {
  return (
    !isAway(error) &&
    error.code !== "DEADLINE_EXCEEDED" &&
    error.code !== "NOT_SUPPORTED" &&
    error.kind !== "closed"
  );
}

function unreachable(
  failures: readonly { readonly address: string; readonly error: StreamHouseError }[],
): StreamHouseError {
  const [only] = failures;
  if (failures.length === 1 && only !== undefined && only.error.kind === "closed")
    return only.error;
  const tried = failures.map((it) => `${it.address} (${it.error.message})`).join("; ");
  return new StreamHouseError({
    code: "AGENT_UNREACHABLE",
    kind: "unavailable",
    message: `no agent answered; tried ${tried}`,
    cause: failures.length === 1 ? only?.error : failures.map((it) => it.error),
  });
}
