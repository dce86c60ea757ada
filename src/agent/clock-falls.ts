/**
 * Where in a log the append times go back, because an agent's clock was set or another agent's is behind. Between two such places they
 * only rise. Kept are those that nothing later is older than, so their times rise from one to the next. Part of `PartitionLog`.
 */
interface Fall {
  /** Of the first record after the clock had gone back. */
  readonly offset: number;
  readonly timeMs: number;
}

export class ClockFalls {
  #falls: Fall[] = [];

  /** Offsets come in order. */
  add(offset: number, timeMs: number): void {
    while ((this.#falls.at(-1)?.timeMs ?? -1) >= timeMs) this.#falls.pop();
    this.#falls.push({ offset, timeMs });
  }

  /** The oldest append time behind a fall after `offset`; undefined if there is none. */
  after(offset: number): number | undefined {
    return this.#falls.find((it) => it.offset > offset)?.timeMs;
  }

  clear(): void {
    this.#falls = [];
  }
}
