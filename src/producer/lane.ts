/** The producer's way to one agent: an ordered channel, the requests on it, and the partitions whose turn it is. */
import type { AgentConnection, ProduceChannel } from "../client/transport.ts";
import { Queue } from "../core/queue.ts";
import type { CallContext } from "../rpc/agent-api.ts";
import type { ProduceRequest, ProduceResponse } from "../rpc/gen/streamhouse/v1/producer.ts";
import type { ProducerBatch } from "./batch.ts";
import type { Partition } from "./topic-state.ts";
import type { RequestTrace, TracedBatch } from "./tracing.ts";

/** A batch and where it belongs. */
export interface Cargo {
  readonly batch: ProducerBatch;
  readonly partition: Partition;
}

/** One request that has no answer yet. */
export interface Flight {
  readonly lane: Lane;
  readonly cargo: readonly Cargo[];
  /** Aborts when nobody wants the answer any more. */
  readonly controller: AbortController;
  readonly trace: RequestTrace | undefined;
  /** What its span tells of each batch, in the order of the cargo. */
  readonly traced: readonly TracedBatch[];
}

export class Lane {
  readonly connection: AgentConnection;
  #channel: ProduceChannel | undefined;
  /** Partitions with something to send, in turn. */
  readonly ready: Queue<Partition> = new Queue();
  readonly flights: Set<Flight> = new Set();

  constructor(connection: AgentConnection) {
    this.connection = connection;
  }

  /** Sends on the channel, on a new one if it is broken. */
  async produce(request: ProduceRequest, call: CallContext): Promise<ProduceResponse> {
    if (this.#channel?.broken) void this.#close(this.#channel);
    if (this.#channel === undefined || this.#channel.broken) {
      this.#channel = this.connection.openProducer();
    }
    return this.#channel.produce(request, call);
  }

  async close(): Promise<void> {
    if (this.#channel === undefined) return;
    const closing = this.#close(this.#channel);
    this.#channel = undefined;
    // A channel waits for its answers when it is closed; those that were given up on are not waited for.
    if (this.flights.size === 0) await closing;
  }

  async #close(channel: ProduceChannel): Promise<void> {
    // There is nothing to tell the caller: every record has had its own answer.
    await channel.close().catch(() => {});
  }
}
