/**
 * What went in, and what came out, so that both can be compared: how many records, a checksum that does not depend on the order
 * between partitions, and whether the order within each partition was kept.
 */
import { crc32c } from "../../src/format/crc32c.ts";

const encoder = new TextEncoder();

/** The key of the n-th record: its number, so that the order can be checked at the other end. */
export function keyOf(number: number): Uint8Array {
  return encoder.encode(String(number));
}

export class Tally {
  records = 0;
  /** Bytes of keys and values. */
  bytes = 0;
  #sum = 0;
  #xor = 0;

  add(key: Uint8Array, value: Uint8Array): void {
    const whole = new Uint8Array(key.length + 1 + value.length);
    whole.set(key);
    whole.set(value, key.length + 1);
    const crc = crc32c(whole);
    this.records += 1;
    this.bytes += key.length + value.length;
    this.#sum = (this.#sum + crc) >>> 0;
    this.#xor = (this.#xor ^ Math.imul(crc | 1, 0x9e3779b1)) >>> 0;
  }

  /** The same for the same records in any order; a lost, doubled or changed record makes it another. */
  checksum(): string {
    return [this.#sum, this.#xor].map((part) => part.toString(16).padStart(8, "0")).join("");
  }
}

/** Whether the numbered records of each partition came in rising order. */
export class OrderCheck {
  readonly #last = new Map<number, number>();
  /** The first record that came too late, if any. */
  violation: string | undefined;

  see(partition: number, offset: number, number: number): void {
    const last = this.#last.get(partition) ?? -1;
    if (number <= last) {
      this.violation ??= `partition ${partition}, offset ${offset}: record ${number} after record ${last}`;
    }
    this.#last.set(partition, number);
  }
}

/** Latencies in whole milliseconds, counted; memory does not grow with their number. */
export class LatencyCounts {
  readonly #counts = new Float64Array(60_001);
  #total = 0;

  add(ms: number): void {
    const bucket = Math.min(60_000, Math.max(0, Math.round(ms)));
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#total += 1;
  }

  /** The smallest latency that `fraction` of all did not exceed, ms; 0 if there were none. */
  quantile(fraction: number): number {
    const wanted = Math.ceil(this.#total * fraction);
    let seen = 0;
    for (const [ms, n] of this.#counts.entries()) {
      seen += n;
      if (seen >= wanted && seen > 0) return ms;
    }
    return 0;
  }
}
