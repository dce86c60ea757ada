/** An object store and its sink in memory, with a switch for every failure: what the agent's tests inject. */
import { StreamHouseError } from "../../../src/core/errors.ts";
import type { ChunkLocation } from "../../../src/format/chunk.ts";
import type { ByteRange, ObjectInfo, ObjectStore } from "../../../src/storage/object-store.ts";
import type { FlushName, SegmentSink } from "../../../src/storage/segment-sink.ts";
import { objectExists } from "../../../src/storage/store-errors.ts";

export class MemoryStore implements ObjectStore {
  readonly kind = "memory";
  readonly objects: Map<string, Uint8Array> = new Map();
  gets = 0;

  async put(key: string, parts: readonly Uint8Array[]): Promise<void> {
    this.objects.set(key, join(parts));
  }

  async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    this.gets++;
    const bytes = this.objects.get(key);
    if (bytes === undefined) throw failure("OBJECT_NOT_FOUND", `no object ${key}`);
    return range ? bytes.slice(range.start, range.start + range.length) : bytes.slice();
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    const bytes = this.objects.get(key);
    return bytes && { key, size: bytes.length, modifiedAtMs: 0 };
  }

  /** All of them are very old. */
  async *list(prefix: string): AsyncIterable<ObjectInfo> {
    for (const [key, bytes] of [...this.objects].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (key.startsWith(prefix)) yield { key, size: bytes.length, modifiedAtMs: 0 };
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) this.objects.delete(key);
  }

  async close(): Promise<void> {}
}

/** What happens to one append. `hold` waits for `release()`. */
export type AppendFate = "ok" | "fail" | "full" | "taken" | "hold";

/** One object for each chunk, or (with `file`) chunks behind each other in one object, as on a folder. */
export class TestSink implements SegmentSink {
  readonly concurrency: number;
  readonly #store: MemoryStore;
  readonly #file: string | undefined;
  /** Fates of the next appends; `ok` when empty. */
  readonly fates: AppendFate[] = [];
  readonly sequences: number[] = [];
  #held: { go: () => void; fail: (error: unknown) => void }[] = [];

  constructor(store: MemoryStore, options: { concurrency?: number; file?: string } = {}) {
    this.#store = store;
    this.#file = options.file;
    this.concurrency = options.concurrency ?? 1;
  }

  get held(): number {
    return this.#held.length;
  }

  /** Lets the appends go on that are held. */
  release(): void {
    for (const { go } of this.#held.splice(0)) go();
  }

  /** Makes them fail instead. */
  failHeld(code: "STORE_UNAVAILABLE" | "STORE_FULL" = "STORE_UNAVAILABLE"): void {
    const error = failure(code, "injected: fdatasync failed");
    for (const { fail } of this.#held.splice(0)) fail(error);
  }

  async append(
    parts: readonly Uint8Array[],
    flush: FlushName,
    signal?: AbortSignal,
  ): Promise<ChunkLocation> {
    this.sequences.push(flush.sequence);
    const fate = this.fates.shift() ?? "ok";
    if (fate === "hold") {
      await new Promise<void>((resolve, reject) => {
        this.#held.push({ go: resolve, fail: reject });
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
    }
    await Promise.resolve();
    if (fate === "fail") throw failure("STORE_UNAVAILABLE", "injected: the disk does not answer");
    if (fate === "taken") throw objectExists("injected");
    if (fate === "full") throw failure("STORE_FULL", "injected: no space left on device");
    const bytes = join(parts);
    // As real ones are named, but for the attempt's number in the last three digits.
    const attempt = String(flush.sequence * 1_000 + this.sequences.length).padStart(15, "0");
    const key = this.#file ?? `segments/2023-11-14/${flush.runId}-${attempt}.seg`;
    const before = this.#store.objects.get(key) ?? new Uint8Array(0);
    this.#store.objects.set(key, join([before, bytes]));
    return { key, position: before.length, length: bytes.length };
  }

  async close(): Promise<void> {}
}

function failure(
  code: "STORE_UNAVAILABLE" | "STORE_FULL" | "OBJECT_NOT_FOUND",
  message: string,
): StreamHouseError {
  return new StreamHouseError({ code, kind: "unavailable", message, outcome: "unknown" });
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, it) => sum + it.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
