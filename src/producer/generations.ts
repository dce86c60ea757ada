/**
 * How a flush knows its own end although sending goes on. Each flush begins a generation; batches and waiting calls belong to the
 * generation of their first record, and a flush is over when nothing of its generation or an older one is left.
 */
export class Generations {
  #current = 0;
  readonly #left = new Map<number, number>();
  #flushes: { readonly generation: number; readonly done: () => void }[] = [];

  /** What records that are sent now belong to. */
  get current(): number {
    return this.#current;
  }

  enter(generation: number): void {
    this.#left.set(generation, (this.#left.get(generation) ?? 0) + 1);
  }

  leave(generation: number): void {
    const left = (this.#left.get(generation) ?? 0) - 1;
    if (left > 0) {
      this.#left.set(generation, left);
      return;
    }
    this.#left.delete(generation);
    if (this.#flushes.length > 0) this.#endFlushes();
  }

  /** Begins the next generation and resolves when the ones before it are over. */
  next(): Promise<void> {
    const generation = this.#current++;
    if (this.#left.size === 0) return Promise.resolve();
    return new Promise((done) => this.#flushes.push({ generation, done }));
  }

  #endFlushes(): void {
    const oldest = Math.min(...this.#left.keys());
    const over = this.#flushes.filter((flush) => flush.generation < oldest);
    this.#flushes = this.#flushes.filter((flush) => flush.generation >= oldest);
    for (const flush of over) flush.done();
  }
}
