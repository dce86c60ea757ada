/**
 * Which series of a family are shown by themselves when several components' are put together: the first that come, as many as the
 * limit allows (METRICS rule 6). Once in, always in: a series that changed places with the overflow would make its
 * total fall. Used by `hub.ts`.
 */
import { METRIC_OVERFLOW } from "./semconv.ts";

/** Bounded by the limit, for each family. */
export class SeriesAdmission {
  readonly #seriesMax: number;
  readonly #admitted = new Map<string, Set<string>>();
  /** How many series a family had that was admitted as a whole. */
  readonly #sizes = new Map<string, number>();
  /** The most series of a family that were refused in one collection. */
  readonly #refusedMax = new Map<string, number>();

  constructor(seriesMax: number) {
    this.#seriesMax = seriesMax;
  }

  /** Whether the series has, or just got, a place of its own. */
  admits(family: string, key: string): boolean {
    let keys = this.#admitted.get(family);
    if (keys === undefined) {
      keys = new Set();
      this.#admitted.set(family, keys);
    }
    if (keys.has(key)) return true;
    if (keys.size >= this.#seriesMax) return false;
    keys.add(key);
    return true;
  }

  /** Whether all series of a family that one component has to itself can be shown as they are. */
  admitsAll(family: string, series: ReadonlyMap<string, unknown>): boolean {
    if (this.#sizes.get(family) === series.size) return true;
    for (const key of series.keys()) {
      if (key !== METRIC_OVERFLOW && !this.admits(family, key)) return false;
    }
    this.#sizes.set(family, series.size);
    return true;
  }

  /** How many more series of the family were refused in this collection than in any before. */
  newlyRefused(family: string, refused: number): number {
    const most = this.#refusedMax.get(family) ?? 0;
    if (refused <= most) return 0;
    this.#refusedMax.set(family, refused);
    return refused - most;
  }
}
