/** Opens a house over gRPC. The library's front door; called by applications and the command line. */
import type { ApiKey } from "../client/api-key.ts";
import type { ClientContext } from "../client/client-context.ts";
import { createCluster } from "../client/cluster.ts";
import { createGrpcTransport } from "../client/grpc-transport.ts";
import { systemClock } from "../core/clock.ts";
import { invalid } from "../core/errors.ts";
import { systemRandom } from "../core/ids.ts";
import { type Logger, silentLogger } from "../core/logger.ts";
import type { ClientTls } from "../rpc/tls-options.ts";
import { createTelemetry, type TelemetryOptions } from "../telemetry/telemetry.ts";
import { createHouse, type House } from "./house.ts";

/** How to reach the agents, and what is said and measured on the way. */
export interface ConnectOptions {
  /** Where to begin, `host:port`; the other agents are learned from these. At least one. */
  readonly agents: readonly string[];
  /**
   * How connections are protected. `true`: TLS, with the authorities that the runtime trusts; or PEM texts of other authorities, of a
   * certificate of the client's own (mutual TLS), and the name to expect. Agents must advertise addresses whose names their
   * certificates hold. Default: plain TCP.
   */
  readonly tls?: boolean | ClientTls | undefined;
  /**
   * The key to say with each call, where agents ask for one; or a function that gives it: called first, and again when a key was refused
   * (it may take 5 s). Never sent without TLS to another machine.
   */
  readonly apiKey?: ApiKey | undefined;
  /** Send the key without TLS also to other machines: where something else protects the connection. Default false. */
  readonly apiKeyOverPlaintext?: boolean | undefined;
  /** Shown in group descriptions and logs. Default `streamhouse`. */
  readonly clientId?: string | undefined;
  /** Where metrics and spans go; `false` for nowhere. Default: the globally registered providers. */
  readonly telemetry?: TelemetryOptions | false | undefined;
  /** Default: says nothing. */
  readonly logger?: Logger | undefined;
}

/** Client ids appear in group descriptions: a word, not a document. */
const clientIdCharactersMax = 249;

/**
 * Connects to a cluster: resolves as soon as one of the agents has answered (each is asked once, for at most 5 s).
 * @throws StreamHouseError `INVALID_ARGUMENT` for a bad option, `AGENT_UNREACHABLE` naming the addresses and what was tried,
 * `UNAUTHENTICATED` if the agents ask for a key that is not given or not good
 */
export async function connect(options: ConnectOptions): Promise<House> {
  const context = createContext(options);
  try {
    await context.cluster.any();
  } catch (error) {
    await context.cluster.close();
    throw error;
  }
  return createHouse({ context });
}

function createContext(options: ConnectOptions): ClientContext {
  const clientId = options.clientId ?? "streamhouse";
  if (clientId.length < 1 || clientId.length > clientIdCharactersMax) {
    throw invalid(
      "INVALID_ARGUMENT",
      `clientId has ${clientId.length} characters: use 1 to ${clientIdCharactersMax}`,
      { field: "clientId" },
    );
  }
  const components = {
    clock: systemClock,
    random: systemRandom,
    logger: options.logger ?? silentLogger,
  };
  const telemetry = createTelemetry(options.telemetry, { name: "client" });
  const transport = createGrpcTransport(
    { ...components, telemetry },
    {
      addresses: options.agents,
      tls: options.tls,
      apiKey: options.apiKey,
      apiKeyOverPlaintext: options.apiKeyOverPlaintext,
    },
  );
  return {
    ...components,
    cluster: createCluster(transport, components),
    clientId,
    telemetry: options.telemetry ?? {},
  };
}
