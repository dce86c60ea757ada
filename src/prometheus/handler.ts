/**
 * `/metrics` for any OpenTelemetry application, as a `fetch` handler of Web types: for `Bun.serve`, `Deno.serve`, srvx, Hono or a
 * worker. It listens nowhere. Part of the door `./prometheus`.
 */
import { diag } from "@opentelemetry/api";
import { type Clock, systemClock } from "../core/clock.ts";
import type { CollectedMetrics, MetricCollector } from "./collected.ts";
import type { Gather } from "./collection.ts";
import { acceptsGzip, negotiateFormat } from "./negotiation.ts";
import { Pace } from "./pace.ts";
import { plainResponse, ScrapeResponses } from "./response.ts";
import { Scrape, type ScrapeEvents, type ScrapeOptions } from "./scrape.ts";
import { createPrometheusSerializer, type SerializerOptions } from "./serializer.ts";

/** How metrics are written, when, for whom, and who is told. */
export interface PrometheusHandlerOptions extends SerializerOptions, ScrapeOptions, ScrapeEvents {
  /** The only path that is answered; others are 404. Default: every path, for a router in front. */
  readonly path?: string | undefined;
  /** Answers gzip to those who take it. Default true. */
  readonly gzip?: boolean | undefined;
  /** Default: the process's. */
  readonly clock?: Clock | undefined;
}

/** Answers one request; never rejects. */
export type PrometheusHandler = (request: Request) => Promise<Response>;

/**
 * Answers `GET` and `HEAD` with the metrics of a reader that is registered with a MeterProvider; other methods 405. A failure
 * is 500 with its reason, an overload or a collection that takes too long 503.
 */
export function createPrometheusHandler(
  collector: MetricCollector,
  options: PrometheusHandlerOptions = {},
): PrometheusHandler {
  const { clock = systemClock, path } = options;
  const onCollected = options.onCollected ?? logErrors;
  const gather = gatherFrom(collector, options, clock);
  const answer = createScrapeHandler(gather, { ...options, onCollected });
  return async (request) => {
    if (path !== undefined && pathOf(request.url) !== path) {
      return plainResponse(request, 404, `not found: try ${path}`);
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      const allow = { allow: "GET, HEAD" };
      return plainResponse(request, 405, "metrics are read with GET or HEAD", allow);
    }
    return answer(request);
  };
}

/** The part of a handler that is the same for every source; the method is checked before. */
export function createScrapeHandler(
  gather: Gather,
  options: Omit<PrometheusHandlerOptions, "path">,
): PrometheusHandler {
  const { clock = systemClock } = options;
  const scrape = new Scrape(gather, options, clock);
  const responses = new ScrapeResponses(clock);
  return async (request) => {
    const format = negotiateFormat(request.headers.get("accept"));
    const gzip = options.gzip !== false && acceptsGzip(request.headers.get("accept-encoding"));
    return responses.of(request, await scrape.answer(format, gzip));
  };
}

/** An observable callback of the application that takes longer is left out. */
const collectTimeoutMs = 5_000;

/** Collects from a reader, and writes with a serializer that remembers its series. */
export function gatherFrom(
  collector: MetricCollector,
  options: SerializerOptions = {},
  clock: Clock = systemClock,
): Gather {
  const serializer = createPrometheusSerializer(options, clock);
  return async () => {
    const pace = new Pace(clock);
    const collected = await collector.collect({ timeoutMillis: collectTimeoutMs });
    // Collecting is one piece of work with an SDK's own instruments, and ends with one in any case.
    await pace.handOver();
    const { resourceMetrics, errors } = collected;
    await resourceSettled(resourceMetrics.resource, clock);
    return { write: (format) => serializer.serialize(resourceMetrics, format), errors };
  };
}

/** Detectors of resource attributes that take longer are waited for by the next scrape. */
const resourceMs = 1_000;

function resourceSettled(resource: CollectedMetrics["resource"], clock: Clock): Promise<void> {
  if (!resource.asyncAttributesPending) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = clock.schedule(resourceMs, resolve);
    const settled = () => {
      timer.cancel();
      resolve();
    };
    resource.waitForAsyncAttributes?.().then(settled, settled);
  });
}

function logErrors(_seconds: number, errors: readonly unknown[]): void {
  for (const error of errors) diag.error("an instrument could not be collected", error);
}

/** The path without the query; frameworks may hand in a relative URL. */
function pathOf(url: string): string {
  return URL.canParse(url) ? new URL(url).pathname : (url.split("?")[0] ?? url);
}
