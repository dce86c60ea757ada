/**
 * The file operations that make bytes durable, as a small port: folder store, sink and lock write through it, and tests inject
 * a full disk, failed syncs and short writes. It must never retry: what a failed call means is its caller's to decide.
 *
 * A file is durable when its data is synced and the entry in its directory is too; a new directory likewise in its parent.
 */
import { link, mkdir, open, rename, stat, unlink } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { systemCode } from "./folder-errors.ts";

/** A new file that is being written. */
export interface WritableFile {
  /** Writes the parts one behind the other from `position` on. May write less: answers how many bytes. */
  writev(parts: readonly Uint8Array[], position: number): Promise<number>;
  /** `fdatasync`: data, and what is needed to find it (the size). */
  datasync(): Promise<void>;
  close(): Promise<void>;
}

export interface FolderFiles {
  /** A new, empty file; rejects with `EEXIST` if the path is taken. */
  create(path: string): Promise<WritableFile>;
  /** With parents; answers the topmost directory that was made, undefined if there was nothing to do. */
  makeDir(dir: string): Promise<string | undefined>;
  syncDir(dir: string): Promise<void>;
  /** A second name for a file; rejects with `EEXIST` if it is taken (which `rename` would overwrite). */
  link(from: string, to: string): Promise<void>;
  /** Replaces `to`. */
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
}

/** `writev` takes at most 1,024 parts (IOV_MAX); not every runtime splits longer lists. */
const PARTS_MAX = 1_024;

/** The real ones. */
export const systemFiles: FolderFiles = {
  async create(path) {
    const handle = await open(path, "wx", 0o644);
    return {
      async writev(parts, position) {
        const some = parts.length > PARTS_MAX ? parts.slice(0, PARTS_MAX) : parts;
        return (await handle.writev(some, position)).bytesWritten;
      },
      datasync: () => handle.datasync(),
      close: () => handle.close(),
    };
  },
  makeDir: (dir) => makeDirs(resolve(dir)),
  async syncDir(dir) {
    // Windows cannot open a directory for syncing; NTFS journals its entries itself.
    if (process.platform === "win32") return;
    const handle = await open(dir, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  link,
  rename,
  remove: unlink,
};

/** Writes all parts, going on after short writes. */
export async function writeFully(
  file: WritableFile,
  parts: readonly Uint8Array[],
  position: number,
): Promise<void> {
  let rest = parts.filter((part) => part.length > 0);
  let at = position;
  while (rest.length > 0) {
    const written = await file.writev(rest, at);
    if (written <= 0) throw new Error("the file system wrote nothing and gave no reason");
    at += written;
    rest = without(rest, written);
  }
}

function without(parts: readonly Uint8Array[], written: number): Uint8Array[] {
  let bytes = written;
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] as Uint8Array;
    if (bytes < part.length) return [part.subarray(bytes), ...parts.slice(i + 1)];
    bytes -= part.length;
  }
  return [];
}

/**
 * Syncs a directory and all above it up to `root`'s parent. The whole chain each time: whether a directory that exists was made
 * durable by whoever made it cannot be known, and new files are rare (one for each 64 MiB).
 */
export async function syncDirs(files: FolderFiles, dir: string, root: string): Promise<void> {
  const top = dirname(resolve(root));
  let at = resolve(dir);
  for (;;) {
    try {
      await files.syncDir(at);
    } catch (error) {
      // The root's parent need not be ours to read; when the root is ours, whoever made it for us synced it.
      const foreign = at === top && systemCode(error) === "EACCES";
      if (!foreign) throw error;
    }
    if (at === top || dirname(at) === at) return;
    at = dirname(at);
  }
}

/**
 * By hand, since Node's own `recursive` tries for ever where a directory can never be made (in /proc, for instance): here a parent that is there and a child that still cannot be made is an error.
 */
async function makeDirs(dir: string): Promise<string | undefined> {
  try {
    await mkdir(dir);
    return dir;
  } catch (error) {
    const code = systemCode(error);
    if (code === "EEXIST") return checkIsDir(dir);
    if (code !== "ENOENT" || dirname(dir) === dir) throw error;
  }
  const made = await makeDirs(dirname(dir));
  try {
    await mkdir(dir);
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT") {
      throw Object.assign(
        new Error(`no directory can be made in ${dirname(dir)}`, { cause: error }),
        {
          code: "EPERM",
        },
      );
    }
    // Somebody else made it meanwhile.
    if (code !== "EEXIST") throw error;
    await checkIsDir(dir);
  }
  return made ?? dir;
}

async function checkIsDir(path: string): Promise<undefined> {
  if ((await stat(path)).isDirectory()) return undefined;
  throw Object.assign(new Error(`${path} is not a directory`), { code: "ENOTDIR" });
}
