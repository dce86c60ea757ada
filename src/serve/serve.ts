/**
 * A whole agent process: its stores, agent, gRPC server and HTTP endpoint, started and stopped in the right order. Called by
 * applications, by the command line, and by the main job.
 */
import { metrics as metricsApi } from "@opentelemetry/api";
import type { AccessControl } from "../agent/access.ts";
import { type Agent, type AgentStatus, createAgent } from "../agent/agent.ts";
import type { AgentOptions } from "../agent/options.ts";
import { createGrpcServer } from "../agent/server.ts";
import { systemClock } from "../core/clock.ts";
import { invalid } from "../core/errors.ts";
import { createUlid, systemRandom } from "../core/ids.ts";
import { type Logger, silentLogger } from "../core/logger.ts";
import { createHandler } from "../http/handler.ts";
import type { ReadinessRule } from "../http/readiness.ts";
import { formatAddress, parseAddress } from "../rpc/address-gate.ts";
import type { ServerTls } from "../rpc/tls-options.ts";
import type { MetricsSource } from "../telemetry/metrics-source.ts";
import { isRegistered } from "../telemetry/provider-link.ts";
import type { TelemetryOptions } from "../telemetry/telemetry.ts";
import { checkCertificate } from "./certificate-check.ts";
import { listenHttp } from "./http-listener.ts";
import { stopAtSignal } from "./signals.ts";
import { openStores, type StoreOptions } from "./stores.ts";
import { Teardown } from "./teardown.ts";

/** Where an agent's metrics and spans go, and where `/metrics` gets its text. What `bootstrap()` answers fits. */
export interface ServeTelemetry extends TelemetryOptions {
  readonly metrics?: MetricsSource | undefined;
}

/** Access by API keys, with exceptions. */
export interface AccessOptions {
  readonly by: "keys";
  /** gRPC's health service answers probes without a key. Default false. `/health` and `/ready` never ask for one. */
  readonly openHealth?: boolean | undefined;
}

/** Settings of an agent process. Only `data` is needed, or `store` and `metadata` for many agents. */
export interface ServeOptions extends StoreOptions {
  /** Where clients connect, `host:port`; port 0 takes a free one. Default `127.0.0.1:7070`. */
  readonly grpc?: string | undefined;
  /** Where `/metrics`, `/health` and `/ready` are; port 0 takes a free one, `false` listens nowhere. Default `127.0.0.1:8080`. */
  readonly http?: string | false | undefined;
  /**
   * gRPC over TLS: PEM texts of the certificate and its key, and for mutual TLS of the authorities that clients' certificates come from.
   * The certificate must hold the host of the address that clients are told: see `advertise`. Default: plain TCP.
   */
  readonly tls?: ServerTls | undefined;
  /**
   * The address that clients are told, `host:port`, when it is not the one listened on: `0.0.0.0`, behind a mapping, or with TLS where the
   * certificate holds a name. Clients connect to it and compare its host with the certificate. Port 0 stands for the port listened on. Default: the address listened on.
   */
  readonly advertise?: string | undefined;
  /**
   * When `/ready` says yes. Default `leases`: the agent leads a partition. `standby` for deployments: an agent that has nothing to lead
   * yet is ready too; clients could not reach a first agent to create the first topic otherwise.
   */
  readonly readiness?: ReadinessRule | undefined;
  /**
   * Who may call. `keys`: every gRPC call shows an API key (`connect({ apiKey })`), also of health and reflection, and `/metrics` asks for
   * `token` or a key with the right `admin` for every topic. The first key is made by `streamhouse keys create` on the same data. Default:
   * whoever reaches the agent.
   */
  readonly access?: "keys" | AccessOptions | undefined;
  /** Asked for by `/metrics` requests as `Authorization: Bearer …`. Default: none. */
  readonly token?: string | undefined;
  /**
   * Default: the globally registered OpenTelemetry providers. If none are registered, an SDK is set up by `bootstrap()`, reads the
   * `OTEL_*` variables, and is shut down with the agent. `false`: nothing is measured.
   */
  readonly telemetry?: ServeTelemetry | false | undefined;
  /** Default: says nothing; only what to mend about `OTEL_*` variables and exports that fail goes to stderr. */
  readonly logger?: Logger | undefined;
  /** Stop at SIGTERM and SIGINT, after finishing what was accepted. Default false: signals are the application's. */
  readonly signals?: boolean | undefined;
  /** Settings of the agent beyond the defaults. */
  readonly agent?: Omit<AgentOptions, "runId" | "address" | "predecessorsDead"> | undefined;
}

/** An agent that serves, and where. Disposal is `stop()`. */
export interface Served extends AsyncDisposable {
  /** The agent behind the servers: leases, status, its API in process. */
  readonly agent: Agent;
  /** The real address, `host:port`. */
  readonly grpc: string;
  /** The real address, `http://host:port`; empty with `http: false`. */
  readonly http: string;
  /**
   * New gRPC connections see these certificates; open ones go on as they are. Nothing else changes.
   * @throws StreamHouseError `INVALID_ARGUMENT` (field `tls.…`): the ones in use stay
   */
  renewTls(tls: ServerTls): void;
  /**
   * Takes no new work, finishes what was accepted, releases the leases, and closes everything. Idempotent; after it nothing runs and
   * the folder can be used again at once.
   */
  stop(): Promise<void>;
}

