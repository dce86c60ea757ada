/**
 * The way to an agent in the same process: calls go straight to its `AgentApi`, on the same objects, with no encoding and no
 * copies (but of batches that are fetched). It keeps the same contract as the gRPC transport (order, one answer for each call, nothing after close, time limits), so
 * that a test or an embedded program behaves as a distributed one. Made by `embed()` and by the test house.
 */
import type { Clock } from "../core/clock.ts";
import { closed, StreamHouseError } from "../core/errors.ts";
import type { AgentApi, CallContext } from "../rpc/agent-api.ts";
import type { FetchResponse } from "../rpc/gen/streamhouse/v1/consumer.ts";
import type { ProduceRequest, ProduceResponse } from "../rpc/gen/streamhouse/v1/producer.ts";
import { agentMethods } from "./agent-methods.ts";
import { PendingCalls } from "./pending-calls.ts";
import type { AgentConnection, ProduceChannel, Transport } from "./transport.ts";

/** Address of the one agent of an in-process transport. */
export const IN_PROCESS_ADDRESS = "in-process";

export interface InProcessTransportComponents {
  readonly clock: Clock;
}

/** A transport whose only agent is `api`. Closing the transport does not stop the agent: it belongs to whoever made it. */
export function createInProcessTransport(
  api: AgentApi,
  components: InProcessTransportComponents,
): Transport {
  const pending = new PendingCalls(components.clock, IN_PROCESS_ADDRESS);
  const connection: AgentConnection = {
    address: IN_PROCESS_ADDRESS,
    api: limitedApi(api, pending),
    openProducer: () => new InProcessProduceChannel(api, components.clock),
    close: async () => {},
  };
  return {
    bootstrap: [IN_PROCESS_ADDRESS],
    // An embedded agent may be listed with no address, or with that of a gRPC server beside it: both are this one.
    connection: () => connection,
    close: async () => pending.close(),
  };
}

/** The same API with the caller's time limit and abort signal enforced, and closed with the transport. */
function limitedApi(api: AgentApi, pending: PendingCalls): AgentApi {
  type Method = (request: unknown, call: CallContext) => Promise<unknown>;
  const limited: Record<string, Method> = {};
  for (const name of agentMethods) {
    const method = (api[name] as Method).bind(api);
    limited[name] = (request, call) => pending.run(name, call, () => method(request, call));
  }
  return {
    ...(limited as unknown as AgentApi),
    fetch: (request, call) =>
      pending.run("fetch", call, async () => ownBatches(await api.fetch(request, call))),
  };
}

/** Consumers hand out views into batches, and an application may write into them: not into the agent's cache. */
function ownBatches(answer: FetchResponse): FetchResponse {
  return {
    partitions: answer.partitions.map((data) => ({
      ...data,
      batches: data.batches.map((it) => ({ ...it, records: new Uint8Array(it.records) })),
    })),
  };
}

/** Order needs nothing here: `AgentApi.produce` applies calls in the order in which they are made. */
class InProcessProduceChannel implements ProduceChannel {
  readonly #api: AgentApi;
  readonly #pending: PendingCalls;

  constructor(api: AgentApi, clock: Clock) {
    this.#api = api;
    this.#pending = new PendingCalls(clock, IN_PROCESS_ADDRESS);
  }

  get broken(): boolean {
    return this.#pending.closed;
  }

  produce(request: ProduceRequest, call: CallContext): Promise<ProduceResponse> {
    if (this.#pending.closed) return Promise.reject(channelClosed());
    return this.#pending.run("produce", call, () => this.#api.produce(request, call));
  }

  /** Waits for the answers that are still out: each comes, or runs into its own time limit. */
  async close(): Promise<void> {
    await this.#pending.drain();
  }
}

function channelClosed(): StreamHouseError {
  const error = closed("this produce channel");
  return new StreamHouseError({
    code: error.code,
    kind: error.kind,
    message: error.message,
    retriable: true,
  });
}
