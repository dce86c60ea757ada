/**
 * What this agent did since it last told, for people who look at the cluster: sent with the renewals of its run. From what the ledger
 * and the instruments count anyway, whether telemetry is on or not.
 */
import type { Clock } from "../core/clock.ts";
import type { AgentLoad } from "../metadata/metadata-store.ts";

/** Totals since the agent was made. */
export interface LoadTotals {
  readonly recordsIn: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly flushes: number;
}

export class LoadMeter {
  readonly #clock: Clock;
  readonly #totals: () => LoadTotals;
  #before: LoadTotals;
  #at: number;

  constructor(clock: Clock, totals: () => LoadTotals) {
    this.#clock = clock;
    this.#totals = totals;
    this.#before = { recordsIn: 0, bytesIn: 0, bytesOut: 0, flushes: 0 };
    this.#at = clock.monotonic();
  }

  /** Rates since the last call. */
  read(): AgentLoad {
    const at = this.#clock.monotonic();
    const seconds = Math.max(0.001, (at - this.#at) / 1_000);
    const now = this.#totals();
    const rate = (name: keyof LoadTotals) =>
      Math.round((Math.max(0, now[name] - this.#before[name]) / seconds) * 10) / 10;
    const load: AgentLoad = {
      recordsInPerSecond: rate("recordsIn"),
      bytesInPerSecond: rate("bytesIn"),
      bytesOutPerSecond: rate("bytesOut"),
      flushesPerSecond: rate("flushes"),
    };
    this.#before = now;
    this.#at = at;
    return load;
  }
}
