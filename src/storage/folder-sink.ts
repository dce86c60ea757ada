/**
 * The chunks of one run, appended to files of its own: one gathered write and one fdatasync for each, no file for each. What
 * it answers is durable, the directories above a new file too. After any failed write or sync the file is closed for
 * ever and nothing is tried again on that descriptor: after a failed fsync the kernel may have dropped the pages and
 * say "ok" the next time (https://lwn.net/Articles/752063/). The next append begins a new file. Called by the flusher;
 * read back through the folder store on the same directory.
 */
import { dirname, join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { closed, type ErrorOutcome } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { ChunkLocation } from "../format/chunk.ts";
import { segmentKey } from "../format/keys.ts";
import { folderError } from "./folder-errors.ts";
import {
  type FolderFiles,
  syncDirs,
  systemFiles,
  type WritableFile,
  writeFully,
} from "./folder-files.ts";
import type { FlushName, SegmentSink } from "./segment-sink.ts";
import { checkSignal } from "./store-errors.ts";

/** Where chunks are appended. */
export interface FolderSinkComponents {
  /** The same directory as the folder store's: chunks are read through it by key. */
  readonly dir: string;
  readonly clock: Clock;
  /** Default: the real file system. */
  readonly files?: FolderFiles | undefined;
}

export interface FolderSinkOptions {
  /** A file is rolled when it would grow beyond this. Default `limits.segmentFileBytesMax`. */
  readonly fileBytesMax?: number | undefined;
}

/**
 * Nothing is opened before the first append. The signal of `append` counts until the write begins: a write that is
 * under way reads the caller's bytes, so it is answered when it has ended, however it ends.
 */
export function createFolderSink(
  components: FolderSinkComponents,
  options: FolderSinkOptions = {},
): SegmentSink {
  return new FolderSink(components, options.fileBytesMax ?? limits.segmentFileBytesMax);
}

interface OpenFile {
  readonly runId: string;
  readonly key: string;
  readonly path: string;
  readonly file: WritableFile;
  /** Where the next chunk goes. */
  size: number;
}

class FolderSink implements SegmentSink {
  /** One file is written in order. */
  readonly concurrency = 1;
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #files: FolderFiles;
  readonly #fileBytesMax: number;
  #current: OpenFile | undefined;
  /** Appends run one behind the other, whatever the caller does. */
  #tail: Promise<unknown> = Promise.resolve();
  readonly #closing = new Set<Promise<void>>();
  #closed = false;

  constructor(components: FolderSinkComponents, fileBytesMax: number) {
    this.#dir = components.dir;
    this.#clock = components.clock;
    this.#files = components.files ?? systemFiles;
    this.#fileBytesMax = fileBytesMax;
  }

  append(
    parts: readonly Uint8Array[],
    flush: FlushName,
    signal?: AbortSignal,
  ): Promise<ChunkLocation> {
    if (this.#closed) return Promise.reject(closed("this segment sink"));
    const append = this.#tail.then(() => this.#append(parts, flush, signal));
    this.#tail = append.catch(() => {});
    return append;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#tail;
    this.#retire();
    await Promise.all(this.#closing);
  }

  async #append(
    parts: readonly Uint8Array[],
    flush: FlushName,
    signal: AbortSignal | undefined,
  ): Promise<ChunkLocation> {
    checkSignal(signal, `writing flush ${flush.sequence}`);
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const current = await this.#fileFor(length, flush);
    try {
      await writeFully(current.file, parts, current.size);
      await current.file.datasync();
    } catch (error) {
      this.#retire();
      throw this.#failure(error, current.path, "unknown");
    }
    const position = current.size;
    current.size += length;
    return { key: current.key, position, length };
  }

  async #fileFor(length: number, { runId, sequence }: FlushName): Promise<OpenFile> {
    const current = this.#current;
    const fits = current !== undefined && current.size + length <= this.#fileBytesMax;
    // A file's name says which run wrote it.
    if (fits && current.runId === runId) return current;
    this.#retire();
    const key = segmentKey("", this.#clock.now(), runId, sequence);
    const path = join(this.#dir, key);
    const dir = dirname(path);
    try {
      await this.#files.makeDir(dir);
      const file = await this.#files.create(path);
      this.#current = { runId, key, path, file, size: 0 };
      await syncDirs(this.#files, dir, this.#dir);
      return this.#current;
    } catch (error) {
      this.#retire();
      throw this.#failure(error, path, "none");
    }
  }

  /** Closes the current file in the background. What was answered is synced: an error of close changes nothing. */
  #retire(): void {
    const current = this.#current;
    if (current === undefined) return;
    this.#current = undefined;
    const closing = current.file
      .close()
      .catch(() => {})
      .finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  #failure(error: unknown, path: string, outcome: ErrorOutcome): Error {
    return folderError(error, { doing: "appending to segment", path, outcome });
  }
}
