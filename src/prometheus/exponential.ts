/**
 * Exponential histograms as histograms with fixed buckets: neither text format has native histograms, and the specification lets
 * an exporter convert what it would have to drop
 * (https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#differences-between-prometheus-formats). Pure.
 */
import type { ExponentialBuckets, ExponentialHistogram, FixedHistogram } from "./collected.ts";

/**
 * Finer scales are brought down to four buckets for each power of two: a quantile is then at most 19 % off, and bounds stay the same
 * while the SDK makes its scale coarser down to this one.
 */
const scaleMax = 2;

export function fixedHistogram(histogram: ExponentialHistogram): FixedHistogram {
  const scale = Math.min(histogram.scale, scaleMax);
  const shrink = 2 ** (histogram.scale - scale);
  const negative = upperBounds(histogram.negative, shrink, (i) =>
    negativeBoundOf(i, scale),
  ).reverse();
  const positive = upperBounds(histogram.positive, shrink, (i) => boundOf(i + 1, scale));
  const boundaries: number[] = [];
  const counts: number[] = [];
  const add = ([bound, count]: readonly [number, number]) => {
    const last = boundaries.length - 1;
    // Beyond the range of a double there is +Inf, and below it 0: several buckets are one then.
    if (boundaries[last] === bound) counts[last] = (counts[last] ?? 0) + count;
    else {
      boundaries.push(bound);
      counts.push(count);
    }
  };
  for (const bucket of negative) add(bucket);
  if (histogram.zeroCount > 0 || negative.length > 0) add([0, histogram.zeroCount]);
  for (const bucket of positive) add(bucket);
  const overflow = boundaries.at(-1) === Number.POSITIVE_INFINITY;
  if (overflow) boundaries.pop();
  else counts.push(0);
  const { count, sum } = histogram;
  const min = negative.length > 0 ? -1 : undefined;
  return { buckets: { boundaries, counts }, count, sum, min };
}

/** The upper bound of bucket `i - 1` and the lower one of bucket `i`. */
function boundOf(index: number, scale: number): number {
  return 2 ** (index * 2 ** -scale);
}

/** The same below zero, where the lowest bound is a number: nothing can be less than -Inf. */
function negativeBoundOf(index: number, scale: number): number {
  return -Math.min(boundOf(index, scale), Number.MAX_VALUE);
}

/** Counts of neighbours that share a bucket of the coarser scale, from the lowest index to the highest. */
function upperBounds(
  buckets: ExponentialBuckets,
  shrink: number,
  bound: (index: number) => number,
): (readonly [number, number])[] {
  const byIndex = new Map<number, number>();
  for (const [i, count] of buckets.bucketCounts.entries()) {
    const index = Math.floor((buckets.offset + i) / shrink);
    byIndex.set(index, (byIndex.get(index) ?? 0) + count);
  }
  if ([...byIndex.values()].every((count) => count === 0)) return [];
  return Array.from(byIndex, ([index, count]) => [bound(index), count] as const);
}
