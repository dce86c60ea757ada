/**
 * Health, readiness and metrics as one `fetch` handler of Web types, for `Bun.serve`, `Deno.serve`, srvx, Hono or a worker.
 * It knows nothing of servers, and of the agent only its status. The door `./http`.
 */
import type { Clock } from "../core/clock.ts";
import { invalid } from "../core/errors.ts";
import { plainResponse } from "../prometheus/response.ts";
import type { ScrapeOptions } from "../prometheus/scrape.ts";
import type { MetricsSource } from "../telemetry/metrics-source.ts";
import { createBearerCheck } from "./bearer.ts";
import { type MetricsOptions, MetricsRoute } from "./metrics-route.ts";
import { type ReadinessRule, readinessOf, type StatusSource } from "./readiness.ts";

/** What the handler tells of, and who may ask. */
export interface HandlerOptions {
  /** Whose readiness `/ready` tells. Without an agent `/ready` says yes. */
  readonly agent?: StatusSource | undefined;
  /**
   * What `/metrics` answers: `bootstrap().metrics`, or how to write it. Default: that of the bootstrap that is registered when it is
   * asked; without one, and with `false`, `/metrics` is 404.
   */
  readonly metrics?: MetricsSource | MetricsOptions | false | undefined;
  /** Default `leases`. Deployments with more agents than partitions want `standby`. */
  readonly readiness?: ReadinessRule | undefined;
  /** Asked for as `Authorization: Bearer …` by everything but the probes `/health` and `/ready`. */
  readonly token?: string | undefined;
  /**
   * Whether whoever shows this `Authorization` may ask, too: an agent's `access.mayAdminister`. Given, everything but the probes is closed
   * also without a token.
   */
  readonly admits?: ((authorization: string | undefined) => Promise<boolean>) | undefined;
  readonly scrape?: ScrapeOptions | undefined;
  /** Default: the process's. */
  readonly clock?: Clock | undefined;
}

/** Answers one request; never rejects. What `Bun.serve`, `Deno.serve`, srvx and Hono's `mount` take. */
export type Handler = (request: Request) => Promise<Response>;

/**
 * Answers `GET` and `HEAD` of `/health`, `/ready` and `/metrics`; other methods 405, other paths 404. The handler never rejects.
 * @throws StreamHouseError `INVALID_ARGUMENT` for an empty token
 */
export function createHandler(options: HandlerOptions = {}): Handler {
  if (options.token?.trim() === "") {
    throw invalid("INVALID_ARGUMENT", "token is empty: leave it out to serve without one", {
      field: "token",
    });
  }
  const mayAsk = createCheck(options);
  const routes = createRoutes(options);
  return async (request) => {
    const path = pathOf(request.url);
    const route = routes.get(path);
    try {
      if (mayAsk !== undefined && !route?.open && !(await mayAsk(request))) {
        return unauthorized(request);
      }
      if (route === undefined) {
        return plainResponse(request, 404, "not found: try /health, /ready or /metrics");
      }
      if (request.method !== "GET" && request.method !== "HEAD") {
        const allow = { allow: "GET, HEAD" };
        return plainResponse(request, 405, `${path} answers GET and HEAD`, allow);
      }
      return await route.answer(request);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return plainResponse(request, 500, `${path} failed: ${reason}`);
    }
  };
}

/** Undefined: everybody may. */
function createCheck({
  token,
  admits,
}: HandlerOptions): ((request: Request) => Promise<boolean>) | undefined {
  const hasToken = token === undefined ? undefined : createBearerCheck(token);
  if (admits === undefined) return hasToken;
  return async (request) =>
    ((await hasToken?.(request)) ?? false) ||
    admits(request.headers.get("authorization") ?? undefined);
}

interface Route {
  /** Probes hold no secret: answered without the token. */
  readonly open: boolean;
  answer(request: Request): Response | Promise<Response>;
}

function createRoutes(options: HandlerOptions): ReadonlyMap<string, Route> {
  const routes = new Map<string, Route>();
  const health = (request: Request) => json(request, 200, { status: "ok" });
  routes.set("/health", { open: true, answer: health });
  const ready = (request: Request) => {
    const readiness = readinessOf(options.agent, options.readiness ?? "leases");
    return json(request, readiness.ready ? 200 : 503, readiness);
  };
  routes.set("/ready", { open: true, answer: ready });
  const { metrics, scrape, clock } = options;
  if (metrics !== false) {
    const route = new MetricsRoute(metrics, scrape, clock);
    routes.set("/metrics", { open: false, answer: (request) => route.answer(request) });
  }
  return routes;
}

function unauthorized(request: Request): Response {
  const line = "a bearer token is needed: Authorization: Bearer …";
  return plainResponse(request, 401, line, { "www-authenticate": "Bearer" });
}

function json(request: Request, status: number, value: unknown): Response {
  const headers = { "content-type": "application/json" };
  return plainResponse(request, status, JSON.stringify(value), headers);
}

/** The path without the query; frameworks may hand in a relative URL. */
function pathOf(url: string): string {
  return URL.canParse(url) ? new URL(url).pathname : (url.split("?")[0] ?? url);
}
