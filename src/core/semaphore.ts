/** A limit on how much is done at once; the others wait in order. Called around reads that take memory. */
import { Queue } from "./queue.ts";

export class Semaphore {
  #free: number;
  readonly #waiting = new Queue<() => void>();

  constructor(permits: number) {
    this.#free = permits;
  }

  /** Runs `work` when there is a permit. What it throws is passed on. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      // The permit goes to the next one directly, so nobody can overtake it.
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
