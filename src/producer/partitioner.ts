/**
 * Which partition a record goes to: Kafka's murmur2 for keys, so that a key is on the same partition whichever client wrote
 * it. Pure. Called by the accumulator for each record.
 */
import type { BytesLike, ProducerRecord } from "../core/record.ts";
import type { Topic } from "../core/topic.ts";

/**
 * A partitioner of one's own: answers a partition of `topic`, or undefined for what the default would do. It is called
 * once for each record without an explicit partition, must be quick and must not throw (a throw fails that record).
 */
export type Partitioner = (topic: Topic, record: ProducerRecord) => number | undefined;

const SEED = 0x9747b28c;
const M = 0x5bd1e995;

/** Kafka's murmur2 (org.apache.kafka.common.utils.Utils.murmur2), as a signed 32-bit number. */
export function murmur2(data: Uint8Array, length: number = data.length): number {
  let h = SEED ^ length;
  const whole = length & ~3;
  for (let i = 0; i < whole; i += 4) {
    let k =
      (data[i] as number) |
      ((data[i + 1] as number) << 8) |
      ((data[i + 2] as number) << 16) |
      ((data[i + 3] as number) << 24);
    k = Math.imul(k, M);
    k ^= k >>> 24;
    k = Math.imul(k, M);
    h = Math.imul(h, M) ^ k;
  }
  const rest = length & 3;
  if (rest === 3) h ^= (data[whole + 2] as number) << 16;
  if (rest >= 2) h ^= (data[whole + 1] as number) << 8;
  if (rest >= 1) h = Math.imul(h ^ (data[whole] as number), M);
  h ^= h >>> 13;
  h = Math.imul(h, M);
  h ^= h >>> 15;
  return h;
}

/** The partition of a key, as Kafka's default partitioner: `(murmur2(key) & 0x7fffffff) % partitions`. */
export function partitionForKey(
  key: Uint8Array,
  partitions: number,
  length: number = key.length,
): number {
  return (murmur2(key, length) & 0x7fffffff) % partitions;
}

/** Partitions keys, with room of its own to encode text in, so that no buffer is made for each record. */
export class KeyPartitioner {
  #scratch: Uint8Array = new Uint8Array(256);

  partition(key: BytesLike, partitions: number): number {
    if (typeof key !== "string") return partitionForKey(key, partitions);
    // UTF-8 takes at most three bytes for each UTF-16 unit.
    if (this.#scratch.length < key.length * 3) this.#scratch = new Uint8Array(key.length * 3);
    return partitionForKey(this.#scratch, partitions, encodeInto(key, this.#scratch));
  }
}

const encoder = new TextEncoder();

/** Most keys are short and ASCII: a loop is several times faster for them than a call of TextEncoder. */
function encodeInto(text: string, into: Uint8Array): number {
  const length = text.length;
  if (length > 64) return encoder.encodeInto(text, into).written;
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7f) return encoder.encodeInto(text, into).written;
    into[i] = unit;
  }
  return length;
}
