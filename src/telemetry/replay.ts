/**
 * Histogram samples from before a late MeterProvider, repeated to it. The API takes samples only, and a cell keeps none: so
 * samples are made up that fall into the same buckets, as many, with the same sum. In slices, because an SDK takes a microsecond for
 * each and the application is at work. Called by the bridge.
 */
import { type Clock, systemClock } from "../core/clock.ts";
import type { HistogramCell } from "./cells.ts";

/** Samples repeated for one series. Beyond it none are: half of a histogram is worse than a late one. */
export const replayedSamplesMax = 10_000;

/** Samples that wait to be repeated, of all series: a fifth of a second of an SDK's time. */
export const waitingSamplesMax = 200_000;

/** About 3 ms of an SDK's time. */
const sliceSamples = 3_000;

/** What is to be repeated of one series. */
interface Waiting {
  readonly record: (sample: number) => void;
  readonly samples: Iterator<number>;
}

/** Repeats the first slice when `run` is called, and the others in turns of their own, which hold no process. */
export class Replay {
  readonly #clock: Clock;
  readonly #queue: Waiting[] = [];
  #waiting = 0;
  #scheduled = false;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** What the cell holds now is to be repeated. Answers false, and repeats nothing of it, if that is too much. */
  add(cell: HistogramCell, record: (sample: number) => void): boolean {
    if (cell.count === 0) return true;
    if (cell.count > replayedSamplesMax) return false;
    if (this.#waiting + cell.count > waitingSamplesMax) return false;
    this.#waiting += cell.count;
    this.#queue.push({ record, samples: repeated(samplesOf(cell), cell.counts.slice()) });
    return true;
  }

  run(): void {
    if (this.#scheduled) return;
    for (let left = sliceSamples; left > 0; left--) {
      const first = this.#queue[0];
      if (first === undefined) return;
      const { done, value } = first.samples.next();
      if (done) this.#queue.shift();
      else {
        this.#waiting -= 1;
        first.record(value);
      }
    }
    this.#scheduled = true;
    const again = () => {
      this.#scheduled = false;
      this.run();
    };
    this.#clock.schedule(0, again, { background: true });
  }
}

function* repeated(samples: readonly number[], counts: Float64Array): Generator<number, void> {
  for (let bucket = 0; bucket < samples.length; bucket++) {
    for (let n = counts[bucket] ?? 0; n > 0; n--) yield samples[bucket] ?? 0;
  }
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
