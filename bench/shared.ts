/** Something costly that several contenders use in turn: the first to enter opens it, the last to leave closes it. */
export class Shared<T extends { close(): Promise<void> }> {
  readonly #open: () => Promise<T>;
  #users = 0;
  #opened: Promise<T> | undefined;

  constructor(open: () => Promise<T>) {
    this.#open = open;
  }

  enter(): Promise<T> {
    this.#users++;
    this.#opened ??= this.#open();
    return this.#opened;
  }

  async leave(): Promise<void> {
    if (--this.#users > 0) return;
    const opened = this.#opened;
    this.#opened = undefined;
    await (await opened)?.close();
  }
}
