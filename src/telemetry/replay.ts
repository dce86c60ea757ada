/**
 * Histogram samples from before a late MeterProvider, repeated to it. The API takes samples only, and a cell keeps none: so
 * samples are made up that fall into the same buckets, as many, with the same sum. Called by the bridge. Pure.
 */
import type { HistogramCell } from "./cells.ts";

/** Samples repeated for one series, about 10 ms of an SDK's time. Beyond it none are: half of a histogram is worse than a late one. */
export const replayedSamplesMax = 10_000;

/** Answers false, having recorded nothing, if there are too many. */
export function replaySamples(cell: HistogramCell, record: (sample: number) => void): boolean {
  if (cell.count > replayedSamplesMax) return false;
  const samples = samplesOf(cell);
  for (let bucket = 0; bucket < samples.length; bucket++) {
    for (let n = cell.counts[bucket] ?? 0; n > 0; n--) record(samples[bucket] ?? 0);
  }
  return true;
}

/** One value for each bucket, chosen at the same fraction of every bucket's width so that the sum comes out. */
function samplesOf(cell: HistogramCell): number[] {
  const { bounds, counts } = cell;
  const last = bounds.at(-1) ?? 0;
  const lower = (i: number) => (i === 0 ? Math.min(0, bounds[0] ?? 0) : (bounds[i - 1] ?? 0));
  let floor = 0;
  let width = 0;
  for (let i = 0; i < bounds.length; i++) {
    floor += (counts[i] ?? 0) * lower(i);
    width += (counts[i] ?? 0) * ((bounds[i] ?? 0) - lower(i));
  }
  const beyond = counts[bounds.length] ?? 0;
  floor += beyond * last;
  // What the sum has above the lower bounds is spread over the widths; the open bucket takes what they cannot hold.
  const above = Math.max(0, cell.sum - floor);
  const fraction = width === 0 ? 0 : Math.min(1, Math.max(1e-9, above / (width + beyond * last)));
  const rest = above - width * fraction;
  const samples = bounds.map((bound, i) =>
    Math.min(bound, lower(i) + (bound - lower(i)) * fraction),
  );
  samples.push(last + Math.max(last * 1e-9, beyond === 0 ? 0 : rest / beyond));
  return samples;
}
