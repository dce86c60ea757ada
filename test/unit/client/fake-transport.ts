/** A transport over in-process fakes, by address. Counts what it is asked for. */
import type { AgentConnection, Transport } from "../../../src/client/transport.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";
import type { AgentApi } from "../../../src/rpc/agent-api.ts";
import { fakeAgent, type SeenCall } from "../rpc/fake-agent.ts";

export interface FakeTransport extends Transport {
  /** Addresses where nobody answers. */
  readonly down: Set<string>;
  seen(address: string): readonly SeenCall[];
  readonly closed: boolean;
  /** What `keep()` was told last. */
  readonly kept: ReadonlySet<string>;
}

export function unreachable(address: string): StreamHouseError {
  return new StreamHouseError({
    code: "AGENT_UNREACHABLE",
    kind: "unavailable",
    message: `connection to ${address} refused`,
  });
}

/** Every address is an agent with these methods; `first` are the addresses to begin with. */
export function fakeTransport(
  first: readonly string[],
  methods: (address: string) => Partial<AgentApi>,
): FakeTransport {
  const down = new Set<string>();
  const connections = new Map<string, AgentConnection>();
  const seen = new Map<string, readonly SeenCall[]>();
  let closed = false;
  let kept: ReadonlySet<string> = new Set();
  return {
    keep(addresses) {
      kept = addresses;
    },
    get kept() {
      return kept;
    },
    bootstrap: first,
    down,
    seen: (address) => seen.get(address) ?? [],
    get closed() {
      return closed;
    },
    connection(address) {
      let connection = connections.get(address);
      if (connection === undefined) {
        const agent = fakeAgent(methods(address));
        seen.set(address, agent.seen);
        const api = new Proxy(agent.api, {
          get(target, name) {
            const method = Reflect.get(target, name) as (...args: unknown[]) => Promise<unknown>;
            return async (...args: unknown[]) => {
              if (down.has(address)) throw unreachable(address);
              return method(...args);
            };
          },
        });
        connection = {
          address,
          api,
          openProducer() {
            throw new Error("not in this fake");
          },
          close: async () => {},
        };
        connections.set(address, connection);
      }
      return connection;
    },
    async close() {
      closed = true;
    },
  };
}
