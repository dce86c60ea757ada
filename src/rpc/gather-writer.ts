/**
 * A protobuf writer for messages that carry batches. The generated encoders work on it unchanged; large byte fields are kept as
 * references until the end and then copied once, to where they belong. (The stock writer copies them into its own buffer, moves
 * them again for the length of each enclosing message, and copies the whole at the end: for a batch of 1 MiB in a stream's frame that
 * is four copies.) The bytes are the same. Used by `rpc/methods.ts` and `client/grpc-produce-channel.ts`.
 */
import { BinaryWriter } from "@bufbuild/protobuf/wire";

/** Byte fields below this are cheaper to copy with their neighbours than to keep apart. */
const APART_BYTES_MIN = 512;
const NOTHING = new Uint8Array(0);

export class GatherWriter extends BinaryWriter {
  readonly #parts: Uint8Array[] = [];
  #size = 0;
  /** Open sub-messages: the index of the part that will be the length, and the size when it was opened. */
  readonly #forks: { readonly index: number; readonly size: number }[] = [];

  override bytes(value: Uint8Array): this {
    if (value.length < APART_BYTES_MIN) return super.bytes(value);
    this.uint32(value.length);
    this.#settle();
    this.#parts.push(value);
    this.#size += value.length;
    return this;
  }

  override fork(): this {
    this.#settle();
    this.#forks.push({ index: this.#parts.length, size: this.#size });
    this.#parts.push(NOTHING);
    return this;
  }

  override join(): this {
    this.#settle();
    const fork = this.#forks.pop();
    if (fork === undefined) throw new RangeError("join() without fork()");
    super.uint32(this.#size - fork.size);
    const prefix = super.finish();
    this.#parts[fork.index] = prefix;
    this.#size += prefix.length;
    return this;
  }

  /** Bytes that `finish()` will answer. */
  size(): number {
    this.#settle();
    return this.#size;
  }

  /** The whole message in memory of its own, exactly as large. The writer is then empty. */
  override finish(): Uint8Array<ArrayBuffer> {
    const whole = new Uint8Array(this.size());
    this.copyTo(whole, 0);
    this.#parts.length = 0;
    this.#size = 0;
    return whole;
  }

  /** Copies the whole message, `size()` bytes, into `target`. */
  copyTo(target: Uint8Array, at: number): void {
    this.#settle();
    let next = at;
    for (const part of this.#parts) {
      target.set(part, next);
      next += part.length;
    }
  }

  #settle(): void {
    const small = super.finish();
    if (small.length === 0) return;
    this.#parts.push(small);
    this.#size += small.length;
  }
}
