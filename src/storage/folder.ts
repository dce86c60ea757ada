/**
 * Objects as files of a folder: key `a/b` is the file `<dir>/a/b`. An object appears under its key whole and durable or not at
 * all: it is written under a name that no key can have, synced, linked to its name (which never overwrites), and its
 * directory synced. Also reads what the folder sink appends.
 */
import { open, readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { closed, type ErrorOutcome } from "../core/errors.ts";
import { createUuid } from "../core/ids.ts";
import { folderError, systemCode } from "./folder-errors.ts";
import { type FolderFiles, syncDirs, systemFiles, writeFully } from "./folder-files.ts";
import { checkKey } from "./object-key.ts";
import type { ByteRange, ObjectInfo, ObjectStore } from "./object-store.ts";
import { checkRange, checkSignal, objectExists } from "./store-errors.ts";

export interface FolderStoreComponents {
  /** Default: the real file system. */
  readonly files?: FolderFiles | undefined;
}

/** `dir` is made at the first `put`. The file system must have hard links. */
export function createFolderStore(
  dir: string,
  components: FolderStoreComponents = {},
): ObjectStore {
  return new FolderStore(dir, components.files ?? systemFiles);
}

class FolderStore implements ObjectStore {
  readonly kind = "folder";
  readonly #dir: string;
  readonly #files: FolderFiles;
  #closed = false;

  constructor(dir: string, files: FolderFiles) {
    this.#dir = dir;
    this.#files = files;
  }

  async put(key: string, parts: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
    const path = this.#path(key, "put", signal);
    const dir = dirname(path);
    const unfinished = join(dir, `.${createUuid()}`);
    let outcome: ErrorOutcome = "none";
    try {
      await this.#files.makeDir(dir);
      try {
        await this.#write(unfinished, parts);
        checkSignal(signal, `storing object ${key}`);
        await this.#link(unfinished, path, key);
        outcome = "unknown";
      } finally {
        await this.#files.remove(unfinished).catch(() => {});
      }
      await syncDirs(this.#files, dir, this.#dir);
    } catch (error) {
      throw folderError(error, { doing: "storing object", path, outcome });
    }
  }

  async get(key: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    const path = this.#path(key, "get", signal);
    try {
      const file = await open(path, "r");
      try {
        const { size } = await file.stat();
        const { start, length } = range ?? { start: 0, length: size };
        checkRange(key, size, { start, length });
        const bytes = new Uint8Array(length);
        for (let at = 0; at < length; ) {
          const { bytesRead } = await file.read(bytes, at, length - at, start + at);
          // Cut short since it was measured.
          if (bytesRead === 0) checkRange(key, start + at, { start, length });
          at += bytesRead;
        }
        return bytes;
      } finally {
        await file.close();
      }
    } catch (error) {
      throw folderError(error, { doing: "reading object", path, key });
    }
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    const path = this.#path(key, "head", signal);
    return this.#info(path, key);
  }

  async *list(
    prefix: string,
    startAfter?: string,
    signal?: AbortSignal,
  ): AsyncGenerator<ObjectInfo, void, undefined> {
    this.#check("list", signal);
    yield* this.#walk("", prefix, startAfter ?? "", signal);
  }

  async delete(keys: readonly string[], signal?: AbortSignal): Promise<void> {
    const paths = keys.map((key) => this.#path(key, "delete", signal));
    for (const path of paths) {
      try {
        await this.#files.remove(path);
      } catch (error) {
        const code = systemCode(error);
        if (code === "ENOENT" || code === "ENOTDIR") continue;
        throw folderError(error, { doing: "deleting object", path, outcome: "unknown" });
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  async #write(path: string, parts: readonly Uint8Array[]): Promise<void> {
    const file = await this.#files.create(path);
    try {
      await writeFully(file, parts, 0);
      await file.datasync();
    } finally {
      await file.close();
    }
  }

  async #link(unfinished: string, path: string, key: string): Promise<void> {
    try {
      await this.#files.link(unfinished, path);
    } catch (error) {
      if (systemCode(error) === "EEXIST") throw objectExists(key);
      throw error;
    }
  }

  /** In key order: a directory is sorted with its slash, as its keys are. */
  async *#walk(
    parent: string,
    prefix: string,
    startAfter: string,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<ObjectInfo, void, undefined> {
    for (const key of await this.#names(parent)) {
      if (!key.startsWith(prefix) && !(key.endsWith("/") && prefix.startsWith(key))) continue;
      if (key.endsWith("/")) {
        const allBefore = key < startAfter && !startAfter.startsWith(key);
        if (!allBefore) yield* this.#walk(key, prefix, startAfter, signal);
        continue;
      }
      if (key <= startAfter) continue;
      this.#check("list", signal);
      const info = await this.#info(join(this.#dir, key), key);
      if (info !== undefined) yield info;
    }
  }

  async #names(parent: string): Promise<string[]> {
    const path = join(this.#dir, parent);
    try {
      const entries = await readdir(path, { withFileTypes: true });
      return entries
        .filter((entry) => !entry.name.startsWith(".") && (entry.isFile() || entry.isDirectory()))
        .map((entry) => `${parent}${entry.name}${entry.isDirectory() ? "/" : ""}`)
        .sort();
    } catch (error) {
      if (systemCode(error) === "ENOENT") return [];
      throw folderError(error, { doing: "listing", path });
    }
  }

  async #info(path: string, key: string): Promise<ObjectInfo | undefined> {
    try {
      const found = await stat(path);
      if (!found.isFile()) return undefined;
      return { key, size: found.size, modifiedAtMs: Math.floor(found.mtimeMs) };
    } catch (error) {
      const code = systemCode(error);
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      throw folderError(error, { doing: "looking at object", path, key });
    }
  }

  #path(key: string, doing: string, signal: AbortSignal | undefined): string {
    this.#check(doing, signal);
    checkKey(key);
    return join(this.#dir, key);
  }

  #check(doing: string, signal: AbortSignal | undefined): void {
    if (this.#closed) throw closed(`folder store ${this.#dir}`);
    checkSignal(signal, `folder store's ${doing}`);
  }
}