/**
 * Starts an agent with its servers; resolves when it serves.
 * @throws StreamHouseError `DATA_FOLDER_IN_USE`, `DATA_FOLDER_UNUSABLE`, `METADATA_TOO_NEW`, `ADDRESS_IN_USE`, `INVALID_ARGUMENT`,
 * `STORE_FULL`, `METADATA_UNAVAILABLE`, `NOT_SUPPORTED` (a package that a URL needs is not installed); nothing stays open then
 */
export async function serve(options: ServeOptions): Promise<Served> {
  const logger = options.logger ?? silentLogger;
  const teardown = new Teardown(logger);
  try {
    return await start(options, logger, teardown);
  } catch (error) {
    await teardown.unwind().catch(() => {});
    throw error;
  }
}

async function start(options: ServeOptions, logger: Logger, teardown: Teardown): Promise<Served> {
  const clock = systemClock;
  const random = systemRandom;
  const runId = createUlid(clock.now(), random);
  const stores = await openStores(options, { clock, logger, teardown });
  if (stores === undefined) throw nothingNamed();
  const telemetry = await findTelemetry(options.telemetry, options.logger, teardown);
  const agent = createAgent(
    { ...stores, clock, random, logger, telemetry },
    { ...options.agent, runId, predecessorsDead: stores.predecessorsDead },
  );
  teardown.add("agent", () => agent.stop());
  const { access, openHealth } = accessOf(options.access, agent);
  const server = createGrpcServer(
    { api: agent.api, access, telemetry: agent.telemetry, logger, clock },
    { address: options.grpc ?? "127.0.0.1:7070", tls: options.tls, openHealth, serving: false },
  );
  teardown.add("gRPC server", () => server.stop());
  // The real port is known only once it listens; calls are refused until the agent has started.
  const grpc = await server.start();
  let stopping = false;
  const handler = createHandler({
    agent: { status: (): AgentStatus => statusOf(agent, stopping) },
    metrics: telemetry === false ? undefined : telemetry.metrics,
    readiness: options.readiness,
    token: options.token,
    admits: access === undefined ? undefined : (shown) => access.mayAdminister(shown),
  });
  const http = options.http === false ? undefined : await openHttp(handler, options.http, teardown);
  if (http !== undefined) logger.info("HTTP endpoint listens", { url: http });
  // Probes are answered from here on: an agent that reads a long index is alive, and says that it is starting.
  const address = advertisedAddress(options.advertise, grpc);
  await agent.start({ address });
  server.announce();
  const checkTls = (tls: ServerTls) =>
    checkCertificate(tls.cert, address, { logger, now: clock.now() });
  if (options.tls !== undefined) checkTls(options.tls);
  const renewTls = (tls: ServerTls): void => {
    server.renewTls(tls);
    checkTls(tls);
  };

  const stop = async (): Promise<void> => {
    stopping = true;
    // First other agents take over, and clients are told where to go; then the calls that are under way get their answers. `/ready`
    // says 503 meanwhile, and gRPC's health service NOT_SERVING.
    try {
      server.retire();
      await agent.drain();
      await server.drain();
    } finally {
      await teardown.unwind();
      forgetSignals();
    }
  };
  let stopped: Promise<void> | undefined;
  const stopOnce = (): Promise<void> => {
    stopped ??= stop();
    return stopped;
  };
  const forgetSignals = options.signals === true ? stopAtSignal(stopOnce, logger) : () => {};
  const ends = { stop: stopOnce, [Symbol.asyncDispose]: stopOnce };
  return { agent, grpc, http: http ?? "", renewTls, ...ends };
}

/** @throws StreamHouseError `INVALID_ARGUMENT`: a mistyped wish for keys must not leave the door open */
function accessOf(
  wanted: ServeOptions["access"],
  agent: Agent,
): { readonly access: AccessControl | undefined; readonly openHealth: boolean } {
  if (wanted === undefined) return { access: undefined, openHealth: false };
  if (wanted === "keys") return { access: agent.access, openHealth: false };
  if (typeof wanted === "object" && wanted?.by === "keys") {
    return { access: agent.access, openHealth: wanted.openHealth === true };
  }
  const message = 'access is "keys", or an object with by: "keys"; leave it out to ask for none';
  throw invalid("INVALID_ARGUMENT", message, { field: "access" });
}

function advertisedAddress(advertise: string | undefined, listened: string): string {
  if (advertise === undefined) return listened;
  const { host, port } = parseAddress(advertise);
  return formatAddress(host, port === 0 ? parseAddress(listened).port : port);
}

function nothingNamed(): Error {
  const message =
    "neither data nor store and metadata are given: name a folder for one agent, or a bucket and a database for many";
  return invalid("INVALID_ARGUMENT", message, { field: "data" });
}

async function openHttp(
  handler: (request: Request) => Promise<Response>,
  address: string | undefined,
  teardown: Teardown,
): Promise<string> {
  const listener = await listenHttp(handler, address ?? "127.0.0.1:8080");
  teardown.add("HTTP server", () => listener.stop());
  return listener.url;
}

function statusOf(agent: Agent, stopping: boolean): AgentStatus {
  const status = agent.status();
  return stopping && status.phase !== "stopped" ? { ...status, phase: "draining" } : status;
}

async function findTelemetry(
  given: ServeTelemetry | false | undefined,
  logger: Logger | undefined,
  teardown: Teardown,
): Promise<ServeTelemetry | false> {
  if (given !== undefined) return given;
  if (isRegistered(metricsApi.getMeterProvider())) return {};
  // Loaded only here: an application with its own SDK never loads this one.
  const { bootstrap } = await import("../telemetry/bootstrap.ts");
  const sdk = bootstrap({ logger });
  teardown.add("telemetry", () => sdk.shutdown());
  return sdk;
}
