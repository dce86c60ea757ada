/**
 * What a reader with delta temporality has been told: the totals of its last collection, from which the next one's differences are
 * made. As large as what was collected last: a series that is gone is forgotten with it. Used by `metric-producer.ts`.
 */
import { type Cell, type Exemplar, type Family, isHistogram, type Series } from "./cells.ts";
import { newCell } from "./registry.ts";

/** A series as it was told last. */
interface Told {
  readonly startMs: number;
  readonly value: number;
  /** Of histograms. */
  readonly counts: Float64Array | undefined;
}

type ToldSeries = Map<string, Told>;

/** The memory of one reader. */
export class DeltaMemory {
  #told = new Map<string, ToldSeries>();
  #next = new Map<string, ToldSeries>();
  #lastMs: number | undefined;

  /** The family with what was added since the last collection. Its series begin where that one ended. */
  deltas(family: Family): Family {
    const { descriptor } = family;
    const before = this.#told.get(descriptor.name);
    const told: ToldSeries = new Map();
    const series = new Map<string, Series>();
    for (const [key, one] of family.series) {
      const last = continued(before?.get(key), one);
      const cell = newCell(descriptor);
      if (isHistogram(one.cell)) told.set(key, this.#histogram(one, cell, last));
      else {
        told.set(key, { startMs: one.startMs, value: one.cell.value, counts: undefined });
        if (!isHistogram(cell)) cell.value = one.cell.value - (last?.value ?? 0);
      }
      const startMs = last === undefined ? one.startMs : (this.#lastMs ?? one.startMs);
      series.set(key, { attributes: one.attributes, cell, startMs });
    }
    this.#next.set(descriptor.name, told);
    return { descriptor, series };
  }

  /** Everything was asked for: what was not is forgotten. */
  endCollection(nowMs: number): void {
    this.#told = this.#next;
    this.#next = new Map();
    this.#lastMs = nowMs;
  }

  #histogram({ cell, startMs }: Series, into: Cell, last: Told | undefined): Told {
    if (!isHistogram(cell)) return { startMs, value: 0, counts: undefined };
    if (isHistogram(into)) {
      for (let i = 0; i < into.counts.length; i++) {
        into.counts[i] = (cell.counts[i] ?? 0) - (last?.counts?.[i] ?? 0);
        into.count += into.counts[i] ?? 0;
      }
      into.sum = cell.sum - (last?.value ?? 0);
      into.exemplars = cell.exemplars?.map((one) => this.#recent(one));
    }
    return { startMs, value: cell.sum, counts: cell.counts.slice() };
  }

  /** One that was told already is not told again. */
  #recent(exemplar: Exemplar | undefined): Exemplar | undefined {
    const old = this.#lastMs !== undefined && (exemplar?.timestampMs ?? 0) < this.#lastMs;
    return old ? undefined : exemplar;
  }
}

/** What was told, if it was of this series: not if that was released since and came back, or a component took its part away. */
function continued(last: Told | undefined, now: Series): Told | undefined {
  if (last === undefined || now.startMs > last.startMs) return undefined;
  const { cell } = now;
  if (!isHistogram(cell)) return cell.value < last.value ? undefined : last;
  const shrank = cell.counts.some((count, i) => count < (last.counts?.[i] ?? 0));
  return shrank ? undefined : last;
}
