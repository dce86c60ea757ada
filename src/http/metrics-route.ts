/**
 * `GET /metrics`: of the source that was given, or of the bootstrap that is registered as it comes and goes, behind the guards of
 * the Prometheus exposition. Called by `handler.ts`.
 */
import type { Clock } from "../core/clock.ts";
import type { Gather } from "../prometheus/collection.ts";
import { createScrapeHandler, type PrometheusHandler } from "../prometheus/handler.ts";
import { plainResponse } from "../prometheus/response.ts";
import type { ScrapeOptions } from "../prometheus/scrape.ts";
import type { MetricsSource, MetricsText } from "../telemetry/metrics-source.ts";
import { metricsSourceOf } from "../telemetry/provider-link.ts";

/** How `/metrics` is written. */
export interface MetricsOptions {
  /** Default: the bootstrap that is registered when it is asked. */
  readonly source?: MetricsSource | undefined;
  /**
   * `streamhouse` (default): text 0.0.4 or OpenMetrics, as the reader asks. `stock`: the text of OpenTelemetry's own Prometheus
   * exporter, whoever asks.
   */
  readonly serializer?: "streamhouse" | "stock" | undefined;
  /** Answers gzip to those who take it. Default true. */
  readonly gzip?: boolean | undefined;
}

export class MetricsRoute {
  readonly #options: MetricsOptions;
  readonly #scrape: ScrapeOptions;
  readonly #clock: Clock | undefined;
  #source: MetricsSource | undefined;
  #handler: PrometheusHandler | undefined;

  constructor(
    metrics: MetricsSource | MetricsOptions | undefined,
    scrape: ScrapeOptions = {},
    clock?: Clock,
  ) {
    this.#options =
      metrics !== undefined && "collect" in metrics ? { source: metrics } : { ...metrics };
    this.#scrape = scrape;
    this.#clock = clock;
  }

  async answer(request: Request): Promise<Response> {
    const source = this.#options.source ?? metricsSourceOf();
    if (source === undefined) {
      const line = "no metrics here: pass bootstrap().metrics as `metrics` to createHandler";
      return plainResponse(request, 404, line);
    }
    if (this.#handler === undefined || source !== this.#source) {
      this.#source = source;
      this.#handler = createScrapeHandler(gatherOf(source, this.#options.serializer), {
        ...this.#scrape,
        onScrape: source.onScrape,
        onCollected: source.onCollected,
        gzip: this.#options.gzip,
        clock: this.#clock,
      });
    }
    return this.#handler(request);
  }
}

function gatherOf(source: MetricsSource, serializer: MetricsOptions["serializer"]): Gather {
  if (serializer !== "stock") return source.gather ?? (() => gatherText(source.collect()));
  return () => {
    if (source.stock !== undefined) return gatherText(source.stock());
    throw new Error("this source of metrics has no stock serializer");
  };
}

/** A text that is written already: the same for everybody. */
async function gatherText(text: Promise<MetricsText>): ReturnType<Gather> {
  const { body, contentType } = await text;
  const bytes = new TextEncoder().encode(body);
  return {
    contentType,
    async *write() {
      yield bytes;
    },
  };
}
