/** What the telemetry says of itself: losses above all. Part of the catalogue. */
import { define, type InstrumentDescriptor, SECONDS } from "./instrument.ts";

export type HealthInstrumentKey =
  | "seriesOverflow"
  | "telemetrySeries"
  | "collectErrors"
  | "samplesLost"
  | "spansDropped"
  | "exportFailures"
  | "scrapes"
  | "scrapeDuration";

export const healthInstruments: Readonly<Record<HealthInstrumentKey, InstrumentDescriptor>> = {
  seriesOverflow: define(
    "counter",
    "streamhouse.telemetry.series.overflow",
    "{series}",
    "Times a series was folded because its family is full",
    ["family"],
  ),
  telemetrySeries: define(
    "gauge",
    "streamhouse.telemetry.series",
    "{series}",
    "Series at the last collection",
    [],
  ),
  collectErrors: define(
    "counter",
    "streamhouse.telemetry.collect.errors",
    "{error}",
    "Failures while values were collected; the other values are reported",
    [],
  ),
  samplesLost: define(
    "counter",
    "streamhouse.telemetry.samples.lost",
    "{sample}",
    "Histogram samples that the SDK refused, or from before a late MeterProvider, too many to be repeated",
    [],
  ),
  spansDropped: define(
    "counter",
    "streamhouse.telemetry.spans.dropped",
    "{span}",
    "Spans that were never exported: queue_full, export_failed or processor_failed",
    ["reason"],
  ),
  exportFailures: define(
    "counter",
    "streamhouse.telemetry.export.failures",
    "{export}",
    "Exports that failed for good",
    ["signal"],
  ),
  scrapes: define(
    "counter",
    "streamhouse.telemetry.scrapes",
    "{scrape}",
    "Scrapes by outcome: ok, failed, late, overloaded",
    ["outcome"],
  ),
  scrapeDuration: define(
    "histogram",
    "streamhouse.telemetry.scrape.duration.seconds",
    "s",
    "Collecting and writing the metrics for one scrape",
    [],
    SECONDS,
  ),
};
