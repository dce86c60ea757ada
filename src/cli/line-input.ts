/**
 * Cuts bytes into lines without decoding them, in bounded memory. Never holds more than one chunk and one line up to the
 * limit. Called by `produce.ts` and the main job.
 */

/** One line; its number counts from 1. */
export type Line =
  | { readonly number: number; readonly bytes: Uint8Array }
  /** It was longer than the limit: `length` bytes, thrown away. */
  | { readonly number: number; readonly bytes: undefined; readonly length: number };

const NEWLINE = 10;

/**
 * The lines of each chunk, as soon as the chunk is there. A line is everything up to a newline, byte for byte (a carriage
 * return is part of it); what follows the last newline is a line if it is not empty.
 */
export async function* readLines(
  chunks: AsyncIterable<Uint8Array>,
  lineBytesMax: number,
): AsyncGenerator<readonly Line[]> {
  const splitter = new LineSplitter(lineBytesMax);
  for await (const chunk of chunks) {
    const lines = splitter.push(chunk);
    if (lines.length > 0) yield lines;
  }
  const last = splitter.end();
  if (last !== undefined) yield [last];
}

class LineSplitter {
  readonly #max: number;
  #number = 0;
  /** Pieces of the line that has begun, as long as it is within the limit. */
  #pieces: Uint8Array[] = [];
  #length = 0;

  constructor(max: number) {
    this.#max = max;
  }

  push(chunk: Uint8Array): Line[] {
    const lines: Line[] = [];
    let from = 0;
    for (;;) {
      const at = chunk.indexOf(NEWLINE, from);
      if (at < 0) break;
      this.#take(chunk.subarray(from, at));
      lines.push(this.#finish());
      from = at + 1;
    }
    if (from < chunk.length) this.#take(chunk.subarray(from));
    return lines;
  }

  end(): Line | undefined {
    return this.#length > 0 ? this.#finish() : undefined;
  }

  #take(piece: Uint8Array): void {
    this.#length += piece.length;
    if (this.#length > this.#max) this.#pieces = [];
    else if (piece.length > 0) this.#pieces.push(piece);
  }

  #finish(): Line {
    this.#number += 1;
    const length = this.#length;
    const line: Line =
      length > this.#max
        ? { number: this.#number, bytes: undefined, length }
        : { number: this.#number, bytes: join(this.#pieces, length) };
    this.#pieces = [];
    this.#length = 0;
    return line;
  }
}

function join(pieces: readonly Uint8Array[], length: number): Uint8Array {
  const only = pieces[0];
  if (pieces.length === 1 && only !== undefined) return only;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
