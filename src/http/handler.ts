/**
 * Health, readiness and metrics as one `fetch` handler of Web types, for `Bun.serve`, `Deno.serve`, srvx, Hono or a worker.
 * It knows nothing of servers, and of the agent only its status. The door `./http`.
 */
import { type Clock, systemClock } from "../core/clock.ts";
import { invalid } from "../core/errors.ts";
import type { MetricsSource } from "../telemetry/metrics-source.ts";
import { metricsSourceOf } from "../telemetry/provider-link.ts";
import { createBearerCheck } from "./bearer.ts";
import { type ReadinessRule, readinessOf, type StatusSource } from "./readiness.ts";
import { Scrape, type ScrapeOptions, type ScrapeResult } from "./scrape.ts";

/** What the handler tells of, and who may ask. */
export interface HandlerOptions {
  /** Whose readiness `/ready` tells. Without an agent `/ready` says yes. */
  readonly agent?: StatusSource | undefined;
  /**
   * What `/metrics` answers: `bootstrap().metrics`. Default: that of the bootstrap that is registered when it is asked; without
   * one, and with `false`, `/metrics` is 404.
   */
  readonly metrics?: MetricsSource | false | undefined;
  /** Default `leases`. Deployments with more agents than partitions want `standby`. */
  readonly readiness?: ReadinessRule | undefined;
  /** Asked for as `Authorization: Bearer …` by everything but the probes `/health` and `/ready`. */
  readonly token?: string | undefined;
  readonly scrape?: ScrapeOptions | undefined;
  /** Default: the process's. */
  readonly clock?: Clock | undefined;
}

/** Answers one request; never rejects. What `Bun.serve`, `Deno.serve`, srvx and Hono's `mount` take. */
export type Handler = (request: Request) => Promise<Response>;

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

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
  const mayAsk = options.token === undefined ? undefined : createBearerCheck(options.token);
  const routes = createRoutes(options);
  return async (request) => {
    const path = pathOf(request.url);
    const route = routes.get(path);
    try {
      if (mayAsk !== undefined && !route?.open && !(await mayAsk(request))) {
        return respond(request, unauthorized);
      }
      if (route === undefined) {
        return respond(request, text(404, "not found: try /health, /ready or /metrics"));
      }
      if (request.method !== "GET" && request.method !== "HEAD") {
        return respond(request, text(405, `${path} answers GET and HEAD`, { allow: "GET, HEAD" }));
      }
      return respond(request, await route.answer());
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return respond(request, text(500, `${path} failed: ${reason}`));
    }
  };
}

interface Route {
  /** Probes hold no secret: answered without the token. */
  readonly open: boolean;
  answer(): Answer | Promise<Answer>;
}

function createRoutes(options: HandlerOptions): ReadonlyMap<string, Route> {
  const routes = new Map<string, Route>();
  routes.set("/health", { open: true, answer: () => json(200, { status: "ok" }) });
  const ready = () => {
    const readiness = readinessOf(options.agent, options.readiness ?? "leases");
    return json(readiness.ready ? 200 : 503, readiness);
  };
  routes.set("/ready", { open: true, answer: ready });
  if (options.metrics !== false) {
    const scrapes = new Scrapes(options);
    routes.set("/metrics", { open: false, answer: () => scrapes.answer() });
  }
  return routes;
}

/** The scrapes of one handler: of the given source, or of the bootstrap's as it comes and goes. */
class Scrapes {
  readonly #options: HandlerOptions;
  #source: MetricsSource | undefined;
  #scrape: Scrape | undefined;

  constructor(options: HandlerOptions) {
    this.#options = options;
  }

  async answer(): Promise<Answer> {
    const { metrics, scrape, clock } = this.#options;
    const source = metrics || metricsSourceOf();
    if (source === undefined) {
      return text(404, "no metrics here: pass bootstrap().metrics as `metrics` to createHandler");
    }
    if (this.#scrape === undefined || source !== this.#source) {
      this.#source = source;
      this.#scrape = new Scrape(source, scrape, clock ?? systemClock);
    }
    return metricsAnswer(await this.#scrape.text());
  }
}

function metricsAnswer(result: ScrapeResult): Answer {
  switch (result.outcome) {
    case "collected": {
      const headers = { "content-type": result.text.contentType };
      return { status: 200, body: result.text.body, headers };
    }
    case "failed":
      return text(500, result.reason);
    default:
      return text(503, result.reason, { "retry-after": "1" });
  }
}

const PLAIN = "text/plain; charset=utf-8";
const unauthorized = text(401, "a bearer token is needed: Authorization: Bearer …", {
  "www-authenticate": "Bearer",
});

function text(status: number, line: string, headers: Record<string, string> = {}): Answer {
  return { status, body: `${line}\n`, headers: { "content-type": PLAIN, ...headers } };
}

function json(status: number, value: unknown): Answer {
  const headers = { "content-type": "application/json" };
  return { status, body: `${JSON.stringify(value)}\n`, headers };
}

/** The path without the query; frameworks may hand in a relative URL. */
function pathOf(url: string): string {
  return URL.canParse(url) ? new URL(url).pathname : (url.split("?")[0] ?? url);
}

const encoder = new TextEncoder();

function respond(request: Request, answer: Answer): Response {
  const bytes = encoder.encode(answer.body);
  const headers = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-length": String(bytes.length),
    ...answer.headers,
  };
  const body = request.method === "HEAD" ? null : bytes;
  return new Response(body, { status: answer.status, headers });
}
