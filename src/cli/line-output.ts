/**
 * Lines to standard output, and how many of them it has accepted: what a consumer may commit. A line is accepted when the
 * operating system has taken all of it. Called by `consume.ts`, which commits by it, and by the other commands.
 */

/** The part of a Node writable stream that is used here (`process.stdout` on all three runtimes). */
export interface WritableLike {
  write(chunk: Uint8Array | string, done: (error?: Error | null) => void): boolean;
  on(event: "error", listener: (error: Error) => void): unknown;
  once(event: "drain", listener: () => void): unknown;
  off(event: "drain", listener: () => void): unknown;
}

/** Lines to a reader, and how many of them it has taken. */
export interface LineOutput {
  /** The reader is gone, or the output broke: nothing more will be accepted. */
  readonly closed: boolean;
  /** Why it broke; undefined as long as it works and when the reader simply went away. */
  readonly failure: Error | undefined;
  /**
   * Writes lines in order, a newline after each, no faster than they are taken. Resolves with how many were accepted: all, or
   * fewer if the output closed or `stop` aborted (then no further line is begun, and a line under way gets `stopWaitMs`).
   */
  write(lines: readonly (string | Uint8Array)[], stop?: AbortSignal): Promise<number>;
}

/** How long lines that were given to a reader that does not read may take to be accepted once it is time to stop. */
const stopWaitMs = 2_000;

/** Lines that may be given and not accepted: enough to keep a quick reader busy. */
const unacceptedMax = 1_000;

const NEWLINE = Uint8Array.of(10);

/** One at most for each stream. */
export function createLineOutput(stream: WritableLike): LineOutput {
  return new StreamLineOutput(stream);
}

class StreamLineOutput implements LineOutput {
  readonly #stream: WritableLike;
  #closed = false;
  #failure: Error | undefined;
  #wake: () => void = () => {};

  constructor(stream: WritableLike) {
    this.#stream = stream;
    stream.on("error", (error) => this.#onError(error));
  }

  get closed(): boolean {
    return this.#closed;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  async write(lines: readonly (string | Uint8Array)[], stop?: AbortSignal): Promise<number> {
    let given = 0;
    let accepted = 0;
    let room = true;
    const onDrain = () => {
      room = true;
      this.#wake();
    };
    const onAbort = () => this.#wake();
    const done = (error?: Error | null) => {
      // A stream accepts in order: after the first failure nothing counts any more.
      if (error === undefined || error === null) accepted += 1;
      else this.#onError(error);
      this.#wake();
    };
    stop?.addEventListener("abort", onAbort);
    try {
      for (const line of lines) {
        while (!this.#closed && !stop?.aborted && (!room || given - accepted >= unacceptedMax)) {
          await this.#woken();
        }
        if (this.#closed || stop?.aborted) break;
        given += 1;
        room = this.#stream.write(withNewline(line), done);
        if (!room) this.#stream.once("drain", onDrain);
      }
      await this.#settle(() => accepted === given, stop);
      return accepted;
    } finally {
      stop?.removeEventListener("abort", onAbort);
      this.#stream.off("drain", onDrain);
    }
  }

  /** Waits until all given lines are accepted, the output closes, or a stop has waited long enough. */
  async #settle(complete: () => boolean, stop: AbortSignal | undefined): Promise<void> {
    let expired = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    while (!complete() && !this.#closed && !expired) {
      if (stop?.aborted && timer === undefined) {
        timer = setTimeout(() => {
          expired = true;
          this.#wake();
        }, stopWaitMs);
      }
      await this.#woken();
    }
    clearTimeout(timer);
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #onError(error: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    if ((error as { code?: string }).code !== "EPIPE") this.#failure = error;
    this.#wake();
  }
}

function withNewline(line: string | Uint8Array): string | Uint8Array {
  if (typeof line === "string") return `${line}\n`;
  const whole = new Uint8Array(line.length + 1);
  whole.set(line);
  whole.set(NEWLINE, line.length);
  return whole;
}
