/** The number by which a metadata store is told from any other. Drawn once by whoever asks first; kept among the counters. */
import type { RandomBytes } from "../core/ids.ts";

/** 48 random bits: a safe integer, and rare enough among the databases that ever see one bucket. */
export function drawIdentity(random: RandomBytes): number {
  let value = 0;
  for (const byte of random(new Uint8Array(6))) value = value * 256 + byte;
  return value;
}

/** As it stands in the store where the records are. */
export function identityText(value: number): string {
  return value.toString(16).padStart(12, "0");
}
