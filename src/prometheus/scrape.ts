/**
 * Guards the collection of metrics against its readers (METRICS rule 8): one at a time, shared by all who ask meanwhile and, for a
 * moment, by those who ask later, each in the format it wants; a deadline, and a limit of who may wait. Called by `handler.ts`
 * and by StreamHouse's own handler.
 */
import { type Clock, systemClock, type Timer } from "../core/clock.ts";
import { Collection, type Gather, type ScrapeBody } from "./collection.ts";
import type { NegotiatedFormat } from "./negotiation.ts";

/** When a collection is answered again, and who may wait for one. */
export interface ScrapeOptions {
  /**
   * A collection younger than this is answered again, in ms. Default: as long as it took to collect and write, so that no number of
   * scrapers makes that take more than half of a core.
   */
  readonly cacheMs?: number | undefined;
  /** A scrape waits at most this long, in ms. Default 8,000: below Prometheus's own 10 s. */
  readonly deadlineMs?: number | undefined;
  /** Scrapes that may wait at a time; more are refused. Default 8. */
  readonly waitingMax?: number | undefined;
}

/** How a scrape ended. */
export type ScrapeOutcome = "ok" | "failed" | "late" | "overloaded";

/** For those who count scrapes. What is called should not throw; if it does, the scrape does not notice. */
export interface ScrapeEvents {
  /** Called for each scrape. */
  readonly onScrape?: ((outcome: ScrapeOutcome) => void) | undefined;
  /**
   * Called when metrics were collected and written, in each format and encoding. What failed while the rest was collected comes
   * with the first of them only: it failed once.
   */
  readonly onCollected?: ((seconds: number, errors: readonly unknown[]) => void) | undefined;
}

export type ScrapeResult =
  | { readonly outcome: "ok"; readonly body: ScrapeBody }
  /** Ask again later. */
  | { readonly outcome: "overloaded" | "late"; readonly reason: string }
  | { readonly outcome: "failed"; readonly reason: string };

interface Current {
  readonly collection: Collection;
  /** By content type and encoding. */
  readonly ready: Map<string, ScrapeBody>;
  readonly flights: Map<string, Promise<ScrapeResult>>;
}

/** Collections past their deadline that have not ended: one that hangs must not be joined by another at each scrape. */
const hangingMax = 4;

export class Scrape {
  readonly #gather: Gather;
  readonly #events: ScrapeEvents;
  readonly #clock: Clock;
  readonly #cacheMs: number | undefined;
  readonly #deadlineMs: number;
  readonly #waitingMax: number;
  #current: Current | undefined;
  #waiting = 0;
  #hanging = 0;
  #expiry: Timer | undefined;

  constructor(
    gather: Gather,
    options: ScrapeOptions & ScrapeEvents = {},
    clock: Clock = systemClock,
  ) {
    this.#gather = gather;
    this.#events = options;
    this.#clock = clock;
    this.#cacheMs = options.cacheMs;
    this.#deadlineMs = options.deadlineMs ?? 8_000;
    this.#waitingMax = options.waitingMax ?? 8;
  }

  /** Never rejects. */
  async answer(format: NegotiatedFormat, gzip: boolean): Promise<ScrapeResult> {
    const result = await this.#answer(format, gzip);
    quietly(() => this.#events.onScrape?.(result.outcome));
    return result;
  }

  async #answer(format: NegotiatedFormat, gzip: boolean): Promise<ScrapeResult> {
    const current = this.#usable() ?? this.#begin();
    if (current === undefined) {
      const reason = `${this.#hanging} collections of metrics have not ended`;
      return { outcome: "late", reason };
    }
    const key = `${format.contentType} ${gzip}`;
    const body = current.ready.get(key);
    if (body !== undefined) return { outcome: "ok", body };
    if (this.#waiting >= this.#waitingMax) {
      const reason = `${this.#waiting} scrapes are waiting for one collection already`;
      return { outcome: "overloaded", reason };
    }
    this.#waiting += 1;
    try {
      return await (current.flights.get(key) ?? this.#fly(current, key, format, gzip));
    } finally {
      this.#waiting -= 1;
    }
  }

  #usable(): Current | undefined {
    const until = this.#current?.collection.until;
    return until !== undefined && this.#clock.monotonic() >= until ? undefined : this.#current;
  }

  #begin(): Current | undefined {
    if (this.#hanging >= hangingMax) return undefined;
    this.#expiry?.cancel();
    const collection = new Collection(this.#gather, this.#clock);
    this.#current = { collection, ready: new Map(), flights: new Map() };
    return this.#current;
  }

  #fly(
    current: Current,
    key: string,
    format: NegotiatedFormat,
    gzip: boolean,
  ): Promise<ScrapeResult> {
    const startedAt = this.#clock.monotonic();
    let timer: Timer | undefined;
    const late = new Promise<ScrapeResult>((resolve) => {
      const reason = `collecting metrics took longer than ${this.#deadlineMs} ms`;
      const giveUp = () => resolve({ outcome: "late", reason });
      // A scrape that hangs does not hold the process: whoever waits for it is on a connection that does.
      timer = this.#clock.schedule(this.#deadlineMs, giveUp, { background: true });
    });
    const made = this.#make(current, format, gzip);
    const flight = Promise.race([made, late]).then((result) => {
      timer?.cancel();
      current.flights.delete(key);
      if (result.outcome === "ok") this.#keep(current, key, result.body, startedAt);
      else this.#giveUp(current);
      return result;
    });
    current.flights.set(key, flight);
    return flight;
  }

  async #make(current: Current, format: NegotiatedFormat, gzip: boolean): Promise<ScrapeResult> {
    try {
      return { outcome: "ok", body: await current.collection.body(format, gzip) };
    } catch (error) {
      return { outcome: "failed", reason: `collecting metrics failed: ${reasonOf(error)}` };
    }
  }

  #keep(current: Current, key: string, body: ScrapeBody, startedAt: number): void {
    const { collection, ready } = current;
    const endedAt = this.#clock.monotonic();
    const first = ready.size === 0;
    ready.set(key, body);
    void collection.gathered.then(({ errors = [] }) => {
      const seconds = (endedAt - startedAt) / 1_000;
      quietly(() => this.#events.onCollected?.(seconds, first ? errors : []));
    });
    if (collection.until !== undefined) return;
    const cacheMs = this.#cacheMs ?? endedAt - collection.startedAt;
    collection.until = endedAt + cacheMs;
    const forget = () => {
      if (this.#current === current) this.#current = undefined;
    };
    // The bytes of a large scrape are not kept until the next one.
    if (cacheMs <= 0) forget();
    else this.#expiry = this.#clock.schedule(cacheMs, forget, { background: true });
  }

  #giveUp(current: Current): void {
    // Another format of it may be on its way, with time left.
    if (current.flights.size === 0) current.collection.abandon();
    if (this.#current !== current) return;
    this.#current = undefined;
    this.#hanging += 1;
    const ended = () => {
      this.#hanging -= 1;
    };
    current.collection.gathered.then(ended, ended);
  }
}

/** Whom it is told is the application's own: what it throws must not become an answer, nor end the process. */
function quietly(tell: () => void): void {
  try {
    tell();
  } catch {
    // There is nobody else to tell.
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
