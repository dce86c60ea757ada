/** The memory that accepted, unsettled batches may hold: the agent's back-pressure. Called by the append gate and the flusher. */

export class ByteBudget {
  readonly max: number;
  #used = 0;

  constructor(max: number) {
    this.max = max;
  }

  get used(): number {
    return this.#used;
  }

  /** True, and taken, if there is room (or nothing is taken yet: the largest request must pass at some time). */
  take(bytes: number): boolean {
    if (this.#used > 0 && this.#used + bytes > this.max) return false;
    this.#used += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#used -= bytes;
  }
}

/**
 * The memory that each of these byte arrays keeps alive: a view of a received message holds the whole message, shared
 * with the other views of it.
 */
export function chargesOf(arrays: readonly Uint8Array[]): readonly number[] {
  if (arrays.length === 1) {
    const only = arrays[0] as Uint8Array;
    return [only.buffer.byteLength];
  }
  const sharers = new Map<ArrayBufferLike, number>();
  for (const it of arrays) sharers.set(it.buffer, (sharers.get(it.buffer) ?? 0) + 1);
  return arrays.map((it) =>
    Math.max(it.length, Math.ceil(it.buffer.byteLength / (sharers.get(it.buffer) ?? 1))),
  );
}
