/** Agents over gRPC: one connection for each address, made on first use. Composed by `connect()`. */
import type { Clock } from "../core/clock.ts";
import { closed, invalid } from "../core/errors.ts";
import { hostOf, type KeepaliveOptions } from "../rpc/channel.ts";
import { type ClientSecurity, clientSecurity } from "../rpc/tls-gate.ts";
import type { ClientTls } from "../rpc/tls-options.ts";
import { createTelemetry, type Telemetry } from "../telemetry/telemetry.ts";
import {
  type ApiKey,
  type Authorizer,
  createAuthorizer,
  forbidden,
  isLoopback,
} from "./api-key.ts";
import { GrpcConnection } from "./grpc-connection.ts";
import type { AgentConnection, Transport } from "./transport.ts";

export interface GrpcTransportComponents {
  readonly clock: Clock;
  /** Where calls are measured; closed with the transport. Default: nowhere. */
  readonly telemetry?: Telemetry | undefined;
}

export interface GrpcTransportOptions extends KeepaliveOptions {
  /** Addresses to begin with, `host:port`. */
  readonly addresses: readonly string[];
  /** Time limit of calls that bring none of their own, ms. Default 30,000. */
  readonly defaultTimeoutMs?: number | undefined;
  /** Default: plain TCP. `true`: the authorities that the runtime trusts, no certificate of our own. */
  readonly tls?: boolean | ClientTls | undefined;
  /** Said with each call. Default: none. */
  readonly apiKey?: ApiKey | undefined;
  /** Send the key without TLS also to other machines. Default false. */
  readonly apiKeyOverPlaintext?: boolean | undefined;
}

/**
 * A transport over gRPC. Nothing is connected before it is used.
 * @throws StreamHouseError `INVALID_ARGUMENT` (field `agents`) if there is no address, or one that is not `host:port`; for a bad
 * `apiKey` or part of `tls`, or a key that would go to another machine in the open
 */
export function createGrpcTransport(
  components: GrpcTransportComponents,
  options: GrpcTransportOptions,
): Transport {
  if (options.addresses.length === 0) {
    throw invalid("INVALID_ARGUMENT", "no agent address given: name at least one, as host:port", {
      field: "agents",
    });
  }
  for (const address of options.addresses) checkAddress(address);
  return new GrpcTransport(components, options);
}

function checkAddress(address: string): void {
  if (/^(\[[0-9a-fA-F:.%]+\]|[^:[\]\s/]+):\d{1,5}$/.test(address)) return;
  throw invalid(
    "INVALID_ARGUMENT",
    `${JSON.stringify(String(address).slice(0, 80))} is not an agent's address: use host:port, for instance localhost:7070`,
    { field: "agents" },
  );
}

class GrpcTransport implements Transport {
  readonly bootstrap: readonly string[];
  readonly #components: GrpcTransportComponents;
  readonly #options: GrpcTransportOptions;
  readonly #telemetry: Telemetry;
  readonly #security: ClientSecurity | undefined;
  readonly #authorizer: Authorizer;
  readonly #connections = new Map<string, GrpcConnection>();
  /** Those with a socket: also of addresses that were let go of and are used once more by whoever still knew them. */
  readonly #open = new Set<GrpcConnection>();
  #closed = false;

  constructor(components: GrpcTransportComponents, options: GrpcTransportOptions) {
    this.bootstrap = [...new Set(options.addresses)];
    this.#components = components;
    this.#telemetry = components.telemetry ?? createTelemetry(false, { name: "client" });
    this.#options = options;
    const { tls = false } = options;
    this.#security = tls === false ? undefined : clientSecurity(tls === true ? {} : tls);
    this.#authorizer = createAuthorizer(options.apiKey, components.clock);
    // Told now; an address that is learned later is refused call by call.
    for (const address of this.bootstrap) this.#authorizerFor(address, true);
  }

  #authorizerFor(address: string, throws: boolean): Authorizer {
    const { apiKey, apiKeyOverPlaintext = false } = this.#options;
    const isOpen = this.#security === undefined && !isLoopback(hostOf(address));
    if (apiKey === undefined || !isOpen || apiKeyOverPlaintext) return this.#authorizer;
    const none = forbidden(address);
    if (throws) none.authorization();
    return none;
  }

  connection(address: string): AgentConnection {
    if (this.#closed) throw closed("this transport");
    let connection = this.#connections.get(address);
    if (connection === undefined) {
      const { clock } = this.#components;
      const authorizer = this.#authorizerFor(address, false);
      const components = { clock, metrics: this.#telemetry.metrics, authorizer };
      const options = { ...this.#options, security: this.#security };
      connection = new GrpcConnection(address, components, options, {
        opened: (it) => {
          if (this.#closed) throw closed("this transport");
          this.#open.add(it);
        },
        ended: (it) => {
          this.#open.delete(it);
          if (this.#connections.get(address) === it) this.#connections.delete(address);
        },
      });
      this.#connections.set(address, connection);
    }
    return connection;
  }

  keep(addresses: ReadonlySet<string>): void {
    for (const connection of new Set([...this.#connections.values(), ...this.#open])) {
      const { address } = connection;
      if (!addresses.has(address) && !this.bootstrap.includes(address)) connection.rest();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const all = new Set([...this.#connections.values(), ...this.#open]);
    await Promise.all([...all].map((it) => it.close()));
    this.#telemetry.close();
  }
}
