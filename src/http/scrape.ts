/**
 * Guards the collection of metrics against its readers (METRICS rule 8): one at a time, a result shared by all who asked
 * meanwhile and reused for a moment, a deadline, and a limit of who may wait. Called by `handler.ts`.
 */
import { type Clock, systemClock, type Timer } from "../core/clock.ts";
import type { MetricsSource, MetricsText } from "../telemetry/metrics-source.ts";

export interface ScrapeOptions {
  /**
   * A result younger than this is answered again, in ms. Default: as long as it took to collect, so that no number of scrapers
   * makes collecting take more than half of a core.
   */
  readonly cacheMs?: number | undefined;
  /** A scrape waits at most this long, in ms. Default 8,000: below Prometheus's own 10 s. */
  readonly deadlineMs?: number | undefined;
  /** Scrapes that may wait for one collection; more are refused. Default 8. */
  readonly waitingMax?: number | undefined;
}

export type ScrapeResult =
  | { readonly outcome: "collected"; readonly text: MetricsText }
  /** Ask again later. */
  | { readonly outcome: "overloaded" | "late"; readonly reason: string }
  | { readonly outcome: "failed"; readonly reason: string };

interface Flight {
  readonly result: Promise<ScrapeResult>;
  waiting: number;
}

export class Scrape {
  readonly #source: MetricsSource;
  readonly #clock: Clock;
  readonly #cacheMs: number | undefined;
  readonly #deadlineMs: number;
  readonly #waitingMax: number;
  #flight: Flight | undefined;
  #cached: { readonly text: MetricsText; readonly until: number } | undefined;

  constructor(source: MetricsSource, options: ScrapeOptions = {}, clock: Clock = systemClock) {
    this.#source = source;
    this.#clock = clock;
    this.#cacheMs = options.cacheMs;
    this.#deadlineMs = options.deadlineMs ?? 8_000;
    this.#waitingMax = options.waitingMax ?? 8;
  }

  /** Never rejects. */
  async text(): Promise<ScrapeResult> {
    const cached = this.#cached;
    if (cached !== undefined && this.#clock.monotonic() < cached.until) {
      return { outcome: "collected", text: cached.text };
    }
    const flight = this.#flight ?? this.#begin();
    if (flight.waiting >= this.#waitingMax) {
      const reason = `${flight.waiting} scrapes are waiting for one collection already`;
      return { outcome: "overloaded", reason };
    }
    flight.waiting += 1;
    return flight.result;
  }

  #begin(): Flight {
    let timer: Timer | undefined;
    const late = new Promise<ScrapeResult>((resolve) => {
      const reason = `collecting metrics took longer than ${this.#deadlineMs} ms`;
      timer = this.#clock.schedule(this.#deadlineMs, () => resolve({ outcome: "late", reason }));
    });
    const result = Promise.race([this.#collect(), late]).finally(() => {
      timer?.cancel();
      if (this.#flight === flight) this.#flight = undefined;
    });
    const flight: Flight = { result, waiting: 0 };
    this.#flight = flight;
    return flight;
  }

  async #collect(): Promise<ScrapeResult> {
    const startedAt = this.#clock.monotonic();
    try {
      const text = await this.#source.collect();
      const endedAt = this.#clock.monotonic();
      this.#cached = { text, until: endedAt + (this.#cacheMs ?? endedAt - startedAt) };
      return { outcome: "collected", text };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return { outcome: "failed", reason: `collecting metrics failed: ${reason}` };
    }
  }
}
