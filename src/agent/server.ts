/**
 * The gRPC server in front of an agent: its four services, `grpc.health.v1` and server reflection on one port. It translates and
 * measures; what is done is the agent's (`AgentApi`). Called by `serve/`.
 */
import { createServer, type Server } from "nice-grpc";
import { HealthDefinition, HealthServiceImpl, HealthState } from "nice-grpc-server-health";
import { ServerReflection, ServerReflectionService } from "nice-grpc-server-reflection";
import type { Clock } from "../core/clock.ts";
import { closed, StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { Logger } from "../core/logger.ts";
import {
  checkAddressIsFree,
  formatAddress,
  type HostAndPort,
  listenError,
  parseAddress,
} from "../rpc/address-gate.ts";
import type { AgentApi } from "../rpc/agent-api.ts";
import { agentServices } from "../rpc/agent-services.ts";
import type { CallAccess } from "../rpc/call-access.ts";
import { CallMetrics } from "../rpc/call-metrics.ts";
import { type KeepaliveOptions, serverChannelOptions, serverCredentials } from "../rpc/channel.ts";
import { descriptorSet } from "../rpc/descriptor-set.ts";
import { HandshakeLog } from "../rpc/handshake-log.ts";
import { Http2Gate } from "../rpc/http2-gate.ts";
import { keyMiddleware } from "../rpc/key-middleware.ts";
import { services } from "../rpc/methods.ts";
import { TlsServerCredentials } from "../rpc/tls-gate.ts";
import { badTls, type ServerTls } from "../rpc/tls-options.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { withoutKeyCalls } from "./access.ts";

/** What a gRPC server stands in front of, and what it shares with it. */
export interface GrpcServerComponents {
  readonly api: AgentApi;
  /**
   * Where callers must show an API key: the agent's `access`, which is served in place of `api`. Then every service asks for one, health
   * and reflection too. Default: whoever reaches the server may do everything, except make, see and revoke keys.
   */
  readonly access?: CallAccess | undefined;
  /** The agent's own, so that calls are counted with what they did. Not closed by the server. */
  readonly telemetry: Telemetry;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Where the server listens and how long it is patient. */
export interface GrpcServerOptions extends KeepaliveOptions {
  /** `host:port`; port 0 takes any free one. */
  readonly address: string;
  /** How long `drain()` and `stop()` wait for calls in flight before they break connections, ms. Default 10,000. */
  readonly drainTimeoutMs?: number | undefined;
  /** Default: plain TCP. */
  readonly tls?: ServerTls | undefined;
  /** Says `SERVING` from its start on. False: only from `announce()` on, for an agent that has yet to start. Default true. */
  readonly serving?: boolean | undefined;
  /** Answers `grpc.health.v1` without a key, for probes that have none. Default false. */
  readonly openHealth?: boolean | undefined;
}

/** The network in front of an agent: all services of `proto/`, health and reflection. One start to one stop. */
export interface GrpcServer {
  /**
   * Listens and answers the real address, `host:port`.
   * @throws StreamHouseError `ADDRESS_IN_USE`, `INVALID_ARGUMENT` (field `address`), `CLOSED` after `stop()`
   */
  start(): Promise<string>;
  /**
   * New connections see these certificates; open ones go on as they are.
   * @throws StreamHouseError `INVALID_ARGUMENT` (field `tls.…`): the ones in use stay
   */
  renewTls(tls: ServerTls): void;
  /** Says `NOT_SERVING` from now on, and serves all the same: whoever chooses among agents is to choose another. Idempotent. */
  retire(): void;
  /** Says `SERVING` from now on, unless it is on its way out. Only needed with `serving: false`. */
  announce(): void;
  /**
   * Says `NOT_SERVING`, takes no new connections, calls or frames, and waits until what was taken is answered (bounded). Streams and
   * waiting fetches end with `AGENT_DRAINING`. Idempotent.
   */
  drain(): Promise<void>;
  /** Drains, then breaks what is left. After it nothing of the server runs. Idempotent. */
  stop(): Promise<void>;
}

/** A server for one agent. Nothing listens before `start()`. @throws StreamHouseError `INVALID_ARGUMENT` */
export function createGrpcServer(
  components: GrpcServerComponents,
  options: GrpcServerOptions,
): GrpcServer {
  return new AgentGrpcServer(components, options);
}

/** Reflection as clients from before 2023 ask for it: the same messages under another name. */
const reflectionV1Alpha: typeof ServerReflectionService = {
  ...ServerReflectionService,
  serverReflectionInfo: {
    ...ServerReflectionService.serverReflectionInfo,
    // The type names the one path that the package knows.
    path: "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo" as never,
  },
};

/** How long the library may take to notice that its connections are broken. */
const BROKEN_MS = 2_000;

const serviceNames: readonly string[] = services.map((service) => service.fullName);

class AgentGrpcServer implements GrpcServer {
  readonly #components: GrpcServerComponents;
  readonly #address: HostAndPort;
  readonly #drainTimeoutMs: number;
  readonly #draining = new AbortController();
  readonly #health = HealthState();
  readonly #metrics: CallMetrics;
  readonly #gate: Http2Gate;
  readonly #server: Server;
  readonly #tls: TlsServerCredentials | undefined;
  #started: Promise<string> | undefined;
  #drained: Promise<void> | undefined;
  #retired = false;

  constructor(components: GrpcServerComponents, options: GrpcServerOptions) {
    this.#components = components;
    this.#address = parseAddress(options.address);
    this.#drainTimeoutMs = options.drainTimeoutMs ?? 10_000;
    this.#metrics = new CallMetrics(components.telemetry, components.clock, knownPaths());
    this.#tls = options.tls === undefined ? undefined : new TlsServerCredentials(options.tls);
    const handshakes = new HandshakeLog(components.logger, components.clock);
    this.#gate = new Http2Gate(this.#metrics, (error, from) => handshakes.failed(error, from));
    this.#server = createServer(this.#gate.serverOptions(serverChannelOptions(options)));
    this.#addServices(options.openHealth === true);
    this.#say(options.serving === false ? "unhealthy" : "healthy");
  }

  start(): Promise<string> {
    if (this.#draining.signal.aborted) return Promise.reject(closed("this gRPC server"));
    this.#started ??= this.#listen();
    return this.#started;
  }

  renewTls(tls: ServerTls): void {
    if (this.#tls === undefined) {
      throw badTls("tls", "cannot be turned on while the server listens: start the agent anew");
    }
    this.#tls.renew(tls);
  }

  retire(): void {
    this.#retired = true;
    this.#say("unhealthy");
  }

  announce(): void {
    if (!this.#retired) this.#say("healthy");
  }

  #say(status: "healthy" | "unhealthy"): void {
    for (const name of ["", ...serviceNames]) this.#health.setStatus(status, name);
  }

  drain(): Promise<void> {
    this.#drained ??= this.#finish();
    return this.#drained;
  }

  async stop(): Promise<void> {
    await this.drain();
    this.#server.forceShutdown();
    await this.#gate.destroyConnections();
  }

  #addServices(openHealth: boolean): void {
    const { api, access, logger } = this.#components;
    const agent = agentServices({
      api: withoutKeyCalls(api),
      access,
      logger,
      draining: this.#draining.signal,
      inFlightMax: limits.inFlightPerConnectionMax,
      frame: () => this.#metrics.frame(),
    });
    for (const { definition, implementation } of agent) {
      // The table is made from the generated definitions; nice-grpc's types want each method spelt out.
      this.#server.add(definition as never, implementation as never);
    }
    const asking =
      access === undefined ? this.#server : this.#server.with(keyMiddleware({ access, logger }));
    this.#addHealth(openHealth ? this.#server : asking);
    const reflection = ServerReflection(descriptorSet(), serviceNames);
    asking.add(ServerReflectionService, reflection);
    asking.add(reflectionV1Alpha, reflection);
  }

  #addHealth(server: Pick<Server, "add">): void {
    // One listener for each client that watches.
    this.#health.setMaxListeners(0);
    const health = HealthServiceImpl(this.#health);
    const draining = this.#draining.signal;
    server.add(HealthDefinition, {
      check: health.check,
      // Ends after it said NOT_SERVING: a watcher does not hold up the shutdown.
      watch: (request, context) =>
        health.watch(request, { ...context, signal: AbortSignal.any([context.signal, draining]) }),
    });
  }

  async #listen(): Promise<string> {
    const { host, port } = this.#address;
    const text = formatAddress(host, port);
    await checkAddressIsFree(this.#address);
    let bound: number;
    try {
      bound = await this.#server.listen(text, this.#tls ?? serverCredentials());
    } catch (error) {
      throw listenError(text, this.#metrics.listenFailure ?? (error as NodeJS.ErrnoException));
    }
    // grpc-js is content with one of a host name's addresses; somebody took another since it was checked.
    if (this.#metrics.listenFailure?.code === "EADDRINUSE") {
      this.#server.forceShutdown();
      await this.#gate.destroyConnections();
      throw listenError(formatAddress(host, bound), this.#metrics.listenFailure);
    }
    const address = formatAddress(host, bound);
    const security = this.#tls === undefined ? "none" : this.#tls.mutual ? "mutual TLS" : "TLS";
    this.#components.logger.info("gRPC server listens", { address, security });
    return address;
  }

  async #finish(): Promise<void> {
    this.retire();
    this.#draining.abort();
    // A start that is still under way ends first, so that nothing listens afterwards.
    await this.#started?.catch(() => {});
    await this.#orTimeout(this.#server.shutdown());
  }

  /** Waits for the shutdown, and breaks the connections that keep it waiting after the time limit. */
  async #orTimeout(shutdown: Promise<void>): Promise<void> {
    const { clock, logger } = this.#components;
    let giveUp = () => {};
    const late = new Promise<void>((resolve) => {
      giveUp = resolve;
    });
    let timer = clock.schedule(this.#drainTimeoutMs, () => {
      logger.warn("calls in flight did not end in time; breaking their connections", {
        connections: this.#gate.connections,
        drainTimeoutMs: this.#drainTimeoutMs,
      });
      // Whatever the library still waits for then, it is not for a connection.
      timer = clock.schedule(BROKEN_MS, giveUp);
      void this.#gate.destroyConnections();
    });
    try {
      await Promise.race([shutdown, late]);
    } catch (cause) {
      const message = "the gRPC server did not shut down cleanly";
      throw new StreamHouseError({ code: "INTERNAL", kind: "internal", message, cause });
    } finally {
      timer.cancel();
    }
  }
}

function knownPaths(): string[] {
  const agent = services.flatMap((service) =>
    Object.values(service.methods).map((method) => `/${service.fullName}/${method.name}`),
  );
  const health = Object.values(HealthDefinition.methods).map(
    (method) => `/${HealthDefinition.fullName}/${method.name}`,
  );
  const reflection = [ServerReflectionService, reflectionV1Alpha].map(
    (service) => service.serverReflectionInfo.path,
  );
  return [...agent, ...health, ...reflection];
}
