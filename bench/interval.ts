/**
 * How sure a median is: the bootstrap's 95 % interval. The same samples always give the same
 * interval, because the resampling is drawn from a seed.
 */
import { median } from "./figure.ts";

const RESAMPLES = 4_000;
const SEED = 0x5eed;

/** Bounds between which the median lies in 95 of 100 resamplings; needs two samples at least. */
export function medianInterval(values: readonly number[]): readonly [number, number] | undefined {
  if (values.length < 2) return undefined;
  const random = mulberry32(SEED);
  const medians = Array.from({ length: RESAMPLES }, () =>
    median(values.map(() => values[Math.floor(random() * values.length)] ?? Number.NaN)),
  ).sort((a, b) => a - b);
  const at = (part: number) => medians[Math.round(part * (RESAMPLES - 1))] ?? Number.NaN;
  return [at(0.025), at(0.975)];
}

/** A small generator of good quality, from 0 to 1 (https://github.com/bryc/code, public domain). */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
