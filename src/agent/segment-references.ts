/**
 * Which objects (or files) this process still has to do with, so that nobody deletes them though metadata does not know them yet, or
 * not any more: chunks that are written and wait for their commit, and the file that the next chunk may go to. What is committed is
 * metadata's to count. Called by flusher and log index; asked by retention and sweeper before they delete.
 */

interface Count {
  chunks: number;
  /** A chunk in it was committed. */
  committed: boolean;
}

/** Objects without a commit that are remembered; the others are left to the orphan sweeper. */
const ABANDONED_MAX = 1_000;

export class SegmentReferences {
  readonly #counts = new Map<string, Count>();
  readonly #abandoned = new Set<string>();
  #newest = "";

  /** A chunk lies in the object and waits for its commit. */
  retain(key: string): void {
    const count = this.#counts.get(key);
    if (count === undefined) this.#counts.set(key, { chunks: 1, committed: false });
    else count.chunks++;
    this.#abandoned.delete(key);
  }

  /** The chunk is committed, or never will be. One of unknown outcome is never released. */
  release(key: string): void {
    const count = this.#counts.get(key);
    if (count === undefined) return;
    count.chunks--;
    if (count.chunks > 0) return;
    this.#counts.delete(key);
    if (!count.committed && this.#abandoned.size < ABANDONED_MAX) this.#abandoned.add(key);
  }

  /** A chunk in the object was committed. */
  committed(key: string): void {
    const count = this.#counts.get(key);
    if (count !== undefined) count.committed = true;
  }

  /** The sink's latest chunk went there: more may follow into the same file, so it is not to be deleted yet. */
  written(key: string): void {
    this.#newest = key;
  }

  /** Whether something of this process may yet be committed there. */
  isInUse(key: string): boolean {
    return key === this.#newest || this.#counts.has(key);
  }

  /** Objects that were written for nothing, each answered once: nothing in them was committed lately, at least. */
  takeAbandoned(): readonly string[] {
    const keys = [...this.#abandoned].filter((key) => !this.isInUse(key));
    for (const key of keys) this.#abandoned.delete(key);
    return keys;
  }

  /** They could not be dealt with: answer them again. */
  giveBack(keys: readonly string[]): void {
    for (const key of keys) {
      if (!this.#counts.has(key) && this.#abandoned.size < ABANDONED_MAX) this.#abandoned.add(key);
    }
  }
}
