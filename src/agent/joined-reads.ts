/**
 * One read for all who ask the same at the same time. Nothing is kept: each caller gets a read that began after its call, so that
 * what it did before is in it; of many callers at most one read is under way and one is about to begin. Called by the admin calls.
 */

export class JoinedReads<T> {
  readonly #running = new Map<string, Promise<T>>();
  readonly #next = new Map<string, Promise<T>>();

  read(key: string, read: () => Promise<T>): Promise<T> {
    const running = this.#running.get(key);
    if (running === undefined) return this.#begin(key, read);
    let next = this.#next.get(key);
    if (next === undefined) {
      const begin = (): Promise<T> => {
        this.#next.delete(key);
        return this.#begin(key, read);
      };
      next = running.then(begin, begin);
      this.#next.set(key, next);
    }
    return next;
  }

  #begin(key: string, read: () => Promise<T>): Promise<T> {
    const running = read().finally(() => {
      if (this.#running.get(key) === running) this.#running.delete(key);
    });
    this.#running.set(key, running);
    return running;
  }
}
