/** How a client reaches agents: over gRPC (`grpc-transport.ts`) or in the same process (`in-process-transport.ts`). */
import type { AgentApi, CallContext } from "../rpc/agent-api.ts";
import type { ProduceRequest, ProduceResponse } from "../rpc/gen/streamhouse/v1/producer.ts";

/** An ordered way to one agent for one producer (over gRPC: one `ProduceStream`). */
export interface ProduceChannel {
  /**
   * Requests are applied in the order of the calls; answers may overtake one another. After a failure of the
   * channel itself every unanswered call rejects with what is known of it (`unknown` once it was handed to the network, unless the
   * agent said that it was not applied), and later ones with `none` (`retriable`). The bytes of the batches are read until the
   * call is answered: leave them as they are.
   */
  produce(request: ProduceRequest, call: CallContext): Promise<ProduceResponse>;
  /** True once the channel failed or was closed: open another. */
  readonly broken: boolean;
  close(): Promise<void>;
}

/** The way to one agent. Connecting is lazy; a lost connection is made again by itself. */
export interface AgentConnection {
  /** `host:port`, or `in-process`. */
  readonly address: string;
  readonly api: AgentApi;
  openProducer(): ProduceChannel;
  close(): Promise<void>;
}

export interface Transport {
  /** Addresses to begin with; never empty. */
  readonly bootstrap: readonly string[];
  /** The connection to an address, made on first use and shared. */
  connection(address: string): AgentConnection;
  /**
   * These are the cluster's agents now. Connections to other addresses (but the first ones) are let go of where nothing is under way; one
   * that is used again connects again.
   */
  keep?(addresses: ReadonlySet<string>): void;
  close(): Promise<void>;
}
