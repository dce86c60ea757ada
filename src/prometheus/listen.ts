/**
 * Listens for scrapes by itself, for applications that have no HTTP server: on Node, Bun and Deno, through srvx, which is loaded
 * only here, when it is called. Part of the door `./prometheus`.
 */
import type { MetricCollector } from "./collected.ts";
import { createPrometheusHandler, type PrometheusHandlerOptions } from "./handler.ts";

/** Where to listen, and all that `createPrometheusHandler` takes. */
export interface PrometheusServerOptions extends PrometheusHandlerOptions {
  /** Default `127.0.0.1`: who else may read the metrics is for the application to say. */
  readonly host?: string | undefined;
  /** Default 9464, the port of OpenTelemetry's Prometheus exporters; 0 takes any free one. */
  readonly port?: number | undefined;
}

/** A server of metrics that does not keep the process alive. */
export interface PrometheusServer {
  /** Where the metrics are, with the real port: `http://127.0.0.1:9464/metrics`. */
  readonly url: string;
  /** Ends it, with the connections it has. Idempotent. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const portDefault = 9_464;

/** Rejects if the address cannot be listened on, with the runtime's own error. */
export async function servePrometheus(
  collector: MetricCollector,
  options: PrometheusServerOptions = {},
): Promise<PrometheusServer> {
  const { host = "127.0.0.1", port = portDefault, path = "/metrics" } = options;
  const { serve } = await import("srvx");
  const server = await serve({
    fetch: createPrometheusHandler(collector, { ...options, path }),
    hostname: host,
    port,
    silent: true,
    gracefulShutdown: false,
  }).ready();
  unref(server);
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= Promise.resolve(server.close(true));
    return closing;
  };
  const url = new URL(path, server.url ?? `http://${host}:${port}`).href;
  return { url, close, [Symbol.asyncDispose]: close };
}

interface Unref {
  unref?(): void;
}

interface Listening extends Unref {
  /** Of Node's server only. */
  on?(event: "connection", callback: (socket: Unref) => void): void;
}

/** Telemetry must not hold a process open; on Node neither must a connection that a scraper keeps. */
function unref(server: object): void {
  const { node, bun, deno } = server as Record<string, { server?: Listening } | undefined>;
  for (const runtime of [node, bun, deno]) runtime?.server?.unref?.();
  node?.server?.on?.("connection", (socket) => socket.unref?.());
}
