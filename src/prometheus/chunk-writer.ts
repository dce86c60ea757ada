/** Gathers lines into chunks of bytes, so that no text of a whole scrape is ever one string. Called by the serializer. */

/** Small enough to be encoded in a fraction of a millisecond, large enough that a chunk's own cost does not count. */
const chunkCharacters = 32_768;

export class ChunkWriter {
  readonly #encoder = new TextEncoder();
  #text = "";
  #ready: Uint8Array<ArrayBuffer>[] = [];

  add(text: string): void {
    this.#text += text;
    if (this.#text.length >= chunkCharacters) this.#close();
  }

  /** True once there are full chunks to take. */
  get full(): boolean {
    return this.#ready.length > 0;
  }

  /** Takes the full chunks. */
  take(): Uint8Array<ArrayBuffer>[] {
    const ready = this.#ready;
    this.#ready = [];
    return ready;
  }

  /** Takes everything. */
  end(): Uint8Array<ArrayBuffer>[] {
    if (this.#text !== "") this.#close();
    return this.take();
  }

  #close(): void {
    this.#ready.push(this.#encoder.encode(this.#text));
    this.#text = "";
  }
}
