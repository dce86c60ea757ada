/**
 * The telemetry audits itself: conservation laws, each of which compares what is exported with the same number derived from
 * something else (offsets, chunks, batches that are there). Checked when somebody collects, at one moment, and exported as
 * `streamhouse.audit.discrepancy`. It costs nothing between collections and never throws. docs/decisions/0004-self-audit.md has the
 * laws and why each is sound. The wings write their laws; this room reads cells and sets the gauge.
 */
import { catalogue, type InstrumentDescriptor } from "./catalogue.ts";
import {
  type AttributeValues,
  type CounterCell,
  isHistogram,
  type MetricRegistry,
  type Series,
  type UpDownCell,
} from "./cells.ts";
import { METRIC_OVERFLOW } from "./semconv.ts";

/** Two ways to the same number. */
export interface Law {
  /** The value of the label `law`. */
  readonly name: string;
  /** How far the two are apart: 0 where the law holds, never negative. Synchronous, so that nothing moves meanwhile. */
  discrepancy(): number;
}

interface Checked {
  readonly law: Law;
  readonly cell: UpDownCell;
}

/** The laws of one component. */
export class Audit {
  readonly #laws: readonly Checked[];
  readonly #errors: CounterCell;

  /** Empty where our own instruments are not counted: there is nothing to compare with. */
  constructor(metrics: MetricRegistry, laws: (exported: Exported) => readonly Law[]) {
    this.#errors = metrics.counter(catalogue.collectErrors);
    const counted = metrics.families.includes("streamhouse");
    const exported = new Exported(metrics);
    this.#laws = (counted ? laws(exported) : []).map((law) => ({
      law,
      cell: metrics.upDown(catalogue.auditDiscrepancy, { law: law.name }),
    }));
  }

  /** Called at each collection, after everything else that is set there. */
  check(): void {
    for (const { law, cell } of this.#laws) {
      try {
        cell.add(law.discrepancy() - cell.value);
      } catch {
        this.#errors.add(1);
      }
    }
  }
}

/** Which number of a series: a counter's or gauge's value, a histogram's sum, or how many samples it has. */
export type Part = "value" | "samples";

/**
 * The series that a component exports, for reading. Not its gauges: they come and go with partitions, for as long as it runs, and
 * no law asks for one.
 */
export class Exported {
  readonly #families = new Map<string, Series[]>();

  constructor(metrics: MetricRegistry) {
    metrics.onSeries((descriptor, series) => {
      if (descriptor.kind === "gauge") return;
      const known = this.#families.get(descriptor.name);
      if (known === undefined) this.#families.set(descriptor.name, [series]);
      else known.push(series);
    });
  }

  /** Added up over the series that have these attributes. */
  total(descriptor: InstrumentDescriptor, part: Part, where: AttributeValues = {}): number {
    let sum = 0;
    for (const { attributes, cell } of this.#families.get(descriptor.name) ?? []) {
      if (Object.entries(where).some(([key, value]) => attributes[key] !== value)) continue;
      sum += part === "samples" && isHistogram(cell) ? cell.count : numberOf(cell);
    }
    return sum;
  }

  /** Added up for each value of an attribute; what was folded because there were too many is under `FOLDED`. */
  by(descriptor: InstrumentDescriptor, attribute: string, part: Part): Map<string, number> {
    const sums = new Map<string, number>();
    for (const { attributes, cell } of this.#families.get(descriptor.name) ?? []) {
      const folded = attributes[METRIC_OVERFLOW] === true;
      const key = folded ? FOLDED : String(attributes[attribute] ?? "");
      const n = part === "samples" && isHistogram(cell) ? cell.count : numberOf(cell);
      sums.set(key, (sums.get(key) ?? 0) + n);
    }
    return sums;
  }
}

const FOLDED = "\0folded";

function numberOf(cell: Series["cell"]): number {
  return isHistogram(cell) ? cell.sum : cell.value;
}

/** How far the two are apart, key by key; in all, where the keys of one of them were folded. */
export function apart(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): number {
  if (a.has(FOLDED) || b.has(FOLDED)) return Math.abs(totalOf(a) - totalOf(b));
  let sum = 0;
  for (const [key, n] of a) sum += Math.abs(n - (b.get(key) ?? 0));
  for (const [key, n] of b) if (!a.has(key)) sum += Math.abs(n);
  return sum;
}

/** How far a number lies outside of what it may be. */
export function outside(n: number, from: number, to: number): number {
  return Math.max(0, from - n, n - to);
}

function totalOf(sums: ReadonlyMap<string, number>): number {
  let total = 0;
  for (const n of sums.values()) total += n;
  return total;
}
