/** Where an HTTP handler gets what `/metrics` answers. Made by the bootstrap; anything of this shape will do. */
import type { Gather } from "../prometheus/collection.ts";
import { PROMETHEUS_TEXT as TEXT } from "../prometheus/format.ts";
import type { ScrapeEvents } from "../prometheus/scrape.ts";

/** A text of metrics, and the type of it that the reader is told. */
export interface MetricsText {
  readonly body: string;
  readonly contentType: string;
}

/** Where `/metrics` gets its text: `bootstrap().metrics`, or anything else that can write it. */
export interface MetricsSource extends ScrapeEvents {
  /** Collects once and writes the result as text. Rejects, with a reason an operator can read, if that failed. */
  collect(): Promise<MetricsText>;
  /** Collects once, to be written in the format that each reader wants. Default: everybody gets the text of `collect`. */
  readonly gather?: Gather | undefined;
  /** The text of the stock Prometheus exporter for the same metrics. */
  readonly stock?: (() => Promise<MetricsText>) | undefined;
}

/** The text format that every Prometheus reads. */
export const PROMETHEUS_TEXT: string = TEXT;
