/**
 * Finds an agent that answers: among the addresses to begin with, and those that the agents named. Used by the cluster client
 * only; producers and consumers ask that one.
 */
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import type { AgentConnection, Transport } from "./transport.ts";

/** The agent cannot be worked with now; another may. */
export function isAway(error: StreamHouseError): boolean {
  return error.code === "AGENT_UNREACHABLE" || error.code === "AGENT_DRAINING";
}

export class AgentDirectory {
  readonly #transport: Transport;
  readonly #timeoutMs: number;
  /** Where to start among the first addresses, so that many clients spread over the agents. */
  readonly #start: number;
  /** Addresses that agents named; replaced at each answer, so it is no longer than the cluster. */
  #named: readonly string[] = [];
  /** Addresses that failed since the last answer: tried last. */
  readonly #avoided = new Set<string>();
  #preferred: string | undefined;
  #looking: Promise<AgentConnection> | undefined;

  constructor(transport: Transport, random: RandomBytes, timeoutMs: number) {
    this.#transport = transport;
    this.#timeoutMs = timeoutMs;
    this.#start = random(new Uint8Array(1))[0] ?? 0;
  }

  /** The agent that answered last. */
  get preferred(): string | undefined {
    return this.#preferred;
  }

  /** The address does not answer: look for another before it is tried again. */
  avoid(address: string): void {
    this.#avoided.add(address);
    if (this.#preferred === address) this.#preferred = undefined;
  }

  /**
   * An agent that answers; the one that did so last, without asking again, until `avoid()` says otherwise.
   * @throws StreamHouseError `AGENT_UNREACHABLE` naming every address tried and what came of it
   */
  async answering(): Promise<AgentConnection> {
    if (this.#preferred !== undefined) return this.#transport.connection(this.#preferred);
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  #candidates(): string[] {
    const first = this.#transport.bootstrap;
    const shift = this.#start % first.length;
    const all = new Set([...first.slice(shift), ...first.slice(0, shift), ...this.#named]);
    const wanted = [...all].filter((it) => !this.#avoided.has(it));
    return [...wanted, ...[...all].filter((it) => this.#avoided.has(it))];
  }

  async #look(): Promise<AgentConnection> {
    const failures: { readonly address: string; readonly error: StreamHouseError }[] = [];
    for (const address of this.#candidates()) {
      const connection = this.#transport.connection(address);
      try {
        const answer = await connection.api.describeCluster({}, { timeoutMs: this.#timeoutMs });
        this.#named = answer.agents.map((it) => it.address).filter((it) => it !== "");
      } catch (thrown) {
        const error = asStreamHouseError(thrown, "describeCluster");
        if (!answers(error)) {
          failures.push({ address, error });
          continue;
        }
      }
      this.#preferred = address;
      this.#avoided.clear();
      return connection;
    }
    throw unreachable(failures);
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
