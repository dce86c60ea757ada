/** First in, first out, without moving what is left at each step (an array's `shift` does). */

/** A queue of things that are never `undefined`. Its owner bounds its length. */
export class Queue<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** The oldest one, which stays. */
  peek(): T | undefined {
    return this.#items[this.#head];
  }

  /** Takes the oldest one out. */
  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    // Let go of it at once, and of the front of the array when half of it is empty.
    this.#items[this.#head] = undefined;
    this.#head++;
    if (this.#head === this.#items.length) this.clear();
    else if (this.#head >= 1_024 && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** From the oldest on; nothing may be pushed or taken meanwhile. */
  *[Symbol.iterator](): Generator<T, void, undefined> {
    for (let i = this.#head; i < this.#items.length; i++) yield this.#items[i] as T;
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }
}
