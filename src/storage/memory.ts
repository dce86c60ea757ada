/**
 * An object store in memory, for tests and for houses that need no durability. It must behave like the others to the byte
 * (never overwrite, keep no reference to what it was given), because the same contract suite runs on all of them.
 */
import { type Clock, systemClock } from "../core/clock.ts";
import { closed } from "../core/errors.ts";
import { crc32c } from "../format/crc32c.ts";
import { checkKey } from "./object-key.ts";
import type { ByteRange, ObjectInfo, ObjectStore } from "./object-store.ts";
import { checkRange, checkSignal, objectExists, objectNotFound } from "./store-errors.ts";

interface StoredObject {
  readonly bytes: Uint8Array;
  readonly modifiedAtMs: number;
}

/** Holds everything until it is closed. `clock` stamps `modifiedAtMs`; default: the process's own. */
export function createMemoryStore(components: { readonly clock?: Clock } = {}): ObjectStore {
  return new MemoryStore(components.clock ?? systemClock);
}

class MemoryStore implements ObjectStore {
  readonly kind = "memory";
  readonly #clock: Clock;
  readonly #objects = new Map<string, StoredObject>();
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async put(key: string, parts: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
    this.#check(signal, "put");
    checkKey(key);
    if (this.#objects.has(key)) throw objectExists(key);
    this.#objects.set(key, { bytes: concatenate(parts), modifiedAtMs: this.#clock.now() });
  }

  async get(key: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    this.#check(signal, "get");
    checkKey(key);
    const object = this.#objects.get(key);
    if (object === undefined) throw objectNotFound(key);
    if (range === undefined) return object.bytes.slice();
    checkRange(key, object.bytes.length, range);
    return object.bytes.slice(range.start, range.start + range.length);
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    this.#check(signal, "head");
    checkKey(key);
    const object = this.#objects.get(key);
    const info = this.#info(key);
    if (object === undefined || info === undefined) return undefined;
    return { ...info, crc32c: crc32c(object.bytes) };
  }

  async *list(
    prefix: string,
    startAfter?: string,
    signal?: AbortSignal,
  ): AsyncGenerator<ObjectInfo, void, undefined> {
    this.#check(signal, "list");
    const keys = [...this.#objects.keys()].filter(
      (key) => key.startsWith(prefix) && (startAfter === undefined || key > startAfter),
    );
    for (const key of keys.sort()) {
      this.#check(signal, "list");
      const info = this.#info(key);
      if (info !== undefined) yield info;
    }
  }

  async delete(keys: readonly string[], signal?: AbortSignal): Promise<void> {
    this.#check(signal, "delete");
    for (const key of keys) checkKey(key);
    for (const key of keys) this.#objects.delete(key);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#objects.clear();
  }

  #info(key: string): ObjectInfo | undefined {
    const object = this.#objects.get(key);
    if (object === undefined) return undefined;
    return { key, size: object.bytes.length, modifiedAtMs: object.modifiedAtMs };
  }

  #check(signal: AbortSignal | undefined, doing: string): void {
    if (this.#closed) throw closed("memory store");
    checkSignal(signal, `memory store's ${doing}`);
  }
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
