/**
 * How many chunks of each object (or file) somebody still needs, so that retention deletes an object when the last one is
 * dead and never before: on a folder many chunks share a file. Counted: committed flushes, and chunks that are
 * written and wait for their commit. Called by the log index, the flusher and retention.
 */

export class SegmentReferences {
  readonly #counts = new Map<string, number>();
  readonly #unneeded = new Set<string>();
  #newest = "";

  /** A chunk lies in the object. */
  retain(key: string): void {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    this.#unneeded.delete(key);
  }

  /** The chunk is dead, or was never committed. */
  release(key: string): void {
    const left = (this.#counts.get(key) ?? 0) - 1;
    if (left > 0) {
      this.#counts.set(key, left);
      return;
    }
    this.#counts.delete(key);
    this.#unneeded.add(key);
  }

  /** The sink's latest chunk went there: more may follow into the same file, so it is not to be deleted yet. */
  written(key: string): void {
    this.#newest = key;
  }

  /** Objects that nothing refers to any more, each answered once. */
  takeUnneeded(): readonly string[] {
    const keys = [...this.#unneeded].filter((key) => key !== this.#newest);
    for (const key of keys) this.#unneeded.delete(key);
    return keys;
  }

  /** They could not be deleted: answer them again. */
  giveBack(keys: readonly string[]): void {
    for (const key of keys) if (!this.#counts.has(key)) this.#unneeded.add(key);
  }

  get size(): number {
    return this.#counts.size;
  }
}
