/**
 * From samples to what is printed: medians with their spread, and ratios to the raw limits of the
 * same run.
 */
import type { Contender, Sample, Samples } from "./contender.ts";
import { medianInterval } from "./interval.ts";

export interface Figure {
  readonly name: string;
  /** `streamhouse`, `raw` for a limit, or the system that it is compared with. */
  readonly contender: string;
  readonly unit: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly samples: number;
  /** Where the median lies with 95 % confidence; not with a single sample. */
  readonly interval95?: readonly [number, number];
  /** Median of encoded megabytes (10^6 bytes) a second, where bytes were moved. */
  readonly megabytesPerSecond?: number;
  /**
   * Bytes a second as a part of each limit's, by the limit's name, and the value as a part of each other system's, by its name: the
   * median over the rounds.
   */
  readonly ratios: Readonly<Record<string, number>>;
  /** What was measured beside the value, each with a median and interval of its own. */
  readonly also?: Readonly<Record<string, Also>>;
  readonly note: string;
}

export interface Also {
  readonly median: number;
  readonly interval95?: readonly [number, number];
}

/** One figure for each contender that has samples, in their order. */
export function figuresOf(contenders: readonly Contender[], samples: Samples): Figure[] {
  return contenders.flatMap((contender) => {
    const own = samples.get(contender.name) ?? [];
    return own.length === 0 ? [] : [figureOf(contender, own, samples)];
  });
}

function figureOf(contender: Contender, own: readonly Sample[], samples: Samples): Figure {
  const values = own.map((sample) => sample.value);
  const rates = own.flatMap((sample) => sample.bytesPerSecond ?? []);
  return {
    ...namesOf(contender.name),
    unit: contender.unit,
    median: rounded(median(values)),
    min: rounded(Math.min(...values)),
    max: rounded(Math.max(...values)),
    samples: values.length,
    ...intervalOf(values),
    ...(rates.length > 0 ? { megabytesPerSecond: rounded(median(rates) / 1e6) } : {}),
    ratios: ratiosOf(contender, own, samples),
    ...alsoOf(own),
    note: contender.note,
  };
}

function intervalOf(values: readonly number[]): { readonly interval95?: [number, number] } {
  const interval = medianInterval(values);
  return interval === undefined ? {} : { interval95: [rounded(interval[0]), rounded(interval[1])] };
}

function alsoOf(own: readonly Sample[]): { readonly also?: Record<string, Also> } {
  const names = Object.keys(own[0]?.also ?? {});
  if (names.length === 0) return {};
  const entries = names.map((name) => {
    const values = own.flatMap((sample) => sample.also?.[name] ?? []);
    return [name, { median: rounded(median(values)), ...intervalOf(values) }] as const;
  });
  return { also: Object.fromEntries(entries) };
}

/**
 * Each round is compared with the same round of the limit, so that a slow minute counts on both
 * sides.
 */
function ratiosOf(
  contender: Contender,
  own: readonly Sample[],
  samples: Samples,
): Record<string, number> {
  const ratios: Record<string, number> = {};
  for (const name of contender.limits) {
    // Another system's figure is the same thing measured; a raw limit moves the same bytes.
    const measure = name.includes("@") ? "value" : "bytesPerSecond";
    const limit = samples.get(name) ?? [];
    const paired = own.flatMap((sample, round) => {
      const [value, of] = [sample[measure], limit[round]?.[measure]];
      return of === undefined || value === undefined ? [] : [value / of];
    });
    if (paired.length > 0) ratios[systemOf(name)] = rounded(median(paired));
  }
  return ratios;
}

/** Units of which less is better. */
const COSTS = ["ns", "ms", "s", "% CPU"];

/** The same figures; those in which another system is better come first, each with that system's row after ours. */
export function lostFirst(figures: readonly Figure[]): readonly Figure[] {
  const lost = new Set(
    figures.flatMap(({ name, contender, unit, ratios }) => {
      const worse = (ratio: number) => (COSTS.includes(unit) ? ratio > 1 : ratio < 1);
      const others = figures.filter((it) => it.name === baseOf(name) && it.contender !== contender);
      return others.some((it) => worse(ratios[it.contender] ?? Number.NaN)) ? [baseOf(name)] : [];
    }),
  );
  const isLost = (figure: Figure) => lost.has(baseOf(figure.name));
  return [...figures.filter(isLost), ...figures.filter((it) => !isLost(it))];
}

/** `-lowest` is the same figure at another setting, and compared with the same rows of others. */
function baseOf(name: string): string {
  return name.replace(/-lowest$/, "");
}

/** A figure of another system is called `figure@system` where it is measured. */
function namesOf(id: string): Pick<Figure, "name" | "contender"> {
  const [name = id, system] = id.split("@");
  return { name, contender: system ?? (id.startsWith("raw-") ? "raw" : "streamhouse") };
}

/** A limit is called by its figure's name, another system by its own. */
function systemOf(id: string): string {
  return id.split("@")[1] ?? id;
}

/** The middle one, or the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Four digits say more than the spread allows. */
function rounded(value: number): number {
  return Math.abs(value) >= 1_000 ? Math.round(value) : Number(value.toPrecision(4));
}
